// Which point lies nearest to a place: points sorted into the squares of a grid.

/** Index of points; `nearest(x, y, reach)` gives the closest within `reach`, or -1. */
export function gridIndex(xs, ys) {
  const n = xs.length;
  const [x0, x1] = d3.extent(xs);
  const [y0, y1] = d3.extent(ys);
  const side = Math.max(1, Math.ceil(Math.sqrt(n / 4)));
  const w = (x1 - x0) / side || 1;
  const h = (y1 - y0) / side || 1;
  const column = (x) => Math.max(0, Math.min(side - 1, Math.floor((x - x0) / w)));
  const line = (y) => Math.max(0, Math.min(side - 1, Math.floor((y - y0) / h)));
  const start = new Uint32Array(side * side + 1);
  const square = new Uint32Array(n);
  for (let i = 0; i < n; i++) start[(square[i] = line(ys[i]) * side + column(xs[i])) + 1]++;
  for (let s = 0; s < side * side; s++) start[s + 1] += start[s];
  const next = start.slice();
  const points = new Uint32Array(n);
  for (let i = 0; i < n; i++) points[next[square[i]]++] = i;

  function nearest(x, y, reach) {
    let best = -1;
    let distance = reach * reach;
    for (let r = line(y - reach); r <= line(y + reach); r++)
      for (let c = column(x - reach); c <= column(x + reach); c++)
        for (let k = start[r * side + c]; k < start[r * side + c + 1]; k++) {
          const i = points[k];
          const d = (xs[i] - x) ** 2 + (ys[i] - y) ** 2;
          if (d < distance) [best, distance] = [i, d];
        }
    return best;
  }
  return { nearest };
}

/** Which points lie in a polygon of [x, y] corners: Uint8Array of 0 and 1. */
export function inside(xs, ys, polygon) {
  const chosen = new Uint8Array(xs.length);
  const [left, right] = d3.extent(polygon, (p) => p[0]);
  const [low, high] = d3.extent(polygon, (p) => p[1]);
  for (let i = 0; i < xs.length; i++) {
    if (xs[i] < left || xs[i] > right || ys[i] < low || ys[i] > high) continue;
    chosen[i] = d3.polygonContains(polygon, [xs[i], ys[i]]) ? 1 : 0;
  }
  return chosen;
}
