// Which features are shown and in which order: search, filters and sorting, without any element.

import { theRun } from "./run.js";

/** Columns of the feature table: how each is read, and which way it sorts first. */
export const COLUMNS = [
  { key: "feature", title: "#", width: 64, down: false, read: (f, i) => f.feature[i] },
  { key: "name", title: "feature", width: 300, down: false, read: (f, i) => f.text("name", i) },
  { key: "kind", title: "kind", width: 112, down: false, read: (f, i) => f.text("kind", i) },
  { key: "n_active", title: "cells", width: 84, down: true, number: true, read: (f, i) => f.n_active[i] },
  { key: "stability", title: "stability", width: 92, down: true, number: true, help: "best match among the features of other seeds", read: (f, i) => f.stability[i] },
  { key: "top_label", title: "best label", width: 190, down: false, read: (f, i) => f.text("top_label", i) },
  { key: "top_label_auroc", title: "AUROC", width: 84, down: true, number: true, help: "of the feature as detector of its best label", read: (f, i) => f.top_label_auroc[i] },
  { key: "top_set", title: "best gene set", width: 280, down: false, read: (f, i) => f.text("top_set", i) },
  { key: "top_set_mlq", title: "q", width: 76, down: true, number: true, help: "of the best gene set", read: (f, i) => f.top_set_mlq[i] },
  { key: "specific_set", title: "set beyond chance", width: 240, down: false, help: "the gene set that the fewest random directions of the embedding reach", read: (f, i) => f.text("specific_set", i) },
  { key: "specific_set_reach", title: "reached", width: 88, down: false, number: true, help: "share of random directions that reach this set as strongly", read: (f, i) => f.specific_set_reach[i] },
  { key: "top_genes", title: "genes", width: 320, down: false, read: (f, i) => f.text("top_genes", i) },
  { key: "confound", title: "follows", width: 110, down: false, help: "a confounder that the feature follows", read: (f, i) => f.text("confound", i) },
]; // prettier-ignore

export const NOTHING = { text: "", kind: "", label: "", stability: "0", q: "", clean: false, sort: "top_set_mlq", down: true };

let haystack = null;
let state = { ...NOTHING };
let shown = null;
const listeners = new Set();

function searched() {
  if (haystack) return haystack;
  const f = theRun().features;
  const keys = ["name", "top_genes", "top_set", "top_label", "kind", "specific_set", "top_regulator"];
  haystack = Array.from({ length: f.n }, (_, i) => `${f.feature[i]} ${keys.map((k) => f.text(k, i)).join(" \n")}`.toLowerCase());
  return haystack;
}

export function listing() {
  return state;
}

export function onListing(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function setListing(change) {
  state = { ...state, ...change };
  shown = null;
  for (const listener of listeners) listener();
}

/** Rows of the feature table that pass, in order: Uint32Array. */
export function rowsShown() {
  shown ??= sorted(filtered());
  return shown;
}

function filtered() {
  const f = theRun().features;
  const words = state.text.toLowerCase().split(/\s+/).filter(Boolean);
  const hay = words.length ? searched() : null;
  const pool = (column, value) => (value ? f.pools[column].indexOf(value) : -1);
  const [kind, label] = [pool("kind", state.kind), pool("top_label", state.label)];
  const least = Number(state.stability);
  const mlq = state.q ? -Math.log10(Number(state.q)) : null;
  const rows = new Uint32Array(f.n);
  let n = 0;
  for (let i = 0; i < f.n; i++) {
    if (state.kind && f.kind[i] !== kind) continue;
    if (state.label && f.top_label[i] !== label) continue;
    if (least && !(f.stability[i] >= least)) continue;
    if (mlq !== null && !(f.top_set_mlq[i] >= mlq)) continue;
    if (state.clean && f.text("confound", i)) continue;
    if (hay && !words.every((word) => hay[i].includes(word))) continue;
    rows[n++] = i;
  }
  return rows.subarray(0, n);
}

function sorted(rows) {
  const f = theRun().features;
  const column = COLUMNS.find((c) => c.key === state.sort) ?? COLUMNS[0];
  const sign = state.down ? -1 : 1;
  let rank;
  if (column.number || column.key === "feature") rank = f[column.key];
  else {
    // Words sort by the place of their name, the empty ones last either way.
    const names = f.pools[column.key];
    const place = new Float64Array(names.length);
    d3.sort(d3.range(names.length), (a, b) => names[a].localeCompare(names[b], "en", { numeric: true })).forEach((c, i) => (place[c] = names[c] ? i : NaN));
    rank = Float64Array.from(f[column.key], (code) => place[code]);
  }
  return rows.slice().sort((a, b) => {
    const [x, y] = [rank[a], rank[b]];
    if (Number.isNaN(x) || Number.isNaN(y)) return Number(Number.isNaN(x)) - Number(Number.isNaN(y)) || a - b;
    return sign * (x - y) || a - b;
  });
}
