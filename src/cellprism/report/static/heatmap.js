// The leading genes of a feature over inactive cells and deciles of activation.

import { svg } from "./dom.js";
import { chart, told } from "./chart.js";
import { strength } from "./colour.js";
import { fixed, truncate } from "./format.js";

const PITCH = 22;

/** Rows of genes, each scaled to its own largest mean; the number is under the pointer. */
export function heatmap(rows, names) {
  return chart("Mean expression of the leading genes by decile of activation", rows.length * PITCH + 44, (root, w) => {
    const left = 92;
    const gap = 10; // between inactive cells and the deciles
    const bins = rows[0].means.length - 1;
    const step = (w - left - gap - 2) / (bins + 1);
    const x = (b) => left + b * step + (b ? gap : 0);
    rows.forEach(({ id, means }, r) => {
      const top = Math.max(...[...means].filter(Number.isFinite)) || 1;
      root.append(svg("text", { x: left - 8, y: r * PITCH + PITCH / 2 + 4, "text-anchor": "end", class: "row-name" }, truncate(names.shown(id), 13)));
      means.forEach((m, b) => {
        if (!Number.isFinite(m)) return;
        const cell = svg("rect", { x: x(b), y: r * PITCH + 1, width: Math.max(1, step - 1.5), height: PITCH - 2, rx: 2, fill: strength(m / top) });
        root.append(told(cell, `${names.shown(id)}, ${b ? `decile ${b} of activation` : "inactive cells"}: mean ${fixed(m)}`));
      });
    });
    const y = rows.length * PITCH + 16;
    const say = (at, text, anchor) => root.append(svg("text", { x: at, y, "text-anchor": anchor, class: "title" }, text));
    say(x(0) + step / 2, w > 420 ? "inactive" : "off", "middle");
    say(x(1), "weakest tenth", "start");
    say(w - 2, w > 420 ? "strongest tenth" : "strongest", "end");
    root.append(svg("text", { x: (x(1) + w) / 2, y: y + 20, "text-anchor": "middle", class: "title" }, "cells by activation"));
  });
}
