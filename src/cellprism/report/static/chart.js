// What every small chart shares: a frame that redraws to its width, axes, a note under the pointer.

import { el, svg } from "./dom.js";

/**
 * A chart that draws itself now and when its width changes.
 *
 * @param {string} label its accessible name
 * @param {number | ((width: number) => number)} height
 * @param {(root: SVGSVGElement, width: number, height: number) => void} draw
 * @returns {ChartBox}
 */
export function chart(label, height, draw) {
  const root = svg("svg", { class: "chart", role: "img", "aria-label": label });
  const node = /** @type {ChartBox} */ (el("div", { class: "chart-box" }, root));
  let width = 0;
  const render = () => {
    const w = Math.floor(node.clientWidth);
    if (!w || w === width) return;
    width = w;
    const h = typeof height === "function" ? height(w) : height;
    root.setAttribute("viewBox", `0 0 ${w} ${h}`);
    root.setAttribute("width", String(w));
    root.setAttribute("height", String(h));
    root.replaceChildren();
    draw(root, w, h);
  };
  new ResizeObserver(render).observe(node);
  node.redraw = () => {
    width = 0;
    render();
  };
  return node;
}

/**
 * A horizontal axis with its title.
 *
 * @param {SVGElement} root
 * @param {any} scale
 * @param {number} y
 * @param {AxisOptions} options
 */
export function axisX(root, scale, y, { title, format, ticks = 5 }) {
  const group = svg("g", { class: "axis", transform: `translate(0,${y})` });
  const axis = d3.axisBottom(scale).ticks(ticks).tickSizeOuter(0);
  if (format) axis.tickFormat(format);
  axis(d3.select(group));
  const [from, to] = scale.range();
  if (title) group.append(svg("text", { x: (from + to) / 2, y: 34, class: "title", "text-anchor": "middle" }, title));
  root.append(group);
}

/**
 * A vertical axis with its title above.
 *
 * @param {SVGElement} root
 * @param {any} scale
 * @param {number} x
 * @param {AxisOptions} options
 */
export function axisY(root, scale, x, { title, format, ticks = 5 }) {
  const group = svg("g", { class: "axis", transform: `translate(${x},0)` });
  const axis = d3.axisLeft(scale).ticks(ticks).tickSizeOuter(0);
  if (format) axis.tickFormat(format);
  axis(d3.select(group));
  const top = Math.min(...scale.range());
  if (title) group.append(svg("text", { x: -x + 2, y: top - 10, class: "title", "text-anchor": "start" }, title));
  root.append(group);
}

/**
 * Draw every chart inside `node` anew, as after a change of colours.
 *
 * @param {ParentNode} node
 */
export function redrawCharts(node) {
  for (const box of node.querySelectorAll(".chart-box")) /** @type {ChartBox} */ (box).redraw();
}

/** A title element, which browsers show as a tooltip and screen readers read. */
export function told(node, text) {
  node.append(svg("title", {}, text));
  return node;
}
