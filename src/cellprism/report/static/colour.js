// Colours that people who see few of them can tell apart, on light and on dark ground.

// Okabe and Ito's eight (black left out), then Paul Tol's muted ones for more categories.
const CATEGORIES = [
  "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#B8A800", "#882255",
  "#44AA99", "#999933", "#332288", "#AA4499", "#88CCEE", "#117733", "#CC6677", "#DDCC77",
]; // prettier-ignore

export const UP = "#D55E00";
export const DOWN = "#0072B2";

// Two of them are too dark to be seen on a dark ground.
const ON_DARK = { "#882255": "#c9558c", "#332288": "#8477dd" };

export function categoryColour(i) {
  const colour = CATEGORIES[i % CATEGORIES.length];
  return (isDark() && ON_DARK[colour]) || colour;
}

/** Share 0..1 to a colour of growing strength on the present ground: viridis, the faint end towards the ground. */
export function strength(t) {
  const clamped = Math.max(0, Math.min(1, t));
  return isDark() ? d3.interpolateViridis(0.25 + 0.75 * clamped) : d3.interpolateViridis(0.92 - 0.87 * clamped);
}

/** Value from -1 to 1 to blue – neutral – orange. */
export function diverging(t) {
  const [blue, red] = isDark() ? ["#4aa8e0", "#ff8a3d"] : [DOWN, UP];
  const middle = isDark() ? "#2a2f37" : "#f1efeb";
  return t < 0 ? d3.interpolateLab(middle, blue)(Math.min(1, -t)) : d3.interpolateLab(middle, red)(Math.min(1, t));
}

export function isDark() {
  return document.documentElement.dataset.theme === "dark";
}

/** The colour of a CSS variable now. */
export function themed(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Write a CSS colour into four bytes of an array. */
export function putColour(bytes, i, colour, alpha = 255) {
  const c = d3.rgb(colour);
  bytes[4 * i] = c.r;
  bytes[4 * i + 1] = c.g;
  bytes[4 * i + 2] = c.b;
  bytes[4 * i + 3] = alpha;
}

/** Colours of a few levels as bytes, for many points: (level) -> offset into `table`. */
export function rampBytes(levels = 256, alpha = 255) {
  const table = new Uint8Array(levels * 4);
  for (let i = 0; i < levels; i++) putColour(table, i, strength(i / (levels - 1)), alpha);
  return table;
}
