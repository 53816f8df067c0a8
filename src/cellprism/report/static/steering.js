// What steering a feature did, where the run folder holds such an experiment.

import { el, panel, svg } from "./dom.js";
import { axisX, axisY, chart, told } from "./chart.js";
import { DOWN, UP, themed } from "./colour.js";
import { bar, shortTable } from "./evidence.js";
import { figureTools } from "./figure.js";
import { compact, count, fixed, pvalue } from "./format.js";
import { theRun } from "./run.js";

/** Panels of the experiments that turned this feature. */
export function steeringPanels(id, file) {
  const mine = (theRun().overview.steering ?? []).filter((s) => s.features.includes(id));
  return mine.map((s, k) => {
    const parts = [];
    const doses = s.doses.filter((d) => Number.isFinite(d.dose) && Number.isFinite(d.strength));
    const figure = doses.length > 1 ? doseCurve(doses) : null;
    if (figure) parts.push(figure);
    const largest = Math.max(...s.genes.map((g) => Math.abs(g.log2fc ?? 0)), 1e-9);
    parts.push(
      shortTable("Genes that change", [
        { title: "gene", show: (g) => g.symbol },
        { title: "log2 change", kind: "number", show: (g) => bar(g.log2fc, g.log2fc > 0 ? UP : DOWN, largest) },
        { title: "q", kind: "number", show: (g) => pvalue(g.qval === null ? NaN : -Math.log10(Math.max(g.qval, 1e-320))) },
        { title: "p, random moves", kind: "number", help: "share of random directions of the same covariance that move the gene as far", show: (g) => (g.null_pval === null ? "–" : fixed(g.null_pval, 3)) },
      ], s.genes, 8),
    ); // prettier-ignore
    const moved = s.neighbours.filter((n) => Math.abs(n.change ?? 0) > 0.005);
    if (moved.length)
      parts.push(el("p", { class: "note" }, "Among the nearest cells: ", moved.slice(0, 4).map((n) => `${n.value} ${n.change > 0 ? "+" : "−"}${(100 * Math.abs(n.change)).toFixed(0)} points`).join(", "), "."));
    const edit = s.summary.edit ? `${s.summary.edit.kind} ${compact(s.summary.edit.amount ?? NaN)}` : "edited";
    const note = `${edit}, in ${count(s.summary.cells ?? 0)} cells`;
    return panel("Steering", { id: `steering-${k}`, note, tools: figure ? figureTools(`${file}-steering`, () => figure) : [] }, parts);
  });
}

/** Root mean square log2 change against the activation that the cells were given. */
function doseCurve(doses) {
  return chart("Dose curve of steering", 220, (root, w, h) => {
    const key = doses.every((d) => Number.isFinite(d.value)) ? "value" : "dose";
    const x = d3.scaleLinear(d3.extent(doses, (d) => d[key]), [48, w - 14]).nice(); // prettier-ignore
    const y = d3.scaleLinear([0, d3.max(doses, (d) => d.strength) || 1], [h - 42, 26]).nice();
    axisX(root, x, h - 42, { title: key === "value" ? "mean activation" : "share of the edit", ticks: w / 80 });
    axisY(root, y, 48, { title: "change (root mean square log2)", ticks: 4 });
    const line = d3.line((d) => x(d[key]), (d) => y(d.strength)); // prettier-ignore
    root.append(svg("path", { d: line(d3.sort(doses, (d) => d[key])), fill: "none", stroke: themed("--accent"), "stroke-width": 2 }));
    for (const d of doses)
      root.append(told(svg("circle", { cx: x(d[key]), cy: y(d.strength), r: 3.5, fill: themed("--accent") }), `dose ${d.dose}: change ${fixed(d.strength, 3)}`));
  });
}
