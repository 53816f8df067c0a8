// The choice of the recipe: every configuration that was tried, how it scored, and why one was taken.

import { button, el, panel, select, svg } from "./dom.js";
import { axisX, axisY, chart, told } from "./chart.js";
import { categoryColour, themed } from "./colour.js";
import { shortTable } from "./evidence.js";
import { figureTools } from "./figure.js";
import { compact } from "./format.js";
import { saveCsv } from "./save.js";

const TITLES = { explained_variance: "variance explained", explained_signal: "variance explained above the noise", l0: "features a cell (L0)", k: "k", width: "width", bits: "bits a cell", agreement: "agreement of two seeds", stability: "stability", dead_share: "share of dead features", score: "score", loss: "loss", n_live: "live features" }; // prettier-ignore
const ACROSS = ["l0", "k", "width", "explained_signal", "explained_variance"];
const UPWARD = ["explained_signal", "bits", "explained_variance", "agreement", "stability", "score", "loss", "n_live"];
const GROUPS = ["method", "width", "activation"];
const SHAPES = d3.symbolsFill;

const title = (key) => TITLES[key] ?? key.replaceAll("_", " ");
const told_ = (value) => (typeof value === "number" ? compact(value) : value === null || value === undefined ? "–" : value === true ? "yes" : value === false ? "" : String(value)); // prettier-ignore

/** The panel of the choice; null where nothing was tried or told. */
export function landscape({ rows, reasons }) {
  const words = reasons.length ? el("ul", { class: "reasons" }, reasons.map((r) => el("li", {}, r))) : null;
  const numeric = [...new Set(rows.flatMap((r) => Object.keys(r)))].filter((k) => rows.filter((r) => Number.isFinite(r[k])).length > 1);
  if (rows.length < 2 || numeric.length < 2) return words ? panel("Choice of the recipe", { id: "landscape" }, words) : null;
  const state = { x: ACROSS.find((k) => numeric.includes(k)) ?? numeric[0] };
  state.y = UPWARD.find((k) => k !== state.x && numeric.includes(k)) ?? numeric.find((k) => k !== state.x);
  // What a colour and a shape stand for: the first of these that tells candidates apart.
  const by = GROUPS.find((k) => new Set(rows.map((r) => r[k])).size > 1);
  const groups = by ? d3.sort([...new Set(rows.map((r) => r[by] ?? "–"))], d3.ascending) : [""];
  const group = (r) => (by ? groups.indexOf(r[by] ?? "–") : 0);
  const keys = [...new Set(rows.flatMap((r) => Object.keys(r)))].filter((k) => rows.some((r) => r[k] !== null && typeof r[k] !== "object"));
  const said = (r) => keys.filter((k) => r[k] !== null && r[k] !== undefined && k !== "chosen").map((k) => `${title(k)} ${told_(r[k])}`).join(", "); // prettier-ignore
  const chosen = rows.find((r) => r.chosen);
  const label = `${rows.length} configurations that were tried${chosen ? `; chosen: ${said(chosen)}` : ""}`;

  const box = chart(label, (w) => (w < 520 ? 260 : 320) + (by ? 20 * Math.ceil(groups.length / Math.max(1, Math.floor(w / 150))) : 0), (root, w, h) => {
    const columns = Math.max(1, Math.floor(w / 150));
    const bottom = h - 42 - (by ? 20 * Math.ceil(groups.length / columns) : 0);
    const x = scale(rows, state.x, [56, w - 24]);
    const y = scale(rows, state.y, [bottom, 30]);
    axisX(root, x, bottom, { title: title(state.x), ticks: w / 90, format: plain });
    axisY(root, y, 56, { title: title(state.y), format: plain });
    const drawn = rows.filter((r) => Number.isFinite(r[state.x]) && Number.isFinite(r[state.y]));
    for (const [g, mine] of d3.group(drawn, group)) {
      const line = d3.line((r) => x(r[state.x]), (r) => y(r[state.y])); // prettier-ignore
      root.append(svg("path", { d: line(d3.sort(mine, (r) => r[state.x])), fill: "none", stroke: categoryColour(g), "stroke-opacity": 0.4, "stroke-width": 1.5 }));
    }
    for (const r of drawn) {
      const [px, py] = [x(r[state.x]), y(r[state.y])];
      const mark = svg("g", {}, shape(group(r), px, py));
      if (r.chosen) {
        const end = px > w - 60 ? "end" : px < 90 ? "start" : "middle";
        mark.append(svg("circle", { cx: px, cy: py, r: 10, fill: "none", stroke: themed("--ink"), "stroke-width": 1.6 }));
        mark.append(svg("text", { x: px, y: py - 15, "text-anchor": end, class: "spot-name" }, "chosen"));
      }
      root.append(told(mark, said(r)));
    }
    if (!by) return;
    groups.forEach((g, i) => {
      const [px, py] = [10 + (i % columns) * 150, bottom + 56 + 20 * Math.floor(i / columns)];
      root.append(shape(i, px, py), svg("text", { x: px + 12, y: py + 4, class: "row-value" }, `${by === "method" ? "" : `${title(by)} `}${told_(g)}`));
    });
  });
  const redraw = (key) => (value) => {
    state[key] = value;
    box.redraw();
  };
  const options = numeric.map((k) => [k, title(k)]);
  const save = () => saveCsv("landscape", keys, rows.map((r) => keys.map((k) => r[k] ?? ""))); // prettier-ignore
  return panel(
    "Choice of the recipe",
    { id: "landscape", note: `${rows.length} configurations tried`, tools: [button("CSV", save, { class: "quiet small", "aria-label": "Download the configurations as CSV" }), ...figureTools("landscape", () => box)] },
    words,
    el("div", { class: "row" }, select("across", options, state.x, redraw("x")), select("up", options, state.y, redraw("y"))),
    box,
    el("details", {}, el("summary", {}, "As a table"), shortTable("Configurations that were tried", keys.map((k) => ({ title: title(k), kind: numeric.includes(k) ? "number" : null, show: (r) => told_(r[k]) })), rows, 50)),
  ); // prettier-ignore
}

const plain = (v) => compact(v);

/** Numbers that span more than a power of ten, and are above zero, stand on a logarithmic scale. */
function scale(rows, key, range) {
  const [low, high] = d3.extent(rows.filter((r) => Number.isFinite(r[key])), (r) => r[key]); // prettier-ignore
  if (low > 0 && high / low > 12) return d3.scaleLog([low / 1.15, high * 1.15], range).base(2);
  const room = (high - low || Math.abs(high) || 1) * 0.08;
  return d3.scaleLinear([low - room, high + room], range);
}

function shape(i, x, y) {
  return svg("path", { d: d3.symbol(SHAPES[i % SHAPES.length], 70)(), transform: `translate(${x},${y})`, fill: categoryColour(i) });
}
