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

function write(how, to) {
  const hash = link(to);
  here = parse(hash);
  try {
    history[how](null, "", hash);
  } catch {
    // A document without an address of its own (a notebook's frame) keeps its place in memory only.
  }
}

/** Go to a place, as one follows a link. */
export function go(to) {
  write("pushState", to);
  for (const listener of listeners) listener(here);
}

/** Write down what the present view shows, without a step to go back to and without showing it anew. */
export function note(to) {
  write("replaceState", to);
}

export function onPlace(listener) {
  listeners.push(listener);
}

addEventListener("popstate", () => {
  here = parse(location.hash);
  for (const listener of listeners) listener(here);
});
