// Small marks that mean the same wherever they stand.

import { el } from "./dom.js";

const KINDS = {
  local: "active in one label",
  regional: "active in several labels",
  global: "active whatever the label",
  dead: "never active",
};

export const KIND_COLOURS = { local: "#0072B2", regional: "#E69F00", global: "#009E73", dead: "#888888" };

export function kindChip(kind) {
  if (!kind) return el("span", { class: "muted" }, "–");
  const dot = el("i", { style: { "background-color": KIND_COLOURS[kind] ?? "#888888" } });
  return el("span", { class: "chip", title: KINDS[kind] ?? null }, dot, kind);
}

export function warningChip(text) {
  return el("span", { class: "chip warning" }, text);
}
