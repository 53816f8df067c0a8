// The card of one feature: its cells, genes, gene sets, labels and neighbours.

import { button, el, empty, panel, select } from "./dom.js";
import { activationLegend, cellMap, colourByFeature } from "./cellmap.js";
import { kindChip, warningChip } from "./chips.js";
import { histogram, violins } from "./distribution.js";
import { geneRows, geneTable, labelTable, setTable } from "./evidence.js";
import { figureTools, mapTools } from "./figure.js";
import { compact, count, fixed, percent, pvalue, truncate } from "./format.js";
import { rowsShown } from "./listing.js";
import { go, place } from "./router.js";
import { categories, loadFeature, loadNames, theRun } from "./run.js";
import { saveCsv } from "./save.js";
import { volcano } from "./volcano.js";

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
  const panels = [
    panel("Cells", { id: "cells", tools: mapTools(`${file}-cells`, () => map) }, el("div", { class: "stage" }, map.node), activationLegend(feature)),
    ...distribution(feature, file),
    ...genePanels(feature, names, file),
    panel("Gene sets up", { id: "sets-up", note: "in genes that are higher in active cells" }, setTable(feature, names, true)),
    panel("Gene sets down", { id: "sets-down", note: "in genes that are lower" }, setTable(feature, names, false)),
    feature.labels.n ? panel("Labels", { id: "labels", note: "the feature as detector of each", wide: true }, labelTable(feature, names)) : null,
    neighbours("Similar features", "near", "directions that point the same way", feature.near),
    neighbours("Co-active features", "together", "active in the same cells", feature.together),
  ];
  const node = el("div", { class: "view feature" }, heading(row, feature), el("div", { class: "card" }, panels));
  colourByFeature(map, feature);
  const restyle = () => {
    colourByFeature(map, feature);
    for (const box of node.querySelectorAll(".chart-box")) box.redraw();
  };
  return { node, title: f.text("name", row) || `Feature ${id}`, restyle, free: () => map.free(), step };
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
    ["stability", fixed(f.stability[row])],
    ["best label", f.text("top_label", row) ? `${f.text("top_label", row)} (AUROC ${fixed(f.top_label_auroc[row])})` : "–"],
    ["best gene set", f.text("top_set", row) ? `${truncate(f.text("top_set", row), 70)} (q ${pvalue(f.top_set_mlq[row])})` : "–"],
  ];
  return el(
    "header",
    { class: "feature-head" },
    el("div", { class: "row" },
      button("←", () => step(-1), { class: "quiet", "aria-label": "Previous feature", title: "Previous (←)" }),
      button("→", () => step(1), { class: "quiet", "aria-label": "Next feature", title: "Next (→)" }),
      el("span", { class: "chips" }, el("span", { class: "chip" }, `#${feature.id}`), kindChip(f.text("kind", row)),
        f.text("confound", row) ? warningChip(`follows ${f.text("confound", row)}`) : null),
      el("span", { class: "tools" },
        button("Compare", () => go({ view: "compare", compare: String(feature.id) }), { class: "quiet" }),
        button("Copy link", (event) => copyLink(event.target), { class: "quiet" }))),
    el("h2", { tabindex: -1 }, f.text("name", row) || `Feature ${feature.id}`),
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
  const parts = [];
  const columns = categories();
  if (columns.length) {
    const room = el("div");
    const show = (name) => room.replaceChildren(violins(feature, columns.find((c) => c.name === name), cells[columns.find((c) => c.name === name).key])); // prettier-ignore
    show(columns[0].name);
    const choice = columns.length > 1 ? select("by", columns.map((c) => [c.name, c.name]), columns[0].name, show) : null; // prettier-ignore
    parts.push(panel("By label", { id: "by-label", tools: [choice, ...figureTools(`${file}-by-label`, () => room)] }, room));
  }
  parts.push(panel("Activation", { id: "histogram", tools: figureTools(`${file}-histogram`, () => spread) }, spread));
  return parts;
}

function genePanels(feature, names, file) {
  if (!feature.genes.n) return [panel("Genes", { id: "volcano" }, empty("No gene was kept for this feature."))];
  const figure = volcano(feature.genes, names, (gene) => go({ view: "gene", gene: names.shown(gene) }));
  const save = () => saveCsv(`${file}-genes`, ["gene", "symbol", "log2fc", "z", "minus_log10_p", "minus_log10_q"], [...geneRows(feature, true), ...geneRows(feature, false)].map((d) => [names.genes[d.id], names.symbols[d.id], d.fc, d.z, d.mlp, d.mlq])); // prettier-ignore
  return [
    panel("Volcano", { id: "volcano", note: "each point a gene; click one", tools: figureTools(`${file}-volcano`, () => figure) }, figure),
    panel("Genes up", { id: "genes-up", tools: [button("CSV", save, { class: "quiet small", "aria-label": "Download genes as CSV" })] }, geneTable(feature, names, true)),
    geneRows(feature, false).length ? panel("Genes down", { id: "genes-down" }, geneTable(feature, names, false)) : null,
  ];
}

function neighbours(title, id, note, list) {
  if (!list.length) return null;
  const f = theRun().features;
  const line = ({ row, cosine }) =>
    el("li", {}, button(f.text("name", row) || `feature ${f.feature[row]}`, () => go({ view: "feature", feature: f.feature[row] }), { class: "link" }),
      el("span", { class: "muted number" }, fixed(cosine))); // prettier-ignore
  return panel(title, { id, note }, el("ul", { class: "near" }, list.map(line)));
}
