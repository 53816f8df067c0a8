// Two features side by side, of one model or of two.

import { button, el, empty, panel, select, svg } from "./dom.js";
import { activationLegend, cellMap, colourByFeature } from "./cellmap.js";
import { axisX, axisY, chart, redrawCharts, told } from "./chart.js";
import { chooser, proposeFeatures } from "./chooser.js";
import { kindChip } from "./chips.js";
import { violins } from "./distribution.js";
import { figureTools, mapTools } from "./figure.js";
import { count, fixed, percent, pvalue } from "./format.js";
import { go, place } from "./router.js";
import { categories, hasOther, loadFeature, loadNames, openOther, theRun } from "./run.js";
import { OTHER, models, scoreWord } from "./models.js";


export async function compareView() {
  const other = hasOther() ? await openOther() : null;
  const asked = (place().compare ?? "").split(",");
  const [left, right] = asked.some(Boolean) ? asked : await toBegin(other);
  const a = sideOf(left, theRun(), null);
  const b = sideOf(right, theRun(), other);
  const tell = (x, y) => go({ view: "compare", compare: [x, y].map((s) => s ?? "").join(",") });
  const choosers = el("div", { class: "pairs" }, [a, b].map((side, k) => picker(side, k, other, (mark) => (k ? tell(left, mark) : tell(mark, right)))));
  const node = el("div", { class: "view compare" }, choosers);
  const maps = [];
  const [first, second] = await Promise.all([a, b].map((side) => (side.row >= 0 ? loadFeature(side.row, side.run) : null)));
  const columns = el("div", { class: "pairs" }, [first ? half(a, first, maps) : nothing(), second ? half(b, second, maps) : nothing()]);
  if (first && second) node.append(await overlap(a, first, b, second));
  node.append(columns);
  if (other) node.append(models(other));
  const restyle = () => {
    for (const [map, feature] of maps) colourByFeature(map, feature);
    redrawCharts(node);
  };
  return { node, title: "Compare", restyle, free: () => maps.forEach(([map]) => map.free()) };
}

/** The pair shown before any is chosen: of two models the closest partners, of one the best feature and the one most like it. */
async function toBegin(other) {
  const f = theRun().features;
  if (other) {
    const { partner, partner_r: score } = other.match;
    const row = d3.greatestIndex(d3.range(f.n), (i) => (partner[i] >= 0 && Number.isFinite(score[i]) ? score[i] : NaN));
    return row === undefined || row < 0 ? [] : [`${f.feature[row]}`, `${OTHER}${other.run.features.feature[partner[row]]}`];
  }
  const first = f.rowOf.get(theRun().overview.best[0]);
  if (first === undefined) return [];
  const [like] = (await loadFeature(first, theRun())).near;
  return [`${f.feature[first]}`, like ? `${f.feature[like.row]}` : ""];
}

const nothing = () => el("div", {}, empty("Choose a feature above."));

function sideOf(mark, run, other) {
  const second = Boolean(other) && String(mark ?? "").startsWith(OTHER);
  const chosen = second ? other.run : run;
  const id = Number(second ? mark.slice(OTHER.length) : mark || NaN);
  return { run: chosen, second, row: chosen.features.rowOf.get(id) ?? -1 };
}

function picker(side, k, other, choose) {
  const name = (run, row) => (row >= 0 ? run.features.text("name", row) || `feature ${run.features.feature[row]}` : "");
  const input = chooser({
    label: k ? "Second feature" : "First feature",
    value: name(side.run, side.row),
    placeholder: "Search a feature",
    propose: proposeFeatures(side.run.features),
    choose: (row) => choose(`${side.second ? OTHER : ""}${side.run.features.feature[row]}`),
  });
  const model = k && other ? select("of", [["", "this model"], ["other", "other model"]], side.second ? "other" : "", (v) => choose(v ? `${OTHER}${other.run.features.feature[0]}` : String(theRun().features.feature[0]))) : null; // prettier-ignore
  return el("div", { class: "row" }, input, model);
}

