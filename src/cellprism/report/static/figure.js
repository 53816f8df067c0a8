// The buttons that save a figure.

import { button } from "./dom.js";
import { saveCanvas, savePng, saveSvg } from "./save.js";

/** SVG and PNG of the chart inside `node()`. */
export function figureTools(name, node) {
  const chart = () => node().querySelector("svg.chart");
  const props = (kind) => ({ class: "quiet small", "aria-label": `Download ${name.replaceAll("-", " ")} as ${kind}` });
  return [button("SVG", () => saveSvg(name, chart()), props("SVG")), button("PNG", () => savePng(name, chart()), props("PNG"))];
}

/** PNG of a map of points. */
export function mapTools(name, map) {
  return map().snapshot ? [button("PNG", () => saveCanvas(name, map().snapshot()), { class: "quiet small", "aria-label": `Download ${name.replaceAll("-", " ")} as PNG` })] : [];
}
