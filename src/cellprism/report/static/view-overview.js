// What was analysed, and how its headline shares stand beside those of nulls.

import { button, el, panel } from "./dom.js";
import { compact, count, fixed, percent } from "./format.js";
import { categoryLegend, cellMap, colourByCategory } from "./cellmap.js";
import { redrawCharts } from "./chart.js";
import { mapTools } from "./figure.js";
import { go } from "./router.js";
import { categories, theRun } from "./run.js";
import { landscape } from "./landscape.js";
import { rivals } from "./rivals.js";

/** @type {[string, string, (value: number) => string][]} */
const METRICS = [
  ["explained_variance", "variance explained", (v) => percent(v, 1)],
  ["l0", "features a cell", (v) => fixed(v, 1)],
  ["n_live", "live features", count],
  ["n_stable", "stable features", count],
  ["n_stable_null", "stable by chance", count],
  ["n_dead", "dead features", count],
  ["width", "width", count],
];
const NULLS = {
  random: "random directions",
  permuted: "permuted cells",
  random_sets: "random gene sets",
  untrained: "untrained SAE",
  shuffled: "SAE of shuffled columns",
};

export function overviewView() {
  const { overview: o, features } = theRun();
  const maps = [];
  const node = el(
    "div",
    { class: "view overview" },
    el("p", { class: "summary" }, o.summary ?? `${count(o.n_features)} features of ${count(o.n_cells)} cells.`),
    o.found?.length ? found(o) : null,
    cautions(o),
    tiles(o, features),
    o.shares.length ? shares(o) : null,
    el("div", { class: "columns" }, best(o, features), cellsPanel(maps)),
    landscape(o.landscape),
    method(o),
  );
  const restyle = () => {
    for (const paint of maps) paint.paint();
    redrawCharts(node);
  };
  return { node, title: "Overview", restyle, free: () => maps.forEach((m) => m.free()) };
}

/** The cells by their first label, as a place to start from. */
function cellsPanel(maps) {
  const column = categories()[0];
  const { cells } = theRun();
  if (!column || !cells.map) return null;
  const map = cellMap(`Cells by ${column.name}`, { hover: (i) => [`${column.name}: ${column.names[cells[column.key][i]]}`] });
  const paint = () => colourByCategory(map, cells[column.key]);
  maps.push({ paint, free: () => map.free() });
  paint();
  const legend = categoryLegend(column.names);
  return panel(`Cells by ${column.name}`, { id: "overview-cells", tools: [button("Explore", () => go({ view: "cells", by: column.name }), { class: "quiet small" }), ...mapTools("cells", () => map, () => legend)] }, el("div", { class: "stage" }, map.node), legend); // prettier-ignore
}

/** What single features read and no null reaches, and what they do not: the head of the page. */
function found(o) {
  const beside = rivals(o.beside ?? []);
  return panel("What was found and no null reaches", { wide: true, id: "found", tools: beside?.tools }, el("ul", { class: "found" }, o.found.map((line) => el("li", {}, line))), beside?.box, beside?.note); // prettier-ignore
}

function cautions(o) {
  const said = [...o.warnings];
  if (o.descriptive)
    said.unshift("p and q values are descriptive: the same cells made the features and tested them. Compare with the nulls, not with 0.05.");
  if (o.expression === "predicted") said.push("Genes were tested on expression predicted by the embedding model, not on measured expression.");
  if (o.gene_rows_cut) said.push(`This page keeps the ${count(o.gene_rows)} strongest genes of each feature; genes.parquet has them all.`);
  return said.length ? el("ul", { class: "cautions", "aria-label": "Warnings" }, said.map((text) => el("li", {}, text))) : null;
}

function tiles(o, features) {
  const metrics = { n_live: o.n_features, ...o.metrics };
  const stable = features.stability.reduce((n, s) => n + (s >= 0.7), 0);
  if (features.stability.some(Number.isFinite)) metrics.n_stable ??= stable;
  if (features.stability_null?.some(Number.isFinite)) metrics.n_stable_null ??= features.stability_null.reduce((n, s) => n + (s >= 0.7), 0);
  const shown = [["cells", count(o.n_cells)], ...METRICS.filter(([key]) => Number.isFinite(metrics[key])).map(([key, label, show]) => [label, show(metrics[key])])];
  return el("dl", { class: "tiles" }, shown.map(([label, value]) => el("div", {}, el("dt", {}, label), el("dd", {}, value))));
}

