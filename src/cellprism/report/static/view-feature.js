// The card of one feature: its cells, genes, gene sets, labels and neighbours.

import { button, el, empty, panel, select } from "./dom.js";
import { activationLegend, cellMap, colourByFeature } from "./cellmap.js";
import { redrawCharts } from "./chart.js";
import { kindChip, warningChip } from "./chips.js";
import { histogram, violins } from "./distribution.js";
import { geneRows, geneTable, labelTable, matchTable, setRows, setTable } from "./evidence.js";
import { figureTools, mapTools } from "./figure.js";
import { compact, count, fixed, percent, pvalue, stability, truncate } from "./format.js";
import { heatmap } from "./heatmap.js";
import { rowsShown } from "./listing.js";
import { go, place } from "./router.js";
import { categories, loadFeature, loadNames, theRun } from "./run.js";
import { saveCsv } from "./save.js";
import { steeringPanels } from "./steering.js";
import { volcano } from "./volcano.js";

const NARROW = matchMedia("(max-width: 1000px)");

export async function featureView() {
  const { features: f, overview, cells } = theRun();
  const id = Number(place().feature);
  const row = f.rowOf.get(id);
  if (row === undefined)
    return { node: el("div", { class: "view" }, empty(`There is no live feature ${place().feature}.`)), title: "Feature" };
  const [feature, names] = await Promise.all([loadFeature(row), loadNames()]);
  const level = new Uint8Array(overview.n_cells);
  feature.cells.forEach((cell, j) => (level[cell] = feature.levels[j]));
  const map = cellMap(`Cells by activation of feature ${id}`, {
    hover: (i) => [
      level[i] ? `activation ${compact((level[i] / 255) * feature.max)}` : "inactive",
      ...categories().slice(0, 3).map((c) => `${c.name}: ${c.names[cells[c.key][i]]}`),
    ],
  }); // prettier-ignore
  const file = `feature-${id}`;
  const legend = activationLegend(feature);
  const [byLabel, spread] = distribution(feature, file);
  const genes = genePanels(feature, names, file);
  const heat = feature.heat.length ? heatmap(feature.heat, names) : null;
  const saveSets = () => saveCsv(`${file}-gene-sets`, ["set", "direction", "hits", "measured", "effect", "minus_log10_q_rank", "minus_log10_q_over_representation", "leading_genes"], [...setRows(feature, names, true), ...setRows(feature, names, false)]); // prettier-ignore
  const sets = (up) => panel(up ? "Gene sets up" : "Gene sets down", { id: up ? "sets-up" : "sets-down", note: up ? "in genes that are higher in active cells" : "in genes that are lower", tools: [button("CSV", saveSets, { class: "quiet small", "aria-label": "Download gene sets as CSV" })] }, setTable(feature, names, up, genes.mark)); // prettier-ignore
  // In the order of reading; on a wide screen in two columns that fill each on its own.
  const panels = [
    [0, panel("Cells", { id: "cells", tools: mapTools(`${file}-cells`, () => map, () => legend) }, el("div", { class: "stage" }, map.node), legend)],
    [1, byLabel],
    [1, spread],
    [0, genes.volcano],
    [1, genes.up],
    [0, genes.down],
    [1, heat ? panel("Genes by activation", { id: "heat", note: "mean expression, each gene scaled to its largest", tools: figureTools(`${file}-genes-by-activation`, () => heat) }, heat) : null],
    [1, sets(true)],
    [1, sets(false)],
    [0, feature.labels.n ? panel("Labels", { id: "labels", note: "the feature as detector of each" }, labelTable(feature, names)) : null],
    [0, feature.matches?.n ? panel("In other seeds", { id: "matches", note: "the same feature in trainings from other seeds" }, matchTable(feature.matches, Array.isArray(overview.seeds) ? overview.seeds : null)) : null],
    ...steeringPanels(id, file).map((p) => [0, p]),
    [0, neighbours("Similar features", "near", "directions that point the same way", feature.near)],
    [1, neighbours("Co-active features", "together", "active in the same cells", feature.together)],
  ].filter(([, p]) => p); // prettier-ignore
  const card = el("div", { class: "card" });
  const arrange = () => {
    const sides = NARROW.matches ? [panels] : [0, 1].map((side) => panels.filter(([s]) => s === side));
    card.replaceChildren(...sides.map((side) => el("div", { class: "stack" }, side.map(([, p]) => p))));
  };
  NARROW.addEventListener("change", arrange);
  arrange();
  const node = el("div", { class: "view feature" }, heading(row, feature), card);
  colourByFeature(map, feature);
  const restyle = () => {
    colourByFeature(map, feature);
    redrawCharts(node);
  };
  const free = () => {
    NARROW.removeEventListener("change", arrange);
    map.free();
  };
  return { node, title: f.text("name", row) || `Feature ${id}`, restyle, free, step };
}

/** The feature before or after this one in the order of the table. */
function step(by) {
  const f = theRun().features;
  const rows = rowsShown();
  const at = rows.indexOf(f.rowOf.get(Number(place().feature)));
  const next = rows[at < 0 ? 0 : (at + by + rows.length) % rows.length];
  if (next !== undefined) go({ view: "feature", feature: f.feature[next] });
}

