// A table of any length: only the rows in sight are elements.

import { el } from "./dom.js";

const SPARE = 8; // rows kept above and below those in sight

/**
 * @param {object} options
 * @param {string} options.label
 * @param {{ key: string, title: string, width: number, number?: boolean, help?: string }[]} options.columns
 * @param {() => number} options.rowHeight
 * @param {(row: number) => Child[]} options.render
 * @param {(row: number) => void} options.open
 * @param {(key: string) => void} options.sort
 */
export function virtualTable({ label, columns, rowHeight, render, open, sort }) {
  const template = columns.map((c) => `minmax(${c.width}px, ${c.width}fr)`).join(" ");
  const head = el("div", { class: "vt-head", role: "row", "aria-rowindex": 1, style: { "grid-template-columns": template } });
  for (const c of columns) {
    const by = el("button", { type: "button", class: c.number ? "number" : null, title: c.help ?? null, "data-sort": c.key, onclick: () => sort(c.key) }, c.title); // prettier-ignore
    head.append(el("div", { role: "columnheader" }, by));
  }
  const body = el("div", { class: "vt-body", role: "rowgroup" });
  const node = el("div", { class: "vt", role: "grid", tabindex: 0, "aria-label": label }, head, body);
  let rows = new Uint32Array();
  let chosen = -1; // place among `rows`
  let drawn = [-1, -1];
  let pitch = rowHeight();

  function render_() {
    const [top, height] = [node.scrollTop, node.clientHeight || 600];
    const from = Math.max(0, Math.floor(top / pitch) - SPARE);
    const to = Math.min(rows.length, Math.ceil((top + height) / pitch) + SPARE);
    if (from === drawn[0] && to === drawn[1]) return;
    drawn = [from, to];
    body.replaceChildren(...d3.range(from, to).map(line));
  }

  function line(place) {
    const row = rows[place];
    const cells = render(row).map((content, i) =>
      el("div", { role: "gridcell", class: `c-${columns[i].key}${columns[i].number ? " number" : ""}` }, content),
    );
    return el("div", {
      role: "row", class: `vt-row${place === chosen ? " chosen" : ""}`, "aria-rowindex": place + 2, "aria-selected": String(place === chosen),
      "data-row": row, style: { top: `${place * pitch}px`, height: `${pitch}px`, "grid-template-columns": template },
      onclick: () => { choose(place); open(row); },
    }, cells); // prettier-ignore
  }

  function choose(place) {
    if (!rows.length) return;
    chosen = Math.max(0, Math.min(rows.length - 1, place));
    const y = chosen * pitch;
    const room = node.clientHeight - head.offsetHeight;
    if (y < node.scrollTop) node.scrollTop = y;
    else if (y + pitch > node.scrollTop + room) node.scrollTop = y + pitch - room;
    drawn = [-1, -1];
    render_();
  }

  node.addEventListener("scroll", render_, { passive: true });
  node.addEventListener("keydown", (event) => {
    if (event.target !== node) return;
    const page = Math.max(1, Math.floor(node.clientHeight / pitch) - 1);
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity }[event.key];
    if (step) choose(step === -Infinity ? 0 : step === Infinity ? rows.length - 1 : chosen + step);
    else if (event.key === "Enter" && chosen >= 0) open(rows[chosen]);
    else return;
    event.preventDefault();
  });
  new ResizeObserver(() => {
    pitch = rowHeight();
    body.style.height = `${rows.length * pitch}px`;
    drawn = [-1, -1];
    render_();
  }).observe(node);

  return {
    node,
    show(next, { key, down }) {
      rows = next;
      chosen = -1;
      drawn = [-1, -1];
      node.setAttribute("aria-rowcount", String(rows.length + 1));
      body.style.height = `${rows.length * pitch}px`;
      node.scrollTop = 0;
      for (const h of head.querySelectorAll("button")) h.parentElement.setAttribute("aria-sort", h.dataset.sort === key ? (down ? "descending" : "ascending") : "none");
      render_();
    },
  };
}
