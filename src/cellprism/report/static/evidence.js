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

/** Genes whose ranks and mean both go that way (one of which they disagree is neither up nor down); all without `up`. */
export function geneRows(feature, up) {
  const g = feature.genes;
  return d3
    .range(g.n)
    .filter((i) => up === undefined || (up ? g.z[i] > 0 && !(g.fc[i] <= 0) : g.z[i] < 0 && !(g.fc[i] >= 0)))
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

const LEADING = 6; // genes told for each set

/** Genes of a set that move with it in this feature, the strongest first: ids. */
export function leadingGenes(feature, names, set, up) {
  const members = new Set(names.members(set));
  const g = feature.genes; // sorted by evidence
  const found = [];
  for (let i = 0; i < g.n && members.size; i++) if (members.has(g.id[i]) && (up ? g.z[i] > 0 : g.z[i] < 0)) found.push(g.id[i]);
  return found;
}

function leading(feature, names, set, up) {
  const found = leadingGenes(feature, names, set, up);
  if (!found.length) return null;
  const shown = found.slice(0, LEADING).map(names.shown).join(", ");
  const rest = found.length - LEADING;
  return el("div", { class: "leading", title: found.map(names.shown).join(", ") }, shown, rest > 0 ? ` and ${rest} more` : "");
}

/** Rows of the sets of one direction as they are saved. */
export function setRows(feature, names, up) {
  const s = feature.sets;
  return d3
    .range(s.n)
    .filter((i) => Boolean(s.up[i]) === up)
    .map((i) => [names.sets[s.id[i]], up ? "up" : "down", s.hits[i], s.measured[i], s.effect[i], s.rank[i], s.ora[i], leadingGenes(feature, names, s.id[i], up).map(names.shown).join(" ")]);
}

/** Sets of one direction, each with the genes that lead it; `mark(set)` is called with the set to be shown elsewhere. */
export function setTable(feature, names, up, mark) {
  const s = feature.sets;
  const mine = d3.range(s.n).filter((i) => Boolean(s.up[i]) === up);
  const alike = d3.group(mine.filter((i) => s.under?.[i] >= 0), (i) => s.under[i]); // prettier-ignore
  const leads = new Set(mine.filter((i) => !(s.under?.[i] >= 0)).map((i) => s.id[i]));
  const rows = mine.filter((i) => !(s.under?.[i] >= 0) || !leads.has(s.under[i]));
  const same = (i) => (alike.has(s.id[i]) ? el("details", { class: "alike" }, el("summary", {}, `${alike.get(s.id[i]).length} more of the same genes`), alike.get(s.id[i]).map((j) => el("div", {}, name(j), ` q ${pvalue(Math.max(s.rank[j] || 0, s.ora[j] || 0))}`))) : null); // prettier-ignore
  const name = (i) => (names.members(s.id[i]).length ? button(names.sets[s.id[i]], () => mark(s.id[i]), { class: "link", title: "Show its genes in the volcano" }) : names.sets[s.id[i]]);
  return shortTable(up ? "Gene sets up" : "Gene sets down", [
    { title: "gene set and its leading genes", kind: "wide-text", show: (i) => [name(i), leading(feature, names, s.id[i], up), same(i)] },
    { title: "hits", kind: "number", help: "genes of the set among the feature's genes / genes measured", show: (i) => `${s.hits[i]}/${s.measured[i]}` },
    { title: "effect", kind: "number", show: (i) => fixed(s.effect[i]) },
    { title: "q rank", kind: "number", help: "competitive rank test", show: (i) => pvalue(s.rank[i]) },
    { title: "q over-rep.", kind: "number", help: "over-representation", show: (i) => pvalue(s.ora[i]) },
  ], rows, 8); // prettier-ignore
}

/** The counterparts of a feature among the features of other seeds, one row a seed. */
export function matchTable(matches, seeds) {
  return shortTable("Matches in other seeds", [
    { title: "seed", show: (i) => String(seeds?.[matches.seed[i]] ?? `+${matches.seed[i]}`) },
    { title: "partner", kind: "number", help: "feature of that seed, each serving one feature alone", show: (i) => (matches.partner[i] < 0 ? "none" : `#${matches.partner[i]}`) },
    { title: "r of codes", kind: "number", help: "Pearson correlation of the two features over cells kept out of training", show: (i) => fixed(matches.r[i]) },
    { title: "cosine", kind: "number", help: "between the two decoder directions", show: (i) => fixed(matches.cosine[i]) },
    { title: "best r", kind: "number", help: "of any feature of that seed, which others may share", show: (i) => `${fixed(matches.best_r[i])}${matches.best[i] >= 0 && matches.best[i] !== matches.partner[i] ? ` (#${matches.best[i]})` : ""}` },
  ], d3.range(matches.n)); // prettier-ignore
}

export function labelTable(feature, names) {
  const l = feature.labels;
  const several = new Set(names.labels.map(([column]) => column)).size > 1;
  return shortTable("Labels", [
    { title: "label", kind: "wide-text", show: (i) => names.labels[l.id[i]][1] },
    several ? { title: "of", show: (i) => names.labels[l.id[i]][0] } : null,
    { title: "AUROC", kind: "number", show: (i) => fixed(l.auroc[i], 3) },
    { title: "F1", kind: "number", show: (i) => fixed(l.f1[i]) },
    { title: "precision", kind: "number", show: (i) => fixed(l.precision[i]) },
    { title: "recall", kind: "number", show: (i) => fixed(l.recall[i]) },
    { title: "q", kind: "number", show: (i) => pvalue(l.mlq[i]) },
  ].filter(Boolean), d3.range(l.n), 8); // prettier-ignore
}