function heading(row, feature) {
  const { features: f, overview } = theRun();
  const facts = [
    ["active cells", `${count(feature.cells.length)} (${percent(feature.cells.length / overview.n_cells, 1)})`],
    ["largest activation", compact(feature.max)],
    ["stability", stability(f, row)],
    ["best label", f.text("top_label", row) ? `${f.text("top_label", row)} (AUROC ${fixed(f.top_label_auroc[row])})` : "–"],
    ...(f.text("specific_set", row) ? [["set beyond chance", `${truncate(f.text("specific_set", row), 60)} (reached by ${f.specific_set_reach[row] > 0 ? percent(f.specific_set_reach[row], 1) : "none"} of random directions)`]] : []),
    ["best gene set", f.text("top_set", row) ? `${truncate(f.text("top_set", row), 70)} (q ${pvalue(f.top_set_mlq[row])})` : "–"],
    ...(f.text("top_regulator", row) ? [["regulator", f.text("top_regulator", row)]] : []),
  ];
  return el(
    "header",
    { class: "feature-head" },
    el("div", { class: "row" },
      button("←", () => step(-1), { class: "quiet", "aria-label": "Previous feature", title: "Previous (←)" }),
      button("→", () => step(1), { class: "quiet", "aria-label": "Next feature", title: "Next (→)" }),
      el("span", { class: "chips" }, el("span", { class: "chip" }, `#${feature.id}`), kindChip(f.text("kind", row)),
        f.text("guide", row) ? el("span", { class: "chip", title: "this gene guided the feature: it is associated by construction" }, `guided by ${f.text("guide", row)}`) : null,
        f.text("confound", row) ? warningChip(`follows ${f.text("confound", row)}`) : null),
      el("span", { class: "tools" },
        button("Compare", () => go({ view: "compare", compare: String(feature.id) }), { class: "quiet" }),
        button("Copy link", (event) => copyLink(event.target), { class: "quiet" }))),
    el("h2", { tabindex: -1, "aria-level": 1 }, f.text("name", row) || `Feature ${feature.id}`),
    el("dl", { class: "facts inline" }, facts.map(([k, v]) => el("div", {}, el("dt", {}, k), el("dd", {}, v)))),
    overview.descriptive ? el("p", { class: "note" }, "p and q values are descriptive: the same cells made this feature.") : null,
  ); // prettier-ignore
}

async function copyLink(node) {
  try {
    await navigator.clipboard.writeText(location.href);
    node.textContent = "Copied";
  } catch {
    node.textContent = "Copy it from the address bar"; // a file or a frame may not write to the clipboard
  }
  setTimeout(() => (node.textContent = "Copy link"), 1800);
}

function distribution(feature, file) {
  const { overview, cells } = theRun();
  const spread = histogram(feature, overview.n_cells);
  let byLabel = null;
  const columns = categories();
  if (columns.length) {
    const room = el("div");
    const show = (name) => room.replaceChildren(violins(feature, columns.find((c) => c.name === name), cells[columns.find((c) => c.name === name).key])); // prettier-ignore
    show(columns[0].name);
    const choice = columns.length > 1 ? select("by", columns.map((c) => [c.name, c.name]), columns[0].name, show) : null; // prettier-ignore
    byLabel = panel("By label", { id: "by-label", tools: [choice, ...figureTools(`${file}-by-label`, () => room)] }, room);
  }
  return [byLabel, panel("Activation", { id: "histogram", tools: figureTools(`${file}-histogram`, () => spread) }, spread)];
}

function genePanels(feature, names, file) {
  if (!feature.genes.n) return { volcano: panel("Genes", { id: "volcano" }, empty("No gene was kept for this feature.")), up: null, down: null, mark() {} };
  const figure = volcano(feature.genes, names, (gene) => go({ view: "gene", gene: names.shown(gene) }));
  const marked = el("p", { class: "note", "aria-live": "polite" });
  const mark = (set) => {
    figure.marked = new Set(names.members(set));
    figure.redraw();
    const clear = button("show all", () => { figure.marked = null; figure.redraw(); marked.replaceChildren(); }, { class: "link" }); // prettier-ignore
    marked.replaceChildren(`Marked: the genes of ${names.sets[set]}. `, clear);
    figure.scrollIntoView({ block: "center", behavior: "smooth" });
  };
  const save = () => saveCsv(`${file}-genes`, ["gene", "symbol", "log2fc", "z", "minus_log10_p", "minus_log10_q"], geneRows(feature).map((d) => [names.genes[d.id], names.symbols[d.id], d.fc, d.z, d.mlp, d.mlq])); // prettier-ignore
  return {
    volcano: panel("Volcano", { id: "volcano", note: "each point a gene; click one", tools: figureTools(`${file}-volcano`, () => figure) }, figure, marked),
    mark,
    up: panel("Genes up", { id: "genes-up", tools: [button("CSV", save, { class: "quiet small", "aria-label": "Download genes as CSV" })] }, geneTable(feature, names, true)),
    down: geneRows(feature, false).length ? panel("Genes down", { id: "genes-down" }, geneTable(feature, names, false)) : null,
  };
}

function neighbours(title, id, note, list) {
  if (!list.length) return null;
  const f = theRun().features;
  const line = ({ row, cosine }) =>
    el("li", {}, button(f.text("name", row) || `feature ${f.feature[row]}`, () => go({ view: "feature", feature: f.feature[row] }), { class: "link" }),
      el("span", { class: "muted number" }, fixed(cosine))); // prettier-ignore
  return panel(title, { id, note }, el("ul", { class: "near" }, list.map(line)));
}
