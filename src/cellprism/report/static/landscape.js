// The choice of the recipe: how each candidate scored.

import { panel, svg } from "./dom.js";
import { axisX, axisY, chart, told } from "./chart.js";
import { categoryColour, themed } from "./colour.js";
import { compact, fixed } from "./format.js";
import { figureTools } from "./figure.js";

const ACROSS = ["explained_variance", "l0", "k"];
const UPWARD = ["stability", "score", "n_live", "loss", "explained_variance"];

/** Candidates as points: explained variance across, stability (or score) up, a colour a width, the choice ringed. */
export function landscape(rows) {
  const has = (key) => rows.some((r) => Number.isFinite(r[key]));
  const across = ACROSS.find(has);
  const up = UPWARD.find((k) => k !== across && has(k));
  if (!across || !up) return null;
  const groups = [...new Set(rows.map((r) => r.width ?? r.activation ?? ""))];
  const said = (r) => Object.entries(r).map(([k, v]) => `${k.replaceAll("_", " ")} ${typeof v === "number" ? compact(v) : v}`).join(", "); // prettier-ignore
  const box = chart("Candidates of the recipe choice", 300, (root, w, h) => {
    const room = (key) => { const [a, b] = d3.extent(rows, (r) => r[key]); return [a - (b - a || 1) * 0.08, b + (b - a || 1) * 0.08]; }; // prettier-ignore
    const x = d3.scaleLinear(room(across), [48, w - 90]);
    const y = d3.scaleLinear(room(up), [h - 42, 28]);
    axisX(root, x, h - 42, { title: across.replaceAll("_", " "), ticks: w / 90 });
    axisY(root, y, 48, { title: up.replaceAll("_", " ") });
    for (const r of rows) {
      if (!Number.isFinite(r[across]) || !Number.isFinite(r[up])) continue;
      const at = { cx: x(r[across]), cy: y(r[up]) };
      const g = svg("g", {}, svg("circle", { ...at, r: 5, fill: categoryColour(groups.indexOf(r.width ?? r.activation ?? "")) }));
      if (r.chosen) {
        g.append(svg("circle", { ...at, r: 9, fill: "none", stroke: themed("--ink"), "stroke-width": 1.5 }));
        g.append(svg("text", { x: at.cx, y: at.cy - 14, "text-anchor": "middle", class: "spot-name" }, "chosen"));
      }
      root.append(told(g, said(r)));
    }
    groups.forEach((g, i) => {
      root.append(svg("circle", { cx: w - 74, cy: 30 + 18 * i, r: 4, fill: categoryColour(i) }));
      root.append(svg("text", { x: w - 64, y: 34 + 18 * i, class: "row-value" }, typeof g === "number" ? `width ${g}` : String(g || fixed(i, 0))));
    });
  });
  return panel("Choice of the recipe", { id: "landscape", tools: figureTools("landscape", () => box) }, box);
}
