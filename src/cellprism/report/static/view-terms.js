// The features x terms map: which features have which gene sets, coloured by what the sets belong to, probed by words.

import { axisX, axisY, chart, redrawCharts, told } from "./chart.js";
import { readBlock } from "./blocks.js";
import { categoryColour, putColour } from "./colour.js";
import { el, empty, panel, svg } from "./dom.js";
import { shortTable } from "./evidence.js";
import { figureTools, mapTools } from "./figure.js";
import { count, percent, truncate } from "./format.js";
import { note, place } from "./router.js";
import { preview } from "./preview.js";
import { theRun } from "./run.js";
import { scatter } from "./scatter.js";

const MOST = 12; // groups with a colour of their own
const GREY = "#9a9a9a";

export async function termsView() {
  const { features: f } = theRun();
  const { arrays: a, meta } = await readBlock("terms");
  if (!meta.terms.length) return { node: el("div", { class: "view" }, empty("No feature of this run has a gene set at q < 0.05.")), title: "Terms" };
  const n = a.row.length;
  const mine = (i) => a.term.subarray(a.ptr[i], a.ptr[i + 1]);
  const groups = d3.sort(d3.rollups(d3.range(n), (v) => v.length, (i) => a.ancestor[i]).filter(([g]) => meta.ancestors[g]), ([, m]) => -m); // prettier-ignore
  const colours = new Map(groups.slice(0, MOST).map(([g], k) => [g, categoryColour(k)]));
  const have = new Uint32Array(meta.terms.length);
  for (const term of a.term) have[term]++;
  let word = place().word ?? "";
  let hit = null; // terms whose names hold the words

  const stage = el("div", { class: "stage" });
  const key = el("div", { class: "map-key" });
  const side = el("aside", { class: "side", "aria-label": "Chosen feature" });
  const said = el("output", { class: "told", "aria-live": "polite" });
  const list = el("div");
  const map = scatter({
    label: `Map of ${count(n)} features by their gene sets`,
    xs: a.x,
    ys: a.y,
    wheel: "always",
    hover: (i) => [f.text("name", a.row[i]) || `feature ${f.feature[a.row[i]]}`, `${count(mine(i).length)} gene sets${meta.ancestors[a.ancestor[i]] ? `, most of ${meta.ancestors[a.ancestor[i]]}` : ""}`, ...d3.sort(mine(i), (t) => -Number(hit?.[t] ?? 0)).slice(0, 3).map((t) => truncate(meta.terms[t], 60))], // prettier-ignore
    pick: choose,
    labels: () => [],
  });
  stage.append(map.node);

  function choose(i) {
    map.mark([i]);
    preview(side, a.row[i]);
  }

  function paint() {
    const words = word.toLowerCase().split(/\s+/).filter(Boolean);
    hit = words.length ? Uint8Array.from(meta.terms, (t) => Number(words.every((w) => t.toLowerCase().includes(w)))) : null;
    const shown = Uint8Array.from(d3.range(n), (i) => Number(!hit || mine(i).some((t) => hit[t])));
    const bytes = new Uint8Array(4 * n);
    for (let i = 0; i < n; i++) putColour(bytes, i, colours.get(a.ancestor[i]) ?? GREY, shown[i] ? 235 : 26);
    map.colours(bytes, Uint32Array.from(d3.sort(d3.range(n), (i) => shown[i])));
    const features = d3.sum(shown);
    const terms = hit ? d3.sum(hit) : meta.terms.length;
    said.textContent = hit ? `${count(features)} of ${count(n)} features have one of the ${count(terms)} gene sets with “${word.trim()}” in their name` : `${count(n)} of ${count(f.n)} features have one of ${count(terms)} gene sets at q < 0.05`;
    const rows = d3.sort(d3.range(meta.terms.length).filter((t) => !hit || hit[t]), (t) => -have[t]); // prettier-ignore
    list.replaceChildren(shortTable("Gene sets by the features that have them", [
      { title: "gene set", kind: "wide-text", show: (t) => meta.terms[t] },
      { title: "of", kind: "wide-text", show: (t) => meta.ancestors[a.term_ancestor[t]] || "–" },
      { title: "features", kind: "number", show: (t) => count(have[t]) },
    ], rows.slice(0, 1000), 12)); // prettier-ignore
  }

  const others = n - d3.sum(groups.slice(0, MOST), ([, m]) => m);
  const swatch = (colour, name, m) => el("li", {}, el("span", { class: "swatch", style: { "background-color": colour } }), truncate(name, 44), el("span", { class: "muted" }, ` ${count(m)}`));
  key.append(el("ul", { class: "legend list" }, groups.slice(0, MOST).map(([g, m]) => swatch(colours.get(g), meta.ancestors[g], m)), others ? swatch(GREY, "other or not known", others) : null));
  const probe = el("input", { type: "search", class: "find", placeholder: "Probe by a word in the name of a gene set, such as immune", "aria-label": "Word in the name of a gene set", value: word, "data-find": true, oninput: (event) => { word = event.target.value; note({ view: "terms", ...(word ? { word } : {}) }); paint(); } }); // prettier-ignore
  paint();
  choose(d3.greatestIndex(d3.range(n), (i) => mine(i).length));
  const bars = histogram(d3.range(n).map((i) => mine(i).length), f.n - n); // prettier-ignore
  const node = el("div", { class: "view map terms" }, el("div", { class: "filters", role: "search" }, probe),
    el("div", { class: "row" }, said, el("span", { class: "tools" }, mapTools("terms-map", () => map, () => key))),
    el("div", { class: "split" }, el("div", { class: "main" }, stage, key), side),
    el("div", { class: "columns" },
      panel("Gene sets", { id: "term-list" }, list),
      panel("Gene sets a feature", { id: "term-counts", note: `${percent((f.n - n) / Math.max(1, f.n))} of the features have none`, tools: figureTools("terms-a-feature", () => bars) }, bars))); // prettier-ignore
  const restyle = () => {
    paint();
    redrawCharts(node);
  };
  return { node, title: "Terms", restyle, free: () => map.free() };
}

function histogram(counts, none) {
  return chart("Features by their number of gene sets", 260, (root, w, h) => {
    const most = d3.max(counts);
    const x = d3.scaleLinear([0, most + 1], [44, w - 12]);
    const bins = d3.bin().domain([1, most + 1]).thresholds(Math.min(30, most))(counts); // prettier-ignore
    const y = d3.scaleLinear([0, Math.max(none, d3.max(bins, (b) => b.length))], [h - 42, 24]);
    axisX(root, x, h - 42, { title: "gene sets", ticks: w / 90 });
    axisY(root, y, 44, { title: "features", ticks: 5 });
    const bar = (from, to, m, colour, text) => root.append(told(svg("rect", { x: x(from) + 0.5, width: Math.max(1, x(to) - x(from) - 1), y: y(m), height: y(0) - y(m), fill: colour }), text)); // prettier-ignore
    if (none) bar(0, 1, none, GREY, `${count(none)} features have none`);
    for (const b of bins) if (b.length) bar(b.x0, b.x1, b.length, "#0072b2", `${count(b.length)} features with ${b.x0} to ${b.x1 - 1}`);
  });
}
