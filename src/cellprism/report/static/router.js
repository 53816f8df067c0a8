// The place in the page as its fragment, so that it can be linked: #feature=12, #gene=LYZ, #view=map, #compare=3,9.

const KEYS = ["feature", "gene", "compare"];
const listeners = [];
let here = null;

export function place() {
  if (here === null) here = parse(location.hash);
  return here;
}

function parse(hash) {
  const given = Object.fromEntries(new URLSearchParams(hash.replace(/^#/, "")));
  given.view ??= KEYS.find((k) => k in given) ?? "overview";
  return given;
}

/** The fragment of a place. */
export function link(to) {
  const { view, ...rest } = to;
  const params = new URLSearchParams(view in rest ? rest : { view, ...rest });
  return `#${params.toString().replaceAll("%2C", ",")}`;
}

/** Go to a place; `replace` leaves no step to go back to. */
export function go(to, { replace = false } = {}) {
  const hash = link(to);
  here = parse(hash);
  try {
    history[replace ? "replaceState" : "pushState"](null, "", hash);
  } catch {
    // A document without an address of its own (a notebook's frame) keeps its place in memory only.
  }
  tell();
}

export function onPlace(listener) {
  listeners.push(listener);
}

function tell() {
  for (const listener of listeners) listener(here);
}

addEventListener("popstate", () => {
  here = parse(location.hash);
  tell();
});
