// Files made in the page: tables as CSV, figures as SVG or PNG.

const STYLED = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-opacity", "font-size", "font-family", "font-weight", "text-anchor", "opacity"];

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

/** A chart as it stands, its colours and letters written into it, on the page's ground. */
function standalone(chart) {
  const copy = chart.cloneNode(true);
  const [from, to] = [[chart, ...chart.querySelectorAll("*")], [copy, ...copy.querySelectorAll("*")]];
  from.forEach((node, i) => {
    const style = getComputedStyle(node);
    for (const key of STYLED) to[i].setAttribute(key, style.getPropertyValue(key));
    to[i].removeAttribute("class");
  });
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  const ground = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  for (const [k, v] of Object.entries({ width: "100%", height: "100%", fill: getComputedStyle(document.documentElement).getPropertyValue("--surface").trim() })) ground.setAttribute(k, v); // prettier-ignore
  copy.prepend(ground);
  return new XMLSerializer().serializeToString(copy);
}

export function saveSvg(name, chart) {
  download(new Blob([standalone(chart)], { type: "image/svg+xml" }), `${name}.svg`);
}

export async function savePng(name, chart, scale = 2) {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(standalone(chart))}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [chart.clientWidth * scale, chart.clientHeight * scale];
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  saveCanvas(name, canvas);
}

export function saveCanvas(name, canvas) {
  canvas.toBlob((blob) => download(blob, `${name}.png`), "image/png");
}
