// The page's frame: the bar at the top, the view in the middle, the keys.

import { redrawCharts } from "./chart.js";
import { button, el } from "./dom.js";
import { go, link, onPlace, place } from "./router.js";
import { openRun } from "./run.js";
import { overviewView } from "./view-overview.js";
import { mapView } from "./view-map.js";
import { featuresView } from "./view-features.js";
import { featureView } from "./view-feature.js";
import { cellsView } from "./view-cells.js";
import { geneView } from "./view-gene.js";
import { compareView } from "./view-compare.js";
import { termsView } from "./view-terms.js";

const VIEWS = { overview: overviewView, map: mapView, features: featuresView, feature: featureView, cells: cellsView, gene: geneView, compare: compareView, terms: termsView };
const TABS = [["overview", "Overview"], ["map", "Map"], ["features", "Features"], ["terms", "Terms"], ["cells", "Cells"], ["gene", "Genes"], ["compare", "Compare"]]; // prettier-ignore

const main = document.getElementById("main");
const nav = document.getElementById("nav");
/** @type {View | null} */
let current = null;
let turn = 0;

async function show(to) {
  const mine = ++turn;
  const make = Object.hasOwn(VIEWS, to.view) ? VIEWS[to.view] : overviewView; // a link may name "constructor"
  let next;
  try {
    next = await make();
  } catch (error) {
    next = { node: el("p", { class: "empty", role: "alert" }, `This part of the page cannot be shown: ${error.message}`), title: "" };
    console.error(error);
  }
  if (mine !== turn) return next.free?.(); // a later choice is already on its way
  current?.free?.();
  current = next;
  main.replaceChildren(next.node);
  // Each view has a heading of the first rank; where its design shows none, screen readers find one.
  if (!main.querySelector("[aria-level='1']")) main.prepend(el("h1", { class: "unseen" }, next.title));
  main.dataset.view = to.view;
  scrollTo(0, 0);
  document.title = `${next.title} · cellprism`;
  for (const a of nav.querySelectorAll("a")) {
    if (a.dataset.view === (to.view === "feature" ? "features" : to.view)) {
      a.setAttribute("aria-current", "page");
      nav.scrollLeft = a.offsetLeft - nav.offsetLeft - (nav.clientWidth - a.offsetWidth) / 2;
    }
    else a.removeAttribute("aria-current");
  }
  document.documentElement.dataset.ready = String(turn);
}

function theme(name, { keep = true } = {}) {
  document.documentElement.dataset.theme = name;
  if (keep) {
    try {
      localStorage.setItem("cellprism-theme", name);
    } catch {
      // A frame without storage forgets the choice.
    }
  }
  current?.restyle ? current.restyle() : redrawCharts(main);
}

function startTheme() {
  let kept = null;
  try {
    kept = localStorage.getItem("cellprism-theme");
  } catch {
    // none
  }
  const dark = matchMedia("(prefers-color-scheme: dark)");
  theme(kept ?? (dark.matches ? "dark" : "light"), { keep: false });
  dark.addEventListener("change", (event) => theme(event.matches ? "dark" : "light", { keep: false }));
}

function keys(event) {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const typing = event.target.closest?.("input, select, textarea");
  if (event.key === "Escape") {
    if (typing) event.target.blur();
    else if (["feature", "gene", "compare"].includes(place().view)) go({ view: "features" });
  } else if (typing) return;
  else if (event.key === "/") {
    event.preventDefault();
    find();
  } else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
    if (current?.step) current.step(event.key === "ArrowLeft" ? -1 : 1);
  } else if (event.key === "d") toggle();
}

async function find() {
  if (!main.querySelector("[data-find]")) {
    go({ view: "features" });
    await show(place());
  }
  /** @type {HTMLElement} */ (main.querySelector("[data-find]"))?.focus();
}

function toggle() {
  theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
}

async function start() {
  startTheme();
  nav.replaceChildren(...TABS.map(([view, text]) => el("a", { href: link({ view }), "data-view": view, onclick: (e) => { e.preventDefault(); go(view === "gene" || view === "compare" ? { view, [view]: "" } : { view }); } }, text))); // prettier-ignore
  document.getElementById("tools").append(
    button("Search", find, { class: "quiet", title: "Search (/)" }),
    button("Light or dark", toggle, { class: "quiet", title: "Light or dark (d)" }),
  );
  document.addEventListener("keydown", keys);
  await openRun();
  onPlace(show);
  await show(place());
}

start().catch((error) => {
  main.replaceChildren(el("p", { class: "empty", role: "alert" }, `This page cannot be shown: ${error.message}`));
  console.error(error);
});
