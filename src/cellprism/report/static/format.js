// Numbers as people read them.

const LARGEST = 300; // minus log10 beyond which a double has underflowed

export function count(n) {
  return Number(n).toLocaleString("en");
}

export function percent(share, digits = 0) {
  if (!Number.isFinite(share)) return "–";
  if (share > 0 && share < 0.01 && digits === 0) return "<1%";
  return `${(100 * share).toFixed(digits)}%`;
}

export function fixed(x, digits = 2) {
  return Number.isFinite(x) ? x.toFixed(digits).replace("-", "−") : "–";
}

/** A p or q value from its minus log10. */
export function pvalue(mlp) {
  if (!Number.isFinite(mlp)) return "–";
  if (mlp >= LARGEST) return "<1e−300";
  if (mlp < 3) return (10 ** -mlp).toPrecision(2);
  let exponent = Math.ceil(mlp);
  let digit = Math.round(10 ** (exponent - mlp));
  if (digit === 10) [digit, exponent] = [1, exponent - 1];
  return `${digit}e−${exponent}`;
}

export function compact(x) {
  if (!Number.isFinite(x)) return "–";
  const size = Math.abs(x);
  if (size !== 0 && size < 0.01) return x.toExponential(1).replace("-", "−");
  return size >= 1000 ? d3.format(".3~s")(x) : String(Number(x.toPrecision(3))).replace("-", "−");
}

export function truncate(text, length) {
  return text.length > length ? `${text.slice(0, length - 1).trimEnd()}…` : text;
}

/** The stability of the feature in a row: with its standard error and what chance reaches, where these are known. */
export function stability(f, row) {
  const [own, error, chance] = [f.stability, f.stability_error, f.stability_null].map((column) => column?.[row]);
  if (!Number.isFinite(own)) return fixed(own);
  return fixed(own) + (Number.isFinite(error) ? ` ± ${fixed(error)}` : "") + (Number.isFinite(chance) ? ` (by chance ${fixed(chance)})` : "");
}
