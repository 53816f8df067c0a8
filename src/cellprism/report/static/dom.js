// Elements without markup strings: what comes from the data can only ever become text.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, props, children) {
  for (const [key, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "style") for (const [k, v] of Object.entries(value)) node.style.setProperty(k, v);
    else if (key === "value") node.value = value;
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}

/**
 * An HTML element; `on…` properties are listeners, `style` an object, strings become text nodes.
 *
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Props} [props]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function el(tag, props, ...children) {
  return fill(document.createElement(tag), props, children);
}

/**
 * An SVG element.
 *
 * @template {keyof SVGElementTagNameMap} K
 * @param {K} tag
 * @param {Props} [props]
 * @param {...Child} children
 * @returns {SVGElementTagNameMap[K]}
 */
export function svg(tag, props, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

/**
 * A panel with a heading, an optional note, and buttons at its right.
 *
 * @param {string} title
 * @param {PanelOptions} [options]
 * @param {...Child} children
 */
export function panel(title, { note, tools = [], wide = false, id } = {}, ...children) {
  return el(
    "section",
    { class: `panel${wide ? " wide" : ""}`, "aria-label": title, "data-panel": id ?? title },
    el("header", {}, el("h3", { "aria-level": 2 }, title), note ? el("p", { class: "note" }, note) : null, el("div", { class: "tools" }, tools)),
    ...children,
  );
}

/**
 * @param {string} label
 * @param {(event: any) => void} onclick
 * @param {Props} [props]
 */
export function button(label, onclick, props = {}) {
  return el("button", { type: "button", onclick, ...props }, label);
}

/**
 * A labelled select.
 *
 * @param {string} label
 * @param {string[][]} options value and text of each
 * @param {string} value
 * @param {(value: string) => void} onchange
 */
export function select(label, options, value, onchange) {
  const node = el(
    "select",
    { onchange: () => onchange(node.value) },
    options.map(([v, text]) => el("option", { value: v, selected: v === value }, text)),
  );
  return el("label", { class: "field" }, el("span", {}, label), node);
}

export function empty(text) {
  return el("p", { class: "empty" }, text);
}
