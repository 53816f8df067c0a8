// The tables of a feature: its genes, gene sets and labels.

import { button, el, empty } from "./dom.js";
import { UP, DOWN } from "./colour.js";
import { fixed, pvalue } from "./format.js";
import { go } from "./router.js";

const FIRST = 12;

/** A table whose rows beyond the first dozen appear when asked for. */
export function shortTable(label, columns, rows, first = FIRST) {
  if (!rows.length) return empty("Nothing was found.");
  const body = el("tbody");
  const line = (row) => el("tr", {}, columns.map((c) => el("td", { class: c.kind ?? null }, c.show(row))));
  const show = (n) => body.replaceChildren(...rows.slice(0, n).map(line));
  show(first);
  const more = button(`Show all ${rows.length}`, () => {
    show(rows.length);
    more.remove();
  }, { class: "quiet" }); // prettier-ignore
  const head = el("tr", {}, columns.map((c) => el("th", { scope: "col", class: c.kind ?? null, title: c.help ?? null }, c.title)));
  return el("div", { class: "table-box" }, el("table", { "aria-label": label }, el("thead", {}, head), body), rows.length > first ? more : null);
}

export function geneRows(feature, up) {
  const g = feature.genes;
  return d3
    .range(g.n)
    .filter((i) => (up ? g.z[i] > 0 : g.z[i] < 0))
    .map((i) => ({ id: g.id[i], fc: g.fc[i], z: g.z[i], mlp: g.mlp[i], mlq: g.mlq[i] }));
}

export function geneTable(feature, names, up) {
  const rows = geneRows(feature, up);
  const several = names.modalities.length > 1;
  return shortTable(up ? "Genes higher in active cells" : "Genes lower in active cells", [
    { title: "gene", show: (d) => geneLink(d.id, names) },
    several ? { title: "modality", show: (d) => names.modalities[names.modality[d.id]] } : null,
    { title: "log2 fc", kind: "number", show: (d) => bar(d.fc, up ? UP : DOWN, rows[0] ? Math.max(...rows.slice(0, 60).map((r) => Math.abs(r.fc))) : 1) },
    { title: "z", kind: "number", show: (d) => fixed(d.z, 1) },
    { title: "q", kind: "number", show: (d) => pvalue(d.mlq) },
  ].filter(Boolean), rows); // prettier-ignore
}

export function geneLink(id, names) {
  const shown = names.shown(id);
  return button(shown, () => go({ view: "gene", gene: shown }), { class: "link", title: names.genes[id] === shown ? null : names.genes[id] });
}

/** A number with a bar of its size behind it. */
export function bar(value, colour, largest) {
  const width = `${Math.min(100, (100 * Math.abs(value)) / (largest || 1))}%`;
  return el("span", { class: "bar" }, el("i", { style: { width, "background-color": colour } }), el("b", {}, fixed(value)));
}

export function setTable(feature, names, up) {
  const s = feature.sets;
  const rows = d3.range(s.n).filter((i) => Boolean(s.up[i]) === up);
  return shortTable(up ? "Gene sets up" : "Gene sets down", [
    { title: "gene set", kind: "wide-text", show: (i) => names.sets[s.id[i]] },
    { title: "hits", kind: "number", help: "genes of the set among the feature's genes / genes measured", show: (i) => `${s.hits[i]}/${s.measured[i]}` },
    { title: "effect", kind: "number", show: (i) => fixed(s.effect[i]) },
    { title: "q rank", kind: "number", help: "competitive rank test", show: (i) => pvalue(s.rank[i]) },
    { title: "q over-rep.", kind: "number", help: "over-representation", show: (i) => pvalue(s.ora[i]) },
  ], rows, 8); // prettier-ignore
}

export function labelTable(feature, names) {
  const l = feature.labels;
  return shortTable("Labels", [
    { title: "label", kind: "wide-text", show: (i) => names.labels[l.id[i]][1] },
    { title: "of", show: (i) => names.labels[l.id[i]][0] },
    { title: "AUROC", kind: "number", show: (i) => fixed(l.auroc[i], 3) },
    { title: "F1", kind: "number", show: (i) => fixed(l.f1[i]) },
    { title: "precision", kind: "number", show: (i) => fixed(l.precision[i]) },
    { title: "recall", kind: "number", show: (i) => fixed(l.recall[i]) },
    { title: "q", kind: "number", show: (i) => pvalue(l.mlq[i]) },
  ], d3.range(l.n), 8); // prettier-ignore
}