/** A colour for each null, none given twice: those of Okabe and Ito that the bars do not use, then hues in golden steps. */
function nullColour(i) {
  const apart = ["#e69f00", "#cc79a7", "#009e73", "#9467bd", "#d55e00", "#8a6d3b"];
  return apart[i] ?? `hsl(${Math.round((i * 137.508) % 360)} 60% 45%)`;
}

/** Each share as a bar, and a tick on it for each null: a share means something only where it stands clear. */
function shares(o) {
  const names = [...new Set(o.shares.flatMap((s) => Object.keys(s.nulls ?? {})))];
  const paint = (name) => ({ background: nullColour(names.indexOf(name)) });
  const rows = o.shares.map((s) => {
    const nulls = names.filter((n) => Number.isFinite(s.nulls?.[n]));
    const said = nulls.map((n) => `${NULLS[n] ?? n} ${percent(s.nulls[n])}`).join(", ");
    return el(
      "li",
      {},
      el("div", { class: "claim" }, el("span", {}, s.claim), s.n ? el("span", { class: "muted" }, ` of ${count(s.n)}`) : null, s.verdict ? el("div", { class: "note" }, s.verdict) : null),
      el(
        "div",
        { class: "track", role: "img", "aria-label": `${percent(s.observed)}; ${said}` },
        el("i", { class: "fill", style: { width: percent(s.observed, 2) } }),
        nulls.map((n) => el("i", { class: "tick", style: { left: percent(s.nulls[n], 2), ...paint(n) }, title: `${NULLS[n] ?? n}: ${percent(s.nulls[n], 1)}` })),
      ),
      el("div", { class: "values" }, el("strong", {}, percent(s.observed)), el("span", { class: "muted" }, nulls.map((n, i) => el("span", {}, el("i", { class: "key", style: paint(n) }), `${percent(s.nulls[n])}${i < nulls.length - 1 ? " " : ""}`)))),
    );
  }); // prettier-ignore
  const key = el("ul", { class: "legend list keys" }, el("li", {}, el("i", { class: "key fill" }), "these features"), names.map((n) => el("li", {}, el("i", { class: "key", style: paint(n) }), NULLS[n] ?? n)));
  return panel("What was found, beside chance", { wide: true, id: "shares" }, key, el("ul", { class: "shares" }, rows));
}

/** The ten features that a reader should look at first, as the run ranks them. */
function best(o, f) {
  const rows = o.best.map((number) => ({ i: f.feature.indexOf(number) }));
  const line = ({ i }) =>
    el("li", {}, button(f.text("name", i) || `feature ${f.feature[i]}`, () => go({ view: "feature", feature: f.feature[i] }), { class: "link" }),
      el("span", { class: "muted" }, f.text("specific_set", i) || f.text("top_set", i) || f.text("top_genes", i))); // prettier-ignore
  return panel("Where to begin", { id: "best", note: "clear in gene sets, labels and across seeds" }, el("ol", { class: "best" }, rows.map(line)));
}

function method(o) {
  const flat = (value) => (value === null || value === undefined ? "–" : Array.isArray(value) ? value.map(flat).join(", ") : typeof value === "object" ? Object.entries(value).map(([k, v]) => `${k} ${flat(v)}`).join(", ") : typeof value === "number" ? (Number.isInteger(value) ? String(value) : compact(value)) : String(value)); // prettier-ignore
  const block = (title, entries) => (entries?.length ? [el("h4", { "aria-level": 2 }, title), el("dl", { class: "facts" }, entries.map(([k, v]) => [el("dt", {}, k), el("dd", {}, flat(v))]))] : null);
  const pairs = (x) => (x && typeof x === "object" ? Object.entries(x) : []);
  return el(
    "details",
    { class: "method" },
    el("summary", {}, "How this was made"),
    block("Run", [["cellprism", o.cellprism], ["seeds", o.seeds], ["expression", o.expression]].filter(([, v]) => v !== null && v !== undefined)),
    block("Arguments", pairs(o.arguments)),
    block("Input", pairs(o.input)),
    block("Metrics", pairs(o.metrics)),
    block("Seconds", pairs(o.timings)),
  );
}
