// A feature in short, beside the map.

import { button, el } from "./dom.js";
import { activationLegend, cellMap, colourByFeature } from "./cellmap.js";
import { kindChip, warningChip } from "./chips.js";
import { count, fixed, percent, pvalue, stability } from "./format.js";
import { go } from "./router.js";
import { loadFeature, theRun } from "./run.js";

let map = null;

/** Fill `side` with the feature in `row`. */
export async function preview(side, row) {
  map?.free();
  map = null;
  const { features: f, overview } = theRun();
  side.dataset.row = row;
  const feature = await loadFeature(row);
  if (Number(side.dataset.row) !== row) return; // another was chosen meanwhile
  map = cellMap(`Cells by activation of feature ${feature.id}`);
  const facts = [
    ["best label", f.text("top_label", row) ? `${f.text("top_label", row)} · AUROC ${fixed(f.top_label_auroc[row])}` : ""],
    ["best gene set", f.text("top_set", row) ? `${f.text("top_set", row)} · q ${pvalue(f.top_set_mlq[row])}` : ""],
    ["genes", f.text("top_genes", row)],
    ["stability", Number.isFinite(f.stability[row]) ? stability(f, row) : ""],
  ].filter(([, v]) => v);
  side.replaceChildren(
    el("h3", { "aria-level": 2 }, f.text("name", row) || `Feature ${feature.id}`),
    el("p", { class: "chips" }, el("span", { class: "chip" }, `#${feature.id}`), kindChip(f.text("kind", row)),
      el("span", { class: "chip" }, `${count(feature.cells.length)} cells · ${percent(feature.cells.length / overview.n_cells, 1)}`),
      f.text("guide", row) ? el("span", { class: "chip", title: "this gene guided the feature: it is associated by construction" }, `guided by ${f.text("guide", row)}`) : null,
      f.text("confound", row) ? warningChip(`follows ${f.text("confound", row)}`) : null),
    el("div", { class: "stage small" }, map.node),
    activationLegend(feature),
    el("dl", { class: "facts" }, facts.map(([k, v]) => [el("dt", {}, k), el("dd", {}, v)])),
    el("p", { class: "note" }, "Each point of the map is a feature; those near each other are alike."),
    button("Open the feature card", () => go({ view: "feature", feature: feature.id }), { class: "primary" }),
  ); // prettier-ignore
  colourByFeature(map, feature);
}
