// Files made in the page: tables as CSV, figures as SVG or PNG.

const STYLED = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-opacity", "font-size", "font-family", "font-weight", "text-anchor", "opacity", "paint-order", "stroke-linejoin"];

function download(blob, name) {
  const a = document.createElement("a");
  a.href = URL.createObjectURL(blob);
  a.download = name;
  a.click();
  setTimeout(() => URL.revokeObjectURL(a.href), 10_000);
}

function cell(value) {
  let text = value === null || value === undefined || Number.isNaN(value) ? "" : String(value);
  // A spreadsheet would run a text that starts like a formula; a number may start with a minus.
  if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Rows (arrays) under a header as CSV text. */
export function csv(header, rows) {
  return [header, ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

export function saveCsv(name, header, rows) {
  download(new Blob([csv(header, rows)], { type: "text/csv" }), `${name}.csv`);
}

/** A copy of an SVG element as it stands, its colours and letters written into it, so that it needs no style sheet. */
export function inlined(chart) {
  const copy = chart.cloneNode(true);
  const [from, to] = [[chart, ...chart.querySelectorAll("*")], [copy, ...copy.querySelectorAll("*")]];
  from.forEach((node, i) => {
    const style = getComputedStyle(node);
    for (const key of STYLED) to[i].setAttribute(key, style.getPropertyValue(key));
    to[i].removeAttribute("class");
  });
  if (!chart.clientWidth) return copy;
  copy.setAttribute("width", chart.clientWidth);
  copy.setAttribute("height", chart.clientHeight);
  return copy;
}

/** Text with a sign in place of what XML cannot hold: control characters and halves of surrogate pairs in names. */
function wellFormed(text) {
  // eslint-disable-next-line no-control-regex
  return text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "\ufffd"); // prettier-ignore
}

/** A figure on the page's ground, as text. */
function standalone(figure) {
  figure.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  const ground = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  for (const [k, v] of Object.entries({ width: "100%", height: "100%", fill: getComputedStyle(document.documentElement).getPropertyValue("--surface").trim() })) ground.setAttribute(k, v); // prettier-ignore
  figure.prepend(ground);
  return wellFormed(new XMLSerializer().serializeToString(figure));
}

export function saveSvg(name, figure) {
  download(new Blob([standalone(figure)], { type: "image/svg+xml" }), `${name}.svg`);
}

export async function savePng(name, figure, scale = 2) {
  const [width, height] = ["width", "height"].map((k) => Number(figure.getAttribute(k)));
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(standalone(figure))}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width * scale, height * scale];
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  canvas.toBlob((blob) => download(blob, `${name}.png`), "image/png");
}
