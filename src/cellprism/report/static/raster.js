// Discs drawn into the pixels of a canvas by hand: without a graphics card quicker than either WebGL or canvas paths.

const PHASES = 4; // places of a disc's middle within a pixel, along each axis

let stamps = { radius: -1 };

/** Share of each pixel around the middle that a disc covers, for each phase: a square of side `side`, row by row. */
function stampsOf(radius) {
  if (stamps.radius === radius) return stamps;
  const reach = Math.ceil(radius + 0.5);
  const side = 2 * reach + 1;
  const masks = [];
  for (let py = 0; py < PHASES; py++)
    for (let px = 0; px < PHASES; px++) {
      const mask = new Uint8Array(side * side);
      const [cx, cy] = [reach + (px + 0.5) / PHASES - 0.5, reach + (py + 0.5) / PHASES - 0.5];
      for (let y = 0; y < side; y++)
        for (let x = 0; x < side; x++) {
          const edge = radius + 0.5 - Math.hypot(x - cx, y - cy);
          mask[y * side + x] = Math.round(255 * Math.max(0, Math.min(1, edge)));
        }
      masks.push(mask);
    }
  stamps = { radius, reach, side, masks };
  return stamps;
}

/**
 * Draw points over an even ground into `image`, in order, the last on top.
 *
 * @param {ImageData} image
 * @param {{ xs: Numbers, ys: Numbers, bytes: Uint8Array, order: Uint32Array }} points bytes: r, g, b, a of each
 * @param {{ kx: number, ky: number, x: number, y: number }} view x' = x * kx + x0 in pixels of the image
 * @param {number} radius in pixels
 * @param {{r: number, g: number, b: number}} ground
 */
export function rasterise(image, { xs, ys, bytes, order }, view, radius, ground) {
  const { width, height, data } = image;
  new Uint32Array(data.buffer).fill((255 << 24) | (ground.b << 16) | (ground.g << 8) | ground.r);
  const { reach, side, masks } = stampsOf(Math.round(radius * 4) / 4);
  for (let k = 0; k < order.length; k++) {
    const i = order[k];
    const x = xs[i] * view.kx + view.x;
    const y = ys[i] * view.ky + view.y;
    const left = Math.floor(x) - reach;
    const top = Math.floor(y) - reach;
    if (left + side <= 0 || top + side <= 0 || left >= width || top >= height) continue;
    const mask = masks[Math.floor((y - Math.floor(y)) * PHASES) * PHASES + Math.floor((x - Math.floor(x)) * PHASES)];
    const [r, g, b, alpha] = [bytes[4 * i], bytes[4 * i + 1], bytes[4 * i + 2], bytes[4 * i + 3]];
    const [fromX, toX] = [Math.max(0, -left), Math.min(side, width - left)];
    const toY = Math.min(side, height - top);
    for (let sy = Math.max(0, -top); sy < toY; sy++) {
      let at = 4 * ((top + sy) * width + left + fromX);
      for (let sx = fromX; sx < toX; sx++, at += 4) {
        const a = (mask[sy * side + sx] * alpha) / 65025;
        if (a === 0) continue;
        data[at] += (r - data[at]) * a;
        data[at + 1] += (g - data[at + 1]) * a;
        data[at + 2] += (b - data[at + 2]) * a;
      }
    }
  }
}
