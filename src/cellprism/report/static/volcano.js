// Genes of a feature: fold change against evidence.

import { svg } from "./dom.js";
import { axisX, axisY, chart, told } from "./chart.js";
import { DOWN, UP } from "./colour.js";
import { fixed, pvalue } from "./format.js";

const NAMED = 12;
const DRAWN = 1500; // genes drawn, the strongest first: SVG stays quick

/** Volcano of the genes kept for a feature; `pick(id)` is called with a gene. */
export function volcano(genes, names, pick) {
  const rows = d3.range(genes.n).map((i) => ({ id: genes.id[i], fc: genes.fc[i], z: genes.z[i], mlp: genes.mlp[i], mlq: genes.mlq[i] })); // prettier-ignore
  const shown = rows.filter((d) => Number.isFinite(d.fc) && Number.isFinite(d.mlp)).slice(0, DRAWN);
  const figure = chart("Volcano of genes: log2 fold change against minus log10 p", (w) => Math.min(360, Math.max(260, w * 0.75)), (root, w, h) => {
    const reach = d3.max(shown, (d) => Math.abs(d.fc)) || 1;
    const x = d3.scaleLinear([-reach * 1.08, reach * 1.08], [46, w - 12]);
    const y = d3.scaleLinear([0, (d3.max(shown, (d) => d.mlp) || 1) * 1.06], [h - 42, 28]);
    root.append(svg("line", { x1: x(0), x2: x(0), y1: y.range()[0], y2: y.range()[1], class: "rule" }));
    axisX(root, x, h - 42, { title: "log2 fold change (active against inactive cells)", ticks: w / 80 });
    axisY(root, y, 46, { title: "−log10 p", ticks: 5 });
    const spots = svg("g", {});
    const marked = figure.marked ?? null; // genes of a chosen set stand out, the others step back
    const front = marked ? shown.filter((d) => marked.has(d.id)) : shown;
    for (const d of [...shown.filter((d) => marked && !marked.has(d.id)), ...[...front].reverse()]) {
      const faint = marked && !marked.has(d.id);
      const clear = d.mlq > 1.301;
      const way = d.z > 0 === d.fc > 0 ? Math.sign(d.fc) : 0; // where ranks and mean disagree, neither up nor down
      const spot = svg("circle", {
        cx: x(d.fc), cy: y(d.mlp), r: faint ? 2 : clear || marked ? 3.4 : 2.4,
        fill: !faint && (clear || marked) ? (way > 0 ? UP : way < 0 ? DOWN : "currentColor") : "currentColor", "fill-opacity": faint ? 0.1 : clear || marked ? 0.8 : 0.28, class: "spot",
      }); // prettier-ignore
      spot.addEventListener("click", () => pick(d.id));
      spots.append(told(spot, `${names.shown(d.id)}: log2 fold change ${fixed(d.fc)}, p ${pvalue(d.mlp)}, q ${pvalue(d.mlq)}`));
    }
    root.append(spots);
    nameSpots(root, front.slice(0, NAMED), x, y, w, names);
  });
  return figure;
}

/** Names beside the strongest genes where they find room. */
function nameSpots(root, rows, x, y, w, names) {
  const taken = rows.map((d) => [x(d.fc) - 4, y(d.mlp) - 4, x(d.fc) + 4, y(d.mlp) + 4]);
  rows.forEach((d) => {
    const text = names.shown(d.id).slice(0, 14);
    const [px, py] = [x(d.fc), y(d.mlp)];
    const width = text.length * 6.6;
    const right = px < w / 2 ? px - 7 - width > 48 ? false : true : px + 7 + width < w - 4;
    for (const flip of [right, !right])
      for (const dy of [0, -9, 9]) {
        const from = flip ? px + 6 : px - 6 - width;
        const box = [from, py - 6 + dy, from + width, py + 6 + dy];
        const own = taken.findIndex((b) => b[0] === px - 4 && b[1] === py - 4);
        if (box[0] < 47 || box[2] > w || taken.some((o, i) => i !== own && box[0] < o[2] && o[0] < box[2] && box[1] < o[3] && o[1] < box[3])) continue;
        taken.push(box);
        root.append(svg("text", { x: flip ? px + 6 : px - 6, y: py + 4 + dy, "text-anchor": flip ? "start" : "end", class: "spot-name" }, text));
        return;
      }
  });
}
