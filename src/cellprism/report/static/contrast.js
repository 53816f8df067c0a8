// Which features set a choice of cells apart from the others.

import { eachFeature, theRun } from "./run.js";

const LEAST = 3; // chosen cells that must carry a feature

/**
 * For every feature: AUROC of its activation for the chosen cells (ties count half), shares of active cells, means.
 *
 * @param {Uint8Array} chosen one entry a cell
 * @returns rows sorted by AUROC, the most typical of the choice first
 */
export async function contrast(chosen) {
  const n = chosen.length;
  const nIn = d3.sum(chosen);
  const nOut = n - nIn;
  const rows = [];
  if (!nIn || !nOut) return rows;
  const [inside, outside] = [new Uint32Array(256), new Uint32Array(256)];
  await eachFeature((row, cells, levels, max) => {
    inside.fill(0);
    outside.fill(0);
    for (let j = 0; j < cells.length; j++) (chosen[cells[j]] ? inside : outside)[levels[j]]++;
    const activeIn = d3.sum(inside);
    const activeOut = cells.length - activeIn;
    if (activeIn < Math.min(LEAST, nIn)) return;
    rows.push({ row, ...compare(inside, outside, nIn, nOut, activeIn, activeOut), meanIn: mean(inside, max, nIn), meanOut: mean(outside, max, nOut), shareIn: activeIn / nIn, shareOut: activeOut / nOut }); // prettier-ignore
  });
  return rows.sort((a, b) => b.auroc - a.auroc || theRun().features.n_active[b.row] - theRun().features.n_active[a.row]);
}

function compare(inside, outside, nIn, nOut, activeIn, activeOut) {
  inside[0] = nIn - activeIn; // level 0: inactive
  outside[0] = nOut - activeOut;
  let below = 0;
  let wins = 0;
  for (let level = 0; level < 256; level++) {
    wins += inside[level] * (below + outside[level] / 2);
    below += outside[level];
  }
  return { auroc: wins / (nIn * nOut) };
}

function mean(levels, max, n) {
  let sum = 0;
  for (let level = 1; level < 256; level++) sum += level * levels[level];
  return ((sum / 255) * max) / n;
}
