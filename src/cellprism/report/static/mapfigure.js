// A map of points as a figure of its own: points, rings and names, and the legend below them, all with their colours.

import { svg } from "./dom.js";
import { inlined } from "./save.js";

const VECTORS = 10_000; // beyond so many points in sight an SVG holds a picture of them, so that it can be opened
const PAD = 12;

/**
 * The figure of a map with the legend that stands on the page, as an SVG element of fixed size.
 *
 * @param {PointMap} map
 * @param {Element | null} legend
 */
export function mapFigure(map, legend) {
  const { w, h } = map.size();
  const below = legend?.isConnected ? legend.getBoundingClientRect() : null;
  const height = h + (below ? below.height + PAD : 0);
  const root = svg("svg", { viewBox: `0 0 ${w} ${height}`, width: w, height });
  root.append(svg("title", {}, map.label), pointsOf(map, w, h), inlined(map.overlay));
  if (below) {
    const group = svg("g", { transform: `translate(0,${h + PAD / 2})` });
    legendParts(legend, below, group);
    root.append(group);
  }
  return root;
}

function pointsOf(map, w, h) {
  const { seen, at, radius, colour } = map.points();
  if (seen.length > VECTORS) {
    const picture = map.snapshot();
    return svg("image", { width: w, height: h, href: picture.toDataURL("image/png") });
  }
  const all = svg("g", {});
  let group = null;
  let now = "";
  for (const i of seen) {
    const { fill, opacity } = colour(i);
    const key = `${fill} ${opacity}`;
    // Neighbours in the order of drawing share a group, which keeps what lies on top on top.
    if (key !== now) all.append((group = svg("g", { fill, ...(opacity < 1 ? { "fill-opacity": opacity.toFixed(2) } : {}) })));
    now = key;
    const [x, y] = at(i);
    group.append(svg("circle", { cx: x.toFixed(1), cy: y.toFixed(1), r: radius.toFixed(1) }));
  }
  return all;
}

/** Swatches, ribbons and words of a legend where they stand on the page. */
function legendParts(node, frame, into) {
  const from = (box) => [box.left - frame.left, box.top - frame.top];
  for (const mark of node.querySelectorAll(".swatch, .ribbon")) {
    const box = mark.getBoundingClientRect();
    const [x, y] = from(box);
    const style = getComputedStyle(mark);
    if (mark.matches(".swatch")) into.append(svg("circle", { cx: x + box.width / 2, cy: y + box.height / 2, r: box.width / 2, fill: style.backgroundColor }));
    else {
      // Steps of colour, not a gradient: every program that opens an SVG draws them alike.
      const colours = style.backgroundImage.match(/rgba?\([^)]*\)/g) ?? [];
      const ramp = d3.interpolateRgbBasis(colours.length > 1 ? colours : ["#888", "#888"]);
      const n = 40;
      for (let i = 0; i < n; i++) into.append(svg("rect", { x: x + (i * box.width) / n, y, width: box.width / n + 0.4, height: box.height, fill: ramp((i + 0.5) / n) }));
    }
  }
  const words = document.createTreeWalker(node, NodeFilter.SHOW_TEXT);
  for (let text = words.nextNode(); text; text = words.nextNode()) {
    const said = text.textContent.trim();
    if (!said) continue;
    const range = document.createRange();
    range.selectNodeContents(text);
    const box = range.getBoundingClientRect();
    const [x, y] = from(box);
    const style = getComputedStyle(text.parentElement);
    into.append(svg("text", { x, y: y + box.height * 0.76, fill: style.color, "font-size": style.fontSize, "font-family": style.fontFamily }, said));
  }
}
