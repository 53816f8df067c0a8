// The map of cells, coloured by a feature, a label, or a choice.

import { el, empty } from "./dom.js";
import { categoryColour, isDark, putColour, rampBytes, strength, themed } from "./colour.js";
import { compact, count } from "./format.js";
import { readBlock } from "./blocks.js";
import { theRun } from "./run.js";
import { scatter } from "./scatter.js";

const cellNames = new Map();

/**
 * A map of the run's cells; `hover` may add lines to a cell's name.
 *
 * @param {string} label
 * @param {Pick<ScatterOptions, "lasso" | "hover" | "wheel">} [options]
 * @returns {PointMap}
 */
export function cellMap(label, { lasso, hover, wheel } = {}, run = theRun()) {
  const { cells, overview } = run;
  if (!cells.map) return { node: empty("This run has no 2-D map of its cells."), colours() {}, free() {} };
  if (!cellNames.has(run)) {
    cellNames.set(run, null);
    readBlock(`${run.prefix}cell-names`).then(({ meta }) => cellNames.set(run, meta.cells));
  }
  const described = (i) => [cellNames.get(run)?.[i] ?? `cell ${count(i)}`, ...(hover ? hover(i) : [])];
  const map = scatter({ label, xs: cells.x, ys: cells.y, hover: described, lasso, wheel });
  map.n = overview.n_cells;
  return map;
}

/** Cells in the ground's grey, those of a feature in its strength and on top. */
export function colourByFeature(map, feature) {
  if (!map.snapshot) return; // a run without a map
  const bytes = greyBytes(map.n);
  const ramp = rampBytes(256);
  const order = new Uint32Array(map.n);
  const active = new Uint8Array(map.n);
  for (const cell of feature.cells) active[cell] = 1;
  let at = 0;
  for (let i = 0; i < map.n; i++) if (!active[i]) order[at++] = i;
  const rising = d3.sort(d3.range(feature.cells.length), (j) => feature.levels[j]);
  for (const j of rising) {
    const cell = feature.cells[j];
    order[at++] = cell;
    bytes.set(ramp.subarray(4 * feature.levels[j], 4 * feature.levels[j] + 4), 4 * cell);
  }
  map.colours(bytes, order);
}

export function greyBytes(n) {
  const bytes = new Uint8Array(4 * n);
  const grey = isDark() ? "#3a414b" : "#dcd9d3";
  if (n) putColour(bytes, 0, grey);
  for (let filled = 4; filled < bytes.length; filled *= 2) bytes.copyWithin(filled, 0, Math.min(filled, bytes.length - filled));
  return bytes;
}

export function colourByCategory(map, codes) {
  if (!map.snapshot) return;
  const bytes = new Uint8Array(4 * map.n);
  for (let i = 0; i < map.n; i++) putColour(bytes, i, categoryColour(codes[i]));
  map.colours(bytes);
}

/** The scale of activation: a ribbon from zero to the largest. */
export function activationLegend(feature, zero = "inactive") {
  const stops = d3.range(0, 1.01, 0.1).map((t) => strength(t)).join(", "); // prettier-ignore
  return el(
    "div",
    { class: "legend", role: "img", "aria-label": `Colour scale of activation from 0 to ${compact(feature.max)}` },
    el("span", { class: "swatch", style: { "background-color": themed("--faint-point") } }),
    el("span", {}, zero),
    el("span", {}, "0"),
    el("span", { class: "ribbon", style: { background: `linear-gradient(to right, ${stops})` } }),
    el("span", {}, compact(feature.max)),
  );
}

/** Names of categories with their colours. */
export function categoryLegend(names, limit = 24) {
  return el(
    "ul",
    { class: "legend list" },
    names.slice(0, limit).map((name, i) => el("li", {}, el("span", { class: "swatch", style: { "background-color": categoryColour(i) } }), name)),
    names.length > limit ? el("li", { class: "muted" }, `and ${names.length - limit} more`) : null,
  );
}
