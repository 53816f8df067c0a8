// How well the best single feature of a label reads it, beside nulls and rivals and under the linear probe.

import { el, svg } from "./dom.js";
import { axisX, chart, told } from "./chart.js";
import { themed } from "./colour.js";
import { figureTools } from "./figure.js";
import { fixed } from "./format.js";

const ROW = 24;
const NARROW = 620; // below, names stand above their lines

/** The chart with its tools; null where nothing was probed. */
export function rivals(rows) {
  const drawn = rows.filter((r) => Number.isFinite(r.value));
  if (drawn.length < 2) return null;
  const ceiling = drawn[0].ceiling;
  const says = (r) => `${r.words}: ${fixed(r.value, 2)}${Number.isFinite(r.low) ? ` (${fixed(r.low, 2)} to ${fixed(r.high, 2)})` : ""}`;
  const label = `Mean F1 of the best single feature of each label: ${drawn.map(says).join("; ")}; linear probe of the whole embedding: ${fixed(ceiling, 2)}`;
  const height = (w) => drawn.length * (w < NARROW ? ROW + 14 : ROW) + 70;
  const box = chart(label, height, (root, w, h) => {
    const narrow = w < NARROW;
    const step = narrow ? ROW + 14 : ROW;
    const left = narrow ? 12 : 240;
    const ends = drawn.flatMap((r) => [r.value, r.low, r.high, ceiling]).filter(Number.isFinite);
    const x = d3.scaleLinear([Math.min(...ends), Math.max(...ends)], [left, w - 60]).nice();
    const bottom = h - 44;
    axisX(root, x, bottom, { title: `mean F1 over labels${narrow ? "" : ", in cells that had no part in choosing"}`, ticks: w / 100 });
    if (Number.isFinite(ceiling)) {
      const end = x(ceiling) > w / 2 ? "end" : "start";
      root.append(svg("line", { x1: x(ceiling), x2: x(ceiling), y1: 18, y2: bottom, stroke: themed("--ink"), "stroke-dasharray": "4 3" }));
      root.append(svg("text", { x: x(ceiling) + (end === "end" ? -6 : 6), y: 12, "text-anchor": end, class: "row-value" }, `linear probe${narrow ? "" : " of the whole embedding"} ${fixed(ceiling, 2)}`));
    }
    drawn.forEach((r, i) => {
      const y = 30 + i * step + (narrow ? 14 : 0);
      const mine = r.dictionary === "dictionary";
      const colour = mine ? themed("--accent") : themed("--soft");
      const row = svg("g", {});
      row.append(svg("text", { x: narrow ? left : left - 14, y: narrow ? y - 10 : y + 4, "text-anchor": narrow ? "start" : "end", class: "row-value", "font-weight": mine ? 700 : 400 }, r.words));
      if (Number.isFinite(r.low)) row.append(svg("line", { x1: x(r.low), x2: x(r.high), y1: y, y2: y, stroke: colour, "stroke-width": 2.5 }));
      row.append(svg("circle", { cx: x(r.value), cy: y, r: mine ? 6 : 4.5, fill: colour }));
      row.append(svg("text", { x: w - 52, y: y + 4, class: "row-value", "font-weight": mine ? 700 : 400 }, fixed(r.value, 2)));
      root.append(told(row, says(r)));
    });
  });
  return { box, tools: figureTools("single-features", () => box), note: el("p", { class: "note" }, "Lines: 95 % intervals.") };
}
