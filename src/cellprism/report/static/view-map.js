// The feature map: every feature a point, near to those like it.

import { el, empty, select } from "./dom.js";
import { categoryColour, putColour, strength } from "./colour.js";
import { KIND_COLOURS } from "./chips.js";
import { compact, count, fixed, percent, pvalue, truncate } from "./format.js";
import { mapTools } from "./figure.js";
import { filters } from "./view-features.js";
import { onListing, rowsShown } from "./listing.js";
import { note, place } from "./router.js";
import { theRun } from "./run.js";
import { scatter } from "./scatter.js";
import { preview } from "./preview.js";

const TEXTS = { kind: "kind", top_label: "best label", set_collection: "collection of best set", set_theme: "theme of best set", top_set: "best gene set", confound: "confounder" };
const NUMBERS = { stability: "stability", density: "share of cells", top_set_mlq: "evidence of best set (−log10 q)", top_label_auroc: "AUROC of best label" };
const MOST = 12; // categories with a colour of their own

export function mapView() {
  const { features: f, overview } = theRun();
  const layouts = [["map", "directions"], ["set", "gene sets"]].filter(([k]) => f[`${k}_x`]); // prettier-ignore
  if (!layouts.length || !f.n) return { node: el("div", { class: "view" }, empty("This run has no layout of its features.")), title: "Map" };
  const density = Float32Array.from(f.n_active, (n) => n / overview.n_cells);
  const value = (key, i) => (key === "density" ? density[i] : f[key][i]);
  const options = [
    ...Object.entries(TEXTS).filter(([k]) => f.pools[k].filter(Boolean).length > 0),
    ...Object.entries(NUMBERS).filter(([k]) => k === "density" || f[k].some(Number.isFinite)),
  ];
  let layout = layouts.some(([k]) => k === place().layout) ? place().layout : layouts[0][0];
  let colour = options.some(([k]) => k === place().colour) ? place().colour : options[0][0];
  let map = null;
  let chosen = f.rowOf.get(Number(place().chosen)) ?? -1;
  const stage = el("div", { class: "stage" });
  const key = el("div", { class: "map-key" });
  const side = el("aside", { class: "side", "aria-label": "Chosen feature" });
  const told = el("output", { class: "told", "aria-live": "polite" });
  let shown = null;

  const remember = () => note({ view: "map", layout, colour, ...(chosen >= 0 ? { chosen: f.feature[chosen] } : {}) });

  const importance = d3.sort(d3.range(f.n), (i) => -((f.top_set_mlq[i] || 0) / 20 + (f.top_label_auroc[i] || 0) + (f.stability[i] || 0)));

  function build() {
    map?.free();
    map = scatter({
      label: `Map of ${count(f.n)} features by ${layouts.find(([k]) => k === layout)[1]}`,
      xs: f[`${layout}_x`],
      ys: f[`${layout}_y`],
      wheel: "always",
      hover: (i) => [
        f.text("name", i) || `feature ${f.feature[i]}`,
        `#${f.feature[i]} · ${count(f.n_active[i])} cells${Number.isFinite(f.stability[i]) ? ` · stability ${fixed(f.stability[i])}` : ""}`,
        ...(f.text("top_set", i) ? [`${truncate(f.text("top_set", i), 60)} · q ${pvalue(f.top_set_mlq[i])}`] : []),
      ],
      pick: choose,
      labels: () => importance.filter((i) => shown?.[i]).slice(0, 60).map((i) => ({ i, text: truncate(f.text("name", i), 30) })),
    }); // prettier-ignore
    stage.replaceChildren(map.node);
    paint();
    if (chosen >= 0) map.mark([chosen]);
  }

  function choose(i) {
    chosen = i;
    map.mark([i]);
    remember();
    preview(side, i);
  }

  function paint() {
    const rows = rowsShown();
    shown = new Uint8Array(f.n);
    for (const i of rows) shown[i] = 1;
    told.textContent = rows.length === f.n ? `${count(f.n)} features` : `${count(rows.length)} of ${count(f.n)} features`;
    const bytes = new Uint8Array(4 * f.n);
    let tint;
    if (colour in TEXTS) {
      const counts = d3.rollup(d3.range(f.n), (v) => v.length, (i) => f[colour][i]); // prettier-ignore
      const names = f.pools[colour];
      const order = d3.sort([...counts.keys()].filter((c) => names[c]), (c) => -counts.get(c)).slice(0, MOST); // prettier-ignore
      const of = new Map(order.map((c, k) => [c, colour === "kind" ? (KIND_COLOURS[names[c]] ?? categoryColour(k)) : categoryColour(k)]));
      tint = (i) => of.get(f[colour][i]) ?? "#9a9a9a";
      const legend = el("ul", { class: "legend list" }, order.map((c) => el("li", {}, el("span", { class: "swatch", style: { "background-color": of.get(c) } }), truncate(names[c], 44), el("span", { class: "muted" }, ` ${count(counts.get(c))}`))));
      const others = f.n - d3.sum(order, (c) => counts.get(c));
      if (others) legend.append(el("li", {}, el("span", { class: "swatch", style: { "background-color": "#9a9a9a" } }), colour === "confound" ? "none" : "other or none", el("span", { class: "muted" }, ` ${count(others)}`)));
      key.replaceChildren(legend);
    } else {
      const finite = d3.range(f.n).map((i) => value(colour, i)).filter(Number.isFinite).sort(d3.ascending); // prettier-ignore
      const [low, high] = [d3.quantileSorted(finite, 0.02), d3.quantileSorted(finite, 0.98)];
      tint = (i) => (Number.isFinite(value(colour, i)) ? strength((value(colour, i) - low) / (high - low || 1)) : "#9a9a9a");
      const show = (v) => (colour === "density" ? percent(v, 1) : compact(v));
      const stops = d3.range(0, 1.01, 0.1).map(strength).join(", ");
      key.replaceChildren(el("div", { class: "legend" }, el("span", {}, show(low)), el("span", { class: "ribbon", style: { background: `linear-gradient(to right, ${stops})` } }), el("span", {}, show(high)), el("span", {}, NUMBERS[colour])));
    }
    for (let i = 0; i < f.n; i++) putColour(bytes, i, tint(i), shown[i] ? 235 : 22);
    const order = Uint32Array.from(d3.sort(d3.range(f.n), (i) => shown[i]));
    map.colours(bytes, order);
  }

  const controls = el(
    "div",
    { class: "row" },
    layouts.length > 1 ? select("near by", layouts, layout, (v) => { layout = v; remember(); build(); }) : null,
    select("colour", options, colour, (v) => { colour = v; remember(); paint(); }),
    told,
    el("span", { class: "tools" }, mapTools("feature-map", () => map ?? { snapshot: true }, () => key)),
  ); // prettier-ignore
  if (chosen < 0) chosen = importance[0]; // something to look at; the address names it only once it is chosen
  build();
  preview(side, chosen);
  const stop = onListing(paint);
  const node = el("div", { class: "view map" }, filters(f), controls, el("div", { class: "split" }, el("div", { class: "main" }, stage, key), side));
  return { node, title: "Map", restyle: paint, free: () => { stop(); map.free(); } }; // prettier-ignore
}
