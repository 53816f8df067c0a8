// Type a gene: the features that carry it, and where it is expressed.

import { button, el, empty, panel, svg } from "./dom.js";
import { activationLegend, cellMap, colourByFeature } from "./cellmap.js";
import { axisX, chart, redrawCharts, told } from "./chart.js";
import { chooser } from "./chooser.js";
import { DOWN, UP } from "./colour.js";
import { bar, shortTable } from "./evidence.js";
import { figureTools, mapTools } from "./figure.js";
import { count, fixed, pvalue, truncate } from "./format.js";
import { go, place } from "./router.js";
import { loadFeature, loadGene, loadNames, theRun } from "./run.js";
import { saveCsv } from "./save.js";

const BARS = 14;

export async function geneView() {
  const { features: f } = theRun();
  const names = await loadNames();
  const wanted = place().gene ?? "";
  const id = names.geneId.get(wanted.toLowerCase());
  const search = chooser({
    label: "Gene",
    value: id === undefined ? wanted : names.shown(id),
    placeholder: "Type a gene",
    propose: (text) => proposeGenes(names, text),
    choose: (gene) => go({ view: "gene", gene: names.shown(gene) }),
  });
  const head = el("div", { class: "row" }, search);
  if (id === undefined) {
    const said = wanted ? `No gene called ${wanted} is kept in this page (${count(names.genes.length)} are).` : "Type a gene to see the features that carry it.";
    return { node: el("div", { class: "view gene" }, head, empty(said)), title: "Gene" };
  }
  const { features: rows, expression } = await loadGene(id);
  const maps = [];
  const show = async (row, room) => {
    const feature = await loadFeature(row);
    const map = cellMap(`Cells by activation of feature ${feature.id}`);
    maps.push([map, feature]);
    room.replaceChildren(el("div", { class: "stage" }, map.node), activationLegend(feature));
    colourByFeature(map, feature);
  };
  const title = el("h2", { tabindex: -1, "aria-level": 1 }, names.shown(id), names.genes[id] === names.shown(id) ? null : el("span", { class: "muted" }, ` ${names.genes[id]}`));
  const right = el("div");
  const parts = [];
  if (expression) {
    const map = cellMap(`Cells by expression of ${names.shown(id)}`);
    maps.push([map, expression]);
    const legend = activationLegend(expression, "none");
    parts.push(panel("Expression", { id: "expression", note: "log1p, normalised for depth", tools: mapTools(`gene-${names.shown(id)}-cells`, () => map, () => legend) }, el("div", { class: "stage" }, map.node), legend));
    colourByFeature(map, expression);
  }
  const up = rows.filter((d) => d.z > 0);
  if (up.length) {
    parts.push(panel(`Strongest feature: ${truncate(f.text("name", up[0].row) || `feature ${f.feature[up[0].row]}`, 60)}`, { id: "strongest" }, right));
    show(up[0].row, right);
  }
  if (rows.length) {
    const figure = bars(rows, f, names.shown(id));
    parts.push(panel("Features that carry it", { id: "carriers", note: "log2 fold change in their active cells", tools: figureTools(`gene-${names.shown(id)}`, () => figure) }, figure));
    parts.push(panel("All", { id: "gene-table", tools: [button("CSV", () => saveCsv(`gene-${names.shown(id)}`, ["feature", "name", "log2fc", "z", "minus_log10_q"], rows.map((d) => [f.feature[d.row], f.text("name", d.row), d.fc, d.z, d.mlq])), { class: "quiet small", "aria-label": "Download as CSV" })] }, table(rows, f)));
  } else parts.push(empty("No feature carries this gene."));
  const node = el("div", { class: "view gene" }, head, title, el("div", { class: "card" }, parts));
  const restyle = () => {
    for (const [map, values] of maps) colourByFeature(map, values);
    redrawCharts(node);
  };
  return { node, title: names.shown(id), restyle, free: () => maps.forEach(([map]) => map.free()) };
}

/** Genes whose symbol or name begins with the text, then those that hold it. */
function proposeGenes(names, text, limit = 12) {
  const wanted = text.toLowerCase();
  if (!wanted) return [];
  const [first, later] = [[], []];
  for (let i = 0; i < names.genes.length && first.length < limit; i++) {
    const [gene, symbol] = [names.genes[i].toLowerCase(), names.symbols[i].toLowerCase()];
    if (gene.startsWith(wanted) || symbol.startsWith(wanted)) first.push(i);
    else if (later.length < limit && (gene.includes(wanted) || symbol.includes(wanted))) later.push(i);
  }
  return [...first, ...later].slice(0, limit).map((i) => ({ text: names.shown(i), note: names.genes[i] === names.shown(i) ? "" : names.genes[i], value: i }));
}

function bars(rows, f, gene) {
  const shown = d3.sort(rows.slice(0, BARS), (d) => -d.fc);
  const pitch = 24;
  return chart(`Features that carry ${gene}`, shown.length * pitch + 46, (root, w) => {
    const left = Math.min(250, w * 0.45);
    const low = Math.min(0, d3.min(shown, (d) => d.fc));
    const high = Math.max(0, d3.max(shown, (d) => d.fc));
    const x = d3.scaleLinear([low, high || 1], [left + 6, w - 40]);
    shown.forEach((d, r) => {
      const y = r * pitch;
      const line = svg("g", { class: "spot" });
      line.append(svg("text", { x: left - 4, y: y + pitch / 2 + 4, "text-anchor": "end", class: "row-name" }, truncate(f.text("name", d.row) || `feature ${f.feature[d.row]}`, Math.floor((left - 8) / 7))));
      line.append(svg("rect", { x: Math.min(x(0), x(d.fc)), y: y + 4, width: Math.max(1, Math.abs(x(d.fc) - x(0))), height: pitch - 8, rx: 2, fill: d.fc > 0 ? UP : DOWN, "fill-opacity": 0.85 }));
      line.append(svg("text", { x: d.fc > 0 ? x(d.fc) + 5 : x(0) + 5, y: y + pitch / 2 + 4, class: "row-value" }, fixed(d.fc)));
      line.addEventListener("click", () => go({ view: "feature", feature: f.feature[d.row] }));
      root.append(told(line, `${f.text("name", d.row)}: log2 fold change ${fixed(d.fc)}, q ${pvalue(d.mlq)}`));
    });
    root.append(svg("line", { x1: x(0), x2: x(0), y1: 0, y2: shown.length * pitch, class: "rule" }));
    axisX(root, x, shown.length * pitch, { title: "log2 fold change", ticks: Math.max(2, (w - left) / 90) });
  });
}

function table(rows, f) {
  const largest = Math.max(...rows.map((d) => Math.abs(d.fc)));
  return shortTable("Features that carry the gene", [
    { title: "feature", kind: "wide-text", show: (d) => button(f.text("name", d.row) || `feature ${f.feature[d.row]}`, () => go({ view: "feature", feature: f.feature[d.row] }), { class: "link" }) },
    { title: "log2 fc", kind: "number", show: (d) => bar(d.fc, d.fc > 0 ? UP : DOWN, largest) },
    { title: "z", kind: "number", show: (d) => fixed(d.z, 1) },
    { title: "q", kind: "number", show: (d) => pvalue(d.mlq) },
  ], rows, 14); // prettier-ignore
}
