// The buttons that save a figure.

import { button } from "./dom.js";
import { mapFigure } from "./mapfigure.js";
import { inlined, savePng, saveSvg } from "./save.js";

function tools(name, figure) {
  const props = (kind) => ({ class: "quiet small", "aria-label": `Download ${name.replaceAll("-", " ")} as ${kind}` });
  return [button("SVG", () => saveSvg(name, figure()), props("SVG")), button("PNG", () => savePng(name, figure()), props("PNG"))];
}

/** SVG and PNG of the chart inside `node()`. */
export function figureTools(name, node) {
  return tools(name, () => inlined(node().querySelector("svg.chart")));
}

/** SVG and PNG of a map of points, with the legend that `legend()` gives. */
export function mapTools(name, map, legend = () => null) {
  return map().snapshot ? tools(name, () => mapFigure(map(), legend())) : [];
}
