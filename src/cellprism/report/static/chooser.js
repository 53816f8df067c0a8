// An input that proposes what fits while one types.

import { el } from "./dom.js";

let made = 0;

/**
 * @param {object} options
 * @param {string} options.label
 * @param {string} [options.value] text shown
 * @param {string} [options.placeholder]
 * @param {(text: string) => { text: string, note?: string, value: any }[]} options.propose
 * @param {(value: any) => void} options.choose
 */
export function chooser({ label, value = "", placeholder = "", propose, choose }) {
  const id = `choices-${made++}`;
  const list = el("ul", { class: "choices", role: "listbox", id, hidden: true });
  const input = el("input", { type: "search", role: "combobox", autocomplete: "off", "aria-label": label, "aria-expanded": "false", "aria-controls": id, "aria-autocomplete": "list", placeholder, value, "data-find": true }); // prettier-ignore
  let found = [];
  let at = -1;

  function show() {
    found = propose(input.value.trim());
    at = -1;
    list.replaceChildren(...found.map((f, i) => el("li", { role: "option", id: `${id}-${i}`, onpointerdown: (e) => { e.preventDefault(); take(i); } }, el("span", {}, f.text), f.note ? el("span", { class: "muted" }, f.note) : null))); // prettier-ignore
    list.hidden = !found.length;
    input.setAttribute("aria-expanded", String(!list.hidden));
  }

  function point(to) {
    at = (to + found.length) % found.length;
    [...list.children].forEach((li, i) => li.setAttribute("aria-selected", String(i === at)));
    list.children[at].scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", `${id}-${at}`);
  }

  function hide() {
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function take(i) {
    if (!found[i]) return;
    input.value = found[i].text;
    hide();
    choose(found[i].value);
  }

  input.addEventListener("input", show);
  input.addEventListener("focus", () => input.select());
  input.addEventListener("blur", hide);
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      if (list.hidden) show();
      if (found.length) point(at + (event.key === "ArrowDown" ? 1 : at < 0 ? 0 : -1));
      event.preventDefault();
    } else if (event.key === "Enter") {
      if (list.hidden) show();
      take(Math.max(at, 0));
    } else if (event.key === "Escape" && !list.hidden) {
      hide();
      event.stopPropagation();
    }
  });
  return el("div", { class: "chooser" }, input, list);
}

/** Features whose number, name or genes hold the words. */
export function proposeFeatures(features, limit = 10) {
  let hay = null;
  return (text) => {
    hay ??= Array.from({ length: features.n }, (_, i) => `#${features.feature[i]} ${features.text("name", i)} ${features.text("top_genes", i)} ${features.text("top_set", i)}`.toLowerCase());
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    const out = [];
    for (let i = 0; i < features.n && out.length < limit; i++)
      if (words.every((w) => hay[i].includes(w))) out.push({ text: features.text("name", i) || `feature ${features.feature[i]}`, note: `#${features.feature[i]}`, value: i });
    return out;
  };
}
