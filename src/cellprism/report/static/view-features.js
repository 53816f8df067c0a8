// The feature table: search, filters, sorting, download.

import { button, el, select } from "./dom.js";
import { count, fixed, pvalue } from "./format.js";
import { COLUMNS, NOTHING, listing, onListing, rowsShown, setListing } from "./listing.js";
import { go } from "./router.js";
import { theRun } from "./run.js";
import { saveCsv } from "./save.js";
import { virtualTable } from "./table.js";
import { kindChip } from "./chips.js";

const SHOW = {
  kind: (f, i) => kindChip(f.text("kind", i)),
  n_active: (f, i) => count(f.n_active[i]),
  stability: (f, i) => fixed(f.stability[i]),
  top_label_auroc: (f, i) => fixed(f.top_label_auroc[i], 3),
  top_set_mlq: (f, i) => pvalue(f.top_set_mlq[i]),
};

export function featuresView() {
  const { features: f } = theRun();
  const columns = COLUMNS.filter((c) => c.number || c.key === "feature" || f.pools[c.key].some(Boolean));
  const told = el("output", { class: "told", "aria-live": "polite" });
  const table = virtualTable({
    label: "Features",
    columns,
    rowHeight: () => (matchMedia("(max-width: 720px)").matches ? 78 : 42),
    render: (i) => columns.map((c) => (SHOW[c.key] ?? c.read)(f, i)),
    open: (i) => go({ view: "feature", feature: f.feature[i] }),
    sort: (key) => {
      const same = listing().sort === key;
      setListing({ sort: key, down: same ? !listing().down : COLUMNS.find((c) => c.key === key).down });
    },
  });
  const update = () => {
    const rows = rowsShown();
    told.textContent = rows.length === f.n ? `${count(f.n)} features` : `${count(rows.length)} of ${count(f.n)} features`;
    table.show(rows, { key: listing().sort, down: listing().down });
  };
  const stop = onListing(update);
  const save = () => saveCsv("features", columns.map((c) => (c.key === "top_set_mlq" ? "top_set_minus_log10_q" : c.key)), Array.from(rowsShown(), (i) => columns.map((c) => c.read(f, i)))); // prettier-ignore
  const node = el("div", { class: "view features" }, filters(f), el("div", { class: "row" }, told, button("Download CSV", save, { class: "quiet" })), table.node);
  queueMicrotask(update);
  return { node, free: stop, title: "Features" };
}

/** Search and filters; also used beside the feature map. */
export function filters(f) {
  const search = el("input", {
    type: "search", class: "find", placeholder: "Search names, genes, sets, labels", "aria-label": "Search features", value: listing().text, "data-find": true,
    oninput: rested((event) => setListing({ text: event.target.value })),
  }); // prettier-ignore
  const pool = (column) => [["", "any"], ...f.pools[column].filter(Boolean).sort(d3.ascending).map((v) => [v, v])];
  const s = listing();
  return el(
    "div",
    { class: "filters", role: "search" },
    search,
    f.pools.kind.some(Boolean) ? select("kind", pool("kind"), s.kind, (kind) => setListing({ kind })) : null,
    f.pools.top_label.some(Boolean) ? select("best label", pool("top_label"), s.label, (label) => setListing({ label })) : null,
    f.stability.some(Number.isFinite) ? select("stability", [["0", "any"], ["0.5", "≥ 0.5"], ["0.7", "≥ 0.7"], ["0.9", "≥ 0.9"]], s.stability, (stability) => setListing({ stability })) : null,
    f.top_set_mlq.some(Number.isFinite) ? select("set q", [["", "any"], ["0.05", "< 0.05"], ["0.01", "< 0.01"], ["1e-5", "< 1e−5"]], s.q, (q) => setListing({ q })) : null,
    f.pools.confound.some(Boolean)
      ? el("label", { class: "field check" }, el("input", { type: "checkbox", checked: s.clean, onchange: (e) => setListing({ clean: e.target.checked }) }), el("span", {}, "hide confounded"))
      : null,
    button("Clear", () => {
      setListing({ ...NOTHING });
      document.querySelector(".filters")?.replaceWith(filters(f));
    }, { class: "quiet" }),
  ); // prettier-ignore
}

/** Wait until typing rests. */
function rested(action, delay = 90) {
  let timer = 0;
  return (event) => {
    clearTimeout(timer);
    timer = setTimeout(() => action(event), delay);
  };
}
