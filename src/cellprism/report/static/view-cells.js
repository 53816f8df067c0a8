// Choose cells on the map or by label, and see which features set them apart.

import { button, el, empty, panel, select } from "./dom.js";
import { categoryLegend, cellMap, colourByCategory, greyBytes } from "./cellmap.js";
import { putColour, themed } from "./colour.js";
import { contrast } from "./contrast.js";
import { shortTable } from "./evidence.js";
import { mapTools } from "./figure.js";
import { count, fixed, percent } from "./format.js";
import { go, note, place } from "./router.js";
import { categories, theRun } from "./run.js";
import { saveCsv } from "./save.js";

export function cellsView() {
  const { cells, features: f, overview } = theRun();
  const columns = categories();
  let column = columns.find((c) => c.name === place().by) ?? columns[0] ?? null;
  let turn = 0;
  const room = el("div", { class: "stack", "aria-live": "polite" });
  const legend = el("div");
  const map = cellMap("Cells of the run; draw around some to choose them", {
    lasso: (chosen) => { remember({}); choose(chosen, "drawn around"); },
    hover: (i) => columns.slice(0, 4).map((c) => `${c.name}: ${c.names[cells[c.key][i]]}`),
    wheel: "always",
  }); // prettier-ignore
  const labels = el("div", { class: "labels" });

  const remember = (more) => note({ view: "cells", ...(column ? { by: column.name } : {}), ...more });

  function showLabels() {
    labels.replaceChildren(
      ...(column?.names.slice(0, 60).map((name, code) => button(name, () => byLabel(code), { class: "pill" })) ?? []),
    );
  }

  function byLabel(code) {
    remember({ of: column.names[code] });
    const codes = cells[column.key];
    choose(Uint8Array.from(codes, (c) => Number(c === code)), column.names[code]);
  }

  function plain() {
    if (!column) map.colours(greyBytes(map.n ?? 0));
    else colourByCategory(map, cells[column.key]);
    legend.replaceChildren(...(column ? [categoryLegend(column.names)] : []));
  }

  let chosenNow = null;
  function paintChoice() {
    const bytes = greyBytes(map.n);
    const ink = themed("--accent");
    const order = new Uint32Array(map.n);
    let at = 0;
    for (const wanted of [0, 1])
      for (let i = 0; i < map.n; i++)
        if (chosenNow[i] === wanted) {
          order[at++] = i;
          if (wanted) putColour(bytes, i, ink);
        }
    map.colours(bytes, order);
    legend.replaceChildren(el("div", { class: "legend" }, el("span", { class: "swatch", style: { "background-color": ink } }), "chosen", el("span", { class: "swatch", style: { "background-color": themed("--faint-point") } }), "others"));
  }

  async function choose(chosen, said) {
    const mine = ++turn;
    chosenNow = chosen;
    const n = d3.sum(chosen);
    if (map.n) paintChoice();
    if (!n || n === overview.n_cells) {
      room.replaceChildren(empty(n ? "All cells are chosen: there is nothing to compare them with." : "No cell lies inside."));
      return;
    }
    room.replaceChildren(empty("Comparing …"));
    const rows = await contrast(chosen);
    if (mine !== turn) return;
    room.replaceChildren(result(rows, n, said));
  }

  function result(rows, n, said) {
    const save = () => saveCsv("cells-features", ["feature", "name", "auroc", "active_in", "active_out", "mean_in", "mean_out"], rows.map((d) => [f.feature[d.row], f.text("name", d.row), d.auroc, d.shareIn, d.shareOut, d.meanIn, d.meanOut])); // prettier-ignore
    const table = (list, label) =>
      shortTable(label, [
        { title: "feature", kind: "wide-text", show: (d) => button(f.text("name", d.row) || `feature ${f.feature[d.row]}`, () => go({ view: "feature", feature: f.feature[d.row] }), { class: "link" }) },
        { title: "AUROC", kind: "number", help: "of the feature as detector of the chosen cells", show: (d) => fixed(d.auroc, 3) },
        { title: "active in", kind: "number", help: "share of the chosen cells that carry it", show: (d) => percent(d.shareIn) },
        { title: "elsewhere", kind: "number", show: (d) => percent(d.shareOut) },
      ], list, 14); // prettier-ignore
    const up = rows.filter((d) => d.auroc > 0.5).slice(0, 100);
    const down = rows.filter((d) => d.auroc < 0.5).slice(-100).reverse(); // prettier-ignore
    return panel(`${count(n)} cells: ${said}`, { id: "contrast", note: "what sets them apart; descriptive", tools: [button("CSV", save, { class: "quiet small", "aria-label": "Download as CSV" }), button("Clear", clear, { class: "quiet small" })] },
      up.length ? table(up, "Features of the chosen cells") : empty("No feature is typical of these cells."),
      down.length ? el("details", {}, el("summary", {}, "Features that they lack"), table(down, "Features that they lack")) : null); // prettier-ignore
  }

  function clear() {
    turn++;
    chosenNow = null;
    remember({});
    plain();
    room.replaceChildren(intro());
  }

  const intro = () => el("p", { class: "empty" }, map.snapshot ? "Draw around cells on the map, or choose a label, to see which features set them apart." : "Choose a label to see which features set its cells apart.");
  const controls = el("div", { class: "row" },
    columns.length ? select("label", columns.map((c) => [c.name, c.name]), column.name, (name) => { column = columns.find((c) => c.name === name); showLabels(); clear(); }) : null,
    el("span", { class: "tools" }, mapTools("cells", () => map, () => legend))); // prettier-ignore
  const node = el("div", { class: "view cells" }, controls, labels, el("div", { class: "split even" }, el("div", { class: "main" }, el("div", { class: "stage tall" }, map.node), legend), room));
  showLabels();
  plain();
  room.replaceChildren(intro());
  const given = column ? column.names.indexOf(place().of ?? "") : -1;
  if (given >= 0) byLabel(given);
  return { node, title: "Cells", restyle: () => (chosenNow && map.n ? paintChoice() : plain()), free: () => map.free() };
}
