// What steering a feature did, where the run folder holds such an experiment.

import { el, panel, svg } from "./dom.js";
import { axisX, axisY, chart, told } from "./chart.js";
import { DOWN, UP, themed } from "./colour.js";
import { bar, shortTable } from "./evidence.js";
import { figureTools } from "./figure.js";
import { compact, count, fixed, percent, pvalue } from "./format.js";
import { theRun } from "./run.js";

/** Panels of the experiments that turned this feature. */
export function steeringPanels(id, file) {
  const mine = (theRun().overview.steering ?? []).filter((s) => s.features.includes(id));
  return mine.map((s, k) => {
    const parts = [];
    const doses = s.doses.filter((d) => Number.isFinite(d.dose) && Number.isFinite(d.strength));
    const chance = s.summary.strength_nulls?.covariance;
    const figure = doses.length > 1 ? doseCurve(doses, chance) : null;
    if (figure) parts.push(figure);
    const facts = factsOf(s.summary);
    if (facts.length) parts.push(el("dl", { class: "facts" }, facts.map(([k, v]) => [el("dt", {}, k), el("dd", {}, v)])));
    const largest = Math.max(...s.genes.map((g) => Math.abs(g.log2fc ?? 0)), 1e-9);
    parts.push(
      shortTable("Genes that change", [
        { title: "gene", show: (g) => g.symbol },
        { title: "log2 change", kind: "number", show: (g) => bar(g.log2fc, g.log2fc > 0 ? UP : DOWN, largest) },
        { title: "q", kind: "number", show: (g) => pvalue(g.qval === null ? NaN : -Math.log10(Math.max(g.qval, 1e-320))) },
        { title: "p, random moves", kind: "number", help: "share of random directions of the same covariance that move the gene as far", show: (g) => chanceOf(g.null_pval) },
      ], s.genes, 8),
    ); // prettier-ignore
    if (s.sets?.length)
      parts.push(
        shortTable("Gene sets that change", [
          { title: "gene set", kind: "wide-text", show: (g) => g.set },
          { title: "effect", kind: "number", help: "mean log2 change of its genes less that of the others", show: (g) => fixed(g.effect) },
          { title: "p, random moves", kind: "number", show: (g) => chanceOf(g.null_pval) },
        ], s.sets, 6),
      ); // prettier-ignore
    const moved = s.neighbours.filter((n) => Math.abs(n.change ?? 0) > 0.005);
    if (moved.length)
      parts.push(el("p", { class: "note" }, "Among the nearest cells: ", moved.slice(0, 4).map((n) => `${n.value} ${n.change > 0 ? "+" : "−"}${(100 * Math.abs(n.change)).toFixed(0)} points`).join(", "), "."));
    const note = `${editOf(s.summary.edit)}, in ${count(s.summary.cells ?? 0)} cells`;
    return panel("Steering", { id: `steering-${k}`, note, tools: figure ? figureTools(`${file}-steering`, () => figure) : [] }, parts);
  });
}

const chanceOf = (p) => (Number.isFinite(p) ? pvalue(-Math.log10(Math.max(p, 1e-320))) : "–");

const EDITS = { value: (v) => `set to ${v}`, set: (v) => `set to ${v}`, quantile: (v) => `raised to the ${v} quantile of active cells`, scale: (v) => `multiplied by ${v}`, add: (v) => `${v} added`, off: () => "switched off" }; // prettier-ignore

function editOf(edit) {
  if (!edit) return "edited";
  return EDITS[edit.kind]?.(compact(edit.amount ?? NaN)) ?? `${edit.kind} ${compact(edit.amount ?? NaN)}`;
}

/** The headline numbers of an experiment, each beside moves of the same length that mean nothing. */
function factsOf(s) {
  const facts = [];
  const beside = (null_) => (null_ ? ` (95% of random moves within ${fixed(null_.q95)}, p ${chanceOf(null_.pval)})` : "");
  if (Number.isFinite(s.activation_after)) facts.push(["activation", `${fixed(s.activation_before)} → ${fixed(s.activation_after)}`]);
  if (Number.isFinite(s.target_effect)) facts.push([`its own ${count(s.targets)} genes`, `${s.target_effect > 0 ? "+" : ""}${fixed(s.target_effect)} log2 against other genes${beside(s.target_nulls?.covariance)}`]);
  if (Number.isFinite(s.strength)) facts.push(["whole change", `${fixed(s.strength)} root mean square log2${beside(s.strength_nulls?.covariance)}`]);
  if (Number.isFinite(s.share_among_real_cells)) facts.push(["among real cells", percent(s.share_among_real_cells)]);
  return facts;
}

/** Root mean square log2 change against the activation that the cells were given. */
function doseCurve(doses, chance) {
  return chart("Dose curve of steering: size of the change against the activation given", 220, (root, w, h) => {
    const key = doses.every((d) => Number.isFinite(d.value)) ? "value" : "dose";
    const x = d3.scaleLinear(d3.extent(doses, (d) => d[key]), [48, w - 14]).nice(); // prettier-ignore
    const y = d3.scaleLinear([0, d3.max([...doses.map((d) => d.strength), chance?.q95 ?? 0]) || 1], [h - 42, 26]).nice();
    axisX(root, x, h - 42, { title: key === "value" ? "mean activation" : "share of the edit", ticks: w / 80 });
    axisY(root, y, 48, { title: "change (root mean square log2)", ticks: 4 });
    if (Number.isFinite(chance?.q95)) {
      root.append(svg("line", { x1: 48, x2: w - 14, y1: y(chance.q95), y2: y(chance.q95), class: "rule", "stroke-dasharray": "4 4" }));
      root.append(svg("text", { x: w - 14, y: y(chance.q95) - 5, "text-anchor": "end", class: "title" }, "95% of random moves as long as the edit"));
    }
    const line = d3.line((d) => x(d[key]), (d) => y(d.strength)); // prettier-ignore
    root.append(svg("path", { d: line(d3.sort(doses, (d) => d[key])), fill: "none", stroke: themed("--accent"), "stroke-width": 2 }));
    for (const d of doses)
      root.append(told(svg("circle", { cx: x(d[key]), cy: y(d.strength), r: 3.5, fill: themed("--accent") }), `dose ${d.dose}: change ${fixed(d.strength, 3)}`));
  });
}
