// How strongly cells carry a feature: over all active cells, and by label.

import { svg } from "./dom.js";
import { axisX, axisY, chart, told } from "./chart.js";
import { categoryColour, strength } from "./colour.js";
import { compact, count, percent, truncate } from "./format.js";

const BINS = 40;
const SHOWN = 16; // rows of labels; the rest are told by a line

/** Histogram of the activation of active cells; inactive ones are told in words. */
export function histogram(feature, nCells) {
  const bins = new Uint32Array(BINS);
  for (const level of feature.levels) bins[Math.min(BINS - 1, Math.floor(((level - 1) / 255) * BINS))]++;
  const label = `Histogram of activation in ${count(feature.cells.length)} active cells`;
  return chart(label, 210, (root, w, h) => {
    const x = d3.scaleLinear([0, feature.max], [48, w - 14]);
    const y = d3.scaleLinear([0, d3.max(bins) || 1], [h - 42, 26]).nice(4);
    axisY(root, y, 48, { title: "active cells", ticks: 4, format: d3.format("~s") });
    const step = (w - 62) / BINS;
    bins.forEach((n, i) => {
      const bar = svg("rect", { x: 48 + i * step + 0.5, y: y(n), width: Math.max(1, step - 1), height: y(0) - y(n), fill: strength((i + 0.5) / BINS) });
      root.append(told(bar, `${count(n)} cells from ${compact((feature.max * i) / BINS)} to ${compact((feature.max * (i + 1)) / BINS)}`));
    });
    axisX(root, x, h - 42, { title: `activation (${percent(1 - feature.cells.length / nCells, 1)} of cells: zero)` });
  });
}

/** Summaries of a feature within each category of a column, the most active first. */
export function byLabel(feature, column, codes) {
  const groups = column.names.map((name, i) => ({ name, i, cells: 0, active: 0, bins: new Float64Array(BINS), sum: 0 }));
  for (const code of codes) groups[code].cells++;
  feature.cells.forEach((cell, j) => {
    const group = groups[codes[cell]];
    group.active++;
    group.sum += feature.levels[j];
    group.bins[Math.min(BINS - 1, Math.floor(((feature.levels[j] - 1) / 255) * BINS))]++;
  });
  for (const g of groups) {
    g.share = g.active / Math.max(1, g.cells);
    g.mean = ((g.sum / 255) * feature.max) / Math.max(1, g.cells);
  }
  return groups.filter((g) => g.cells).sort((a, b) => b.mean - a.mean);
}

/** A violin a label: activation of its active cells, its height growing with the share that is active. */
export function violins(feature, column, codes) {
  const all = byLabel(feature, column, codes);
  const rows = all.slice(0, SHOWN);
  const pitch = 27;
  return chart(`Activation by ${column.name}`, rows.length * pitch + 68, (root, w, h) => {
    const left = Math.min(210, w * 0.38);
    const right = 62;
    const x = d3.scaleLinear([0, feature.max], [left, w - right]);
    root.append(svg("text", { x: w - 4, y: 12, class: "title", "text-anchor": "end" }, "active"));
    rows.forEach((g, r) => {
      const y = 20 + r * pitch + pitch / 2;
      const line = svg("g", {});
      line.append(svg("text", { x: left - 10, y: y + 4, "text-anchor": "end", class: "row-name" }, truncate(g.name, Math.floor(left / 6.8))));
      line.append(svg("line", { x1: left, x2: w - right, y1: y, y2: y, class: "rule" }));
      if (g.active) {
        const smooth = blur(g.bins);
        const top = Math.max(...smooth);
        const half = (pitch / 2 - 1) * (0.25 + 0.75 * Math.sqrt(g.share));
        const points = Array.from(smooth, (v, i) => [x((feature.max * (i + 0.5)) / BINS), (v / top) * half]);
        const area = d3.area().x((d) => d[0]).y0((d) => y + d[1]).y1((d) => y - d[1]).curve(d3.curveMonotoneX); // prettier-ignore
        line.append(svg("path", { d: area(points), fill: categoryColour(g.i), "fill-opacity": 0.85 }));
      }
      line.append(svg("text", { x: w - 4, y: y + 4, "text-anchor": "end", class: "row-value" }, percent(g.share)));
      root.append(told(line, `${g.name}: ${count(g.active)} of ${count(g.cells)} cells active, mean ${compact(g.mean)}`));
    });
    if (all.length > rows.length)
      root.append(svg("text", { x: 4, y: h - 8, class: "title" }, `and ${all.length - rows.length} more, less active`));
    axisX(root, x, 24 + rows.length * pitch, { title: "activation of active cells", ticks: Math.max(3, Math.floor((w - left - right) / 70)) });
  });
}

function blur(bins) {
  const kernel = [0.06, 0.24, 0.4, 0.24, 0.06];
  return bins.map((_, i) => kernel.reduce((sum, k, j) => sum + k * (bins[i + j - 2] ?? 0), 0));
}
