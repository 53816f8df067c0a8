// A map of points that can be moved, zoomed, pointed at and lassoed.

import { el, svg, button } from "./dom.js";
import { gridIndex, inside } from "./grid.js";
import { points } from "./points.js";
import { themed } from "./colour.js";

const MARGIN = 18;
const CROWD = 400; // points among which names find room without covering any
const REACH = 12; // pixels within which the pointer means a point

/**
 * @param {ScatterOptions} options `label` is its accessible name; `hover` gives lines of text; `labels` names points in order
 *   of importance
 * @returns {PointMap}
 */
export function scatter({ label, xs, ys, hover, pick, lasso, wheel = "focus", labels }) {
  const canvas = el("canvas", { tabindex: 0, role: "img", "aria-label": label });
  const overlay = svg("svg", { class: "overlay", "aria-hidden": "true" });
  const tip = el("div", { class: "tip", hidden: true, role: "status" });
  const modes = lasso
    ? el("div", { class: "modes" }, button("Lasso", () => setMode("lasso"), { "data-mode": "lasso" }),
        button("Move", () => setMode("move"), { "data-mode": "move" }))
    : null; // prettier-ignore
  const node = el("div", { class: "scatter" }, canvas, overlay, modes, tip);
  const drawing = points(canvas, xs, ys);
  const [xDomain, yDomain] = [extent(xs), extent(ys)];
  let grid = null;
  let size = { w: 0, h: 0, dpr: 1 };
  let transform = d3.zoomIdentity;
  let mode = lasso ? "lasso" : "move";
  let marked = [];
  let pending = 0;
  let [bytes, order] = [null, null];

  const zoom = d3
    .zoom()
    .scaleExtent([0.5, 60])
    .filter((event) => {
      if (event.type === "wheel") return wheel === "always" || event.ctrlKey || document.activeElement === canvas;
      return mode === "move" && !event.button;
    })
    .on("zoom", (event) => {
      transform = event.transform;
      redraw();
    });
  const selection = d3.select(canvas).call(zoom).on("dblclick.zoom", () => reset());

  /** Data to CSS pixels, before the device's own scale. */
  function base() {
    const k = Math.min(
      (size.w - 2 * MARGIN) / (xDomain[1] - xDomain[0] || 1),
      (size.h - 2 * MARGIN) / (yDomain[1] - yDomain[0] || 1),
    );
    return { k, x: size.w / 2 - (k * (xDomain[0] + xDomain[1])) / 2, y: size.h / 2 + (k * (yDomain[0] + yDomain[1])) / 2 };
  }

  function view() {
    const b = base();
    return { kx: b.k * transform.k, ky: -b.k * transform.k, x: b.x * transform.k + transform.x, y: b.y * transform.k + transform.y };
  }

  function radius() {
    const room = Math.sqrt((size.w * size.h) / Math.max(1, xs.length));
    const least = xs.length > 60_000 ? 1.1 : 1.5; // a few active cells among thousands must be seen
    return Math.max(least, Math.min(5.5, room * 0.2)) * Math.min(3, transform.k ** 0.45);
  }

  function screen(i) {
    const v = view();
    return [xs[i] * v.kx + v.x, ys[i] * v.ky + v.y];
  }

  function draw() {
    pending = 0;
    if (!size.w) return;
    const v = view();
    const d = size.dpr;
    drawing.draw({ kx: v.kx * d, ky: v.ky * d, x: v.x * d, y: v.y * d }, radius() * d);
    annotate();
  }

  function redraw() {
    if (!pending) pending = requestAnimationFrame(draw);
  }

  /** Rings around marked points, and the names that find room. */
  function annotate() {
    overlay.replaceChildren();
    for (const i of marked) {
      const [x, y] = screen(i);
      overlay.append(svg("circle", { cx: x, cy: y, r: radius() + 4, class: "ring" }));
    }
    const taken = [];
    // With few points a name gives way to all of them, with many only to other names.
    const dots = labels && xs.length <= CROWD ? d3.range(xs.length).map(screen) : [];
    const r = radius();
    const covers = (box) => dots.some(([x, y]) => x + r > box[0] && x - r < box[2] && y + r > box[1] && y - r < box[3]);
    for (const { i, text } of labels ? labels() : []) {
      const [x, y] = screen(i);
      const w = widthOf(text) + 8;
      const room = (b) => b[0] >= 0 && b[1] >= 0 && b[2] <= size.w && b[3] <= size.h && !covers(b) && !taken.some((o) => b[0] < o[2] && o[0] < b[2] && b[1] < o[3] && o[1] < b[3]);
      const gap = r + 2;
      const box = [[x + gap, y - 8, x + gap + w, y + 8], [x - gap - w, y - 8, x - gap, y + 8]].find(room); // prettier-ignore
      if (!box) continue;
      taken.push(box);
      const right = box[0] > x;
      overlay.append(svg("text", { x: right ? x + r + 4 : x - r - 4, y: y + 4, "text-anchor": right ? "start" : "end", class: "name" }, text));
      if (taken.length >= Math.max(6, size.w / 70)) break;
    }
  }

  function resize() {
    const box = node.getBoundingClientRect();
    if (!box.width || !box.height) return;
    size = { w: box.width, h: box.height, dpr: Math.min(2, devicePixelRatio || 1) };
    [canvas.width, canvas.height] = [Math.round(size.w * size.dpr), Math.round(size.h * size.dpr)];
    overlay.setAttribute("viewBox", `0 0 ${size.w} ${size.h}`);
    draw();
  }

  function nearest(event) {
    grid ??= gridIndex(xs, ys);
    const [px, py] = d3.pointer(event, canvas);
    const v = view();
    return grid.nearest((px - v.x) / v.kx, (py - v.y) / v.ky, Math.max(REACH, radius() + 3) / v.kx);
  }

  function showTip(event, i) {
    if (i < 0 || !hover) {
      tip.hidden = true;
      return;
    }
    tip.replaceChildren(...hover(i).map((line, k) => el(k ? "div" : "strong", {}, line)));
    tip.hidden = false;
    const [px, py] = d3.pointer(event, node);
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(px + 14, size.w - box.width - 6))}px`;
    tip.style.top = `${py + 18 + box.height > size.h ? py - box.height - 10 : py + 18}px`;
  }

  function setMode(to) {
    mode = to;
    for (const b of modes?.querySelectorAll("button") ?? []) b.setAttribute("aria-pressed", String(b.dataset.mode === to));
    canvas.classList.toggle("lasso", to === "lasso");
  }

  let path = null;
  canvas.addEventListener("pointerdown", (event) => {
    if (mode !== "lasso" || event.button) return;
    canvas.setPointerCapture(event.pointerId);
    path = [d3.pointer(event, canvas)];
  });
  canvas.addEventListener("pointermove", (event) => {
    if (path) {
      path.push(d3.pointer(event, canvas));
      overlay.querySelector(".noose")?.remove();
      overlay.append(svg("polygon", { class: "noose", points: path.map((p) => p.join(",")).join(" ") }));
    } else if (event.pointerType !== "touch") showTip(event, nearest(event));
  });
  canvas.addEventListener("pointerleave", () => (tip.hidden = true));
  const finish = () => {
    if (!path) return;
    const drawn = path;
    path = null;
    overlay.querySelector(".noose")?.remove();
    if (drawn.length < 4) return;
    const v = view();
    lasso(inside(xs, ys, drawn.map(([x, y]) => [(x - v.x) / v.kx, (y - v.y) / v.ky])));
  };
  canvas.addEventListener("pointerup", finish);
  canvas.addEventListener("pointercancel", finish);
  canvas.addEventListener("click", (event) => {
    const i = nearest(event);
    showTip(event, i);
    if (pick && i >= 0) pick(i);
  });
  canvas.addEventListener("keydown", (event) => {
    const step = { "+": 1.4, "=": 1.4, "-": 1 / 1.4 }[event.key];
    if (step) selection.call(zoom.scaleBy, step);
    else if (event.key === "0") reset();
    else return;
    event.preventDefault();
  });

  function reset() {
    selection.call(zoom.transform, d3.zoomIdentity);
  }

  const watcher = new ResizeObserver(resize);
  watcher.observe(node);
  if (lasso) setMode(mode);

  return {
    node,
    /** Bytes (r, g, b, a a point) and, if given, the order of drawing: the last lies on top. */
    colours(newBytes, newOrder) {
      bytes = newBytes;
      order = newOrder ?? order;
      drawing.colours(newBytes, newOrder);
      redraw();
    },
    mark(list) {
      marked = list;
      redraw();
    },
    screen,
    reset,
    label,
    size: () => ({ w: size.w, h: size.h }),
    /** What a figure of the map needs: points in sight in the order of drawing, where they stand, their colours. */
    points() {
      const r = radius();
      const inSight = (i) => {
        const [x, y] = screen(i);
        return x > -r && y > -r && x < size.w + r && y < size.h + r && (!bytes || bytes[4 * i + 3] > 0);
      };
      const seen = Array.from(order ?? xs.keys()).filter(inSight);
      const colour = (i) => (bytes ? { fill: d3.rgb(bytes[4 * i], bytes[4 * i + 1], bytes[4 * i + 2]).formatHex(), opacity: bytes[4 * i + 3] / 255 } : { fill: "#888888", opacity: 1 });
      return { seen, at: screen, radius: r, colour };
    },
    /** A copy of the picture, on the page's ground. */
    snapshot() {
      draw();
      const copy = el("canvas", { width: canvas.width, height: canvas.height });
      const context = copy.getContext("2d");
      context.fillStyle = themed("--surface");
      context.fillRect(0, 0, copy.width, copy.height);
      context.drawImage(canvas, 0, 0);
      return copy;
    },
    overlay,
    free() {
      watcher.disconnect();
      drawing.free();
    },
  };
}

let ruler = null;

/** Pixels that a name takes in the letters of the map. */
function widthOf(text) {
  ruler ??= el("canvas").getContext("2d");
  ruler.font = `11.5px ${themed("--sans")}`;
  return ruler.measureText(text).width;
}

function extent(values) {
  const [low, high] = d3.extent(values);
  return Number.isFinite(low) ? [low, high] : [0, 1];
}