function half({ run, row, second }, feature, maps) {
  const f = run.features;
  const map = cellMap(`Cells by activation of feature ${feature.id}`, {}, run);
  maps.push([map, feature]);
  colourByFeature(map, feature);
  const legend = activationLegend(feature);
  const column = categories(run)[0];
  const genes = d3.range(feature.genes.n).filter((i) => feature.genes.z[i] > 0).slice(0, 14).map((i) => run.names.shown(feature.genes.id[i])); // prettier-ignore
  return el("div", { class: "stack" },
    panel(f.text("name", row) || `Feature ${feature.id}`, { id: second ? "half-other" : `half-${feature.id}`, tools: [...mapTools(`${second ? "other-" : ""}feature-${feature.id}-cells`, () => map, () => legend), second ? null : button("Open", () => go({ view: "feature", feature: feature.id }), { class: "quiet small" })] },
      el("p", { class: "chips" }, second ? el("span", { class: "chip" }, "other model") : null, el("span", { class: "chip" }, `#${feature.id}`), kindChip(f.text("kind", row)), el("span", { class: "chip" }, `${count(feature.cells.length)} cells`)),
      el("div", { class: "stage" }, map.node), legend,
      el("dl", { class: "facts" }, el("dt", {}, "genes"), el("dd", {}, genes.join(", ") || "–"), el("dt", {}, "gene set"), el("dd", {}, f.text("top_set", row) ? `${f.text("top_set", row)} · q ${pvalue(f.top_set_mlq[row])}` : "–"))),
    column ? panel(`By ${column.name}${second ? ", other model" : `, #${feature.id}`}`, {}, violins(feature, column, run.cells[column.key])) : null); // prettier-ignore
}

/** How far two features agree: in cells, in activation, in genes. */
async function overlap(a, first, b, second) {
  const names = [await loadNames(a.run), await loadNames(b.run)];
  const sameCells = a.run === b.run;
  const facts = [];
  if (sameCells) {
    const on = new Map();
    first.cells.forEach((cell, j) => on.set(cell, first.levels[j]));
    let both = 0;
    let dot = 0;
    second.cells.forEach((cell, j) => {
      const level = on.get(cell);
      if (level === undefined) return;
      both++;
      dot += level * second.levels[j];
    });
    const norm = (x) => Math.sqrt(d3.sum(x.levels, (v) => v * v));
    facts.push(["cells with both", `${count(both)} (${percent(both / Math.max(1, first.cells.length + second.cells.length - both))} of those with either)`]);
    facts.push(["cosine of activations", fixed(dot / (norm(first) * norm(second) || 1))]);
  } else {
    const { match } = await openOther();
    facts.push(["one-to-one partners", match.partner[a.row] === b.row ? `yes, ${scoreWord(match)} ${fixed(match.partner_r[a.row])}` : "no"]);
    facts.push(["matched by", `${match.by}, ${match.basis}`]);
  }
  const fold = new Map();
  for (let i = 0; i < second.genes.n; i++) fold.set(names[1].genes[second.genes.id[i]], second.genes.fc[i]);
  const shared = [];
  for (let i = 0; i < first.genes.n; i++) {
    const gene = names[0].genes[first.genes.id[i]];
    if (fold.has(gene)) shared.push({ name: names[0].shown(first.genes.id[i]), x: first.genes.fc[i], y: fold.get(gene) });
  }
  const sets = (feature, n) => new Set(d3.range(feature.sets.n).filter((i) => Math.max(feature.sets.rank[i] || 0, feature.sets.ora[i] || 0) > 1.301 && feature.sets.up[i]).map((i) => n.sets[feature.sets.id[i]])); // prettier-ignore
  const [s1, s2] = [sets(first, names[0]), sets(second, names[1])];
  const common = [...s1].filter((s) => s2.has(s));
  facts.push(["genes kept for both", count(shared.length)], ["gene sets at q < 0.05 in both", common.length ? common.slice(0, 3).join("; ") + (common.length > 3 ? ` and ${common.length - 3} more` : "") : "none"]);
  const figure = shared.length > 2 ? agreement(shared) : null;
  return panel("Side by side", { id: "overlap", wide: true, tools: figure ? figureTools("compare-genes", () => figure) : [] }, el("div", { class: "columns" }, el("dl", { class: "facts" }, facts.map(([k, v]) => [el("dt", {}, k), el("dd", {}, v)])), figure));
}

function agreement(shared) {
  return chart("Fold change of genes in both features", 280, (root, w, h) => {
    const reach = (key) => (d3.max(shared, (d) => Math.abs(d[key])) || 1) * 1.08;
    const x = d3.scaleLinear([-reach("x"), reach("x")], [46, w - 14]);
    const y = d3.scaleLinear([-reach("y"), reach("y")], [h - 42, 26]);
    root.append(svg("line", { x1: x(0), x2: x(0), y1: h - 42, y2: 26, class: "rule" }), svg("line", { x1: 46, x2: w - 14, y1: y(0), y2: y(0), class: "rule" }));
    axisX(root, x, h - 42, { title: "log2 fold change, first feature", ticks: w / 90 });
    axisY(root, y, 46, { title: "second feature", ticks: 5 });
    const far = new Set(d3.sort(shared, (d) => -Math.abs(d.x) - Math.abs(d.y)).slice(0, 8));
    for (const d of shared) {
      root.append(told(svg("circle", { cx: x(d.x), cy: y(d.y), r: 3, fill: "currentColor", "fill-opacity": 0.45 }), `${d.name}: ${fixed(d.x)} and ${fixed(d.y)}`));
      if (far.has(d)) root.append(svg("text", { x: x(d.x) + (d.x > 0 ? -6 : 6), y: y(d.y) - 5, "text-anchor": d.x > 0 ? "end" : "start", class: "spot-name" }, d.name));
    }
  });
}
