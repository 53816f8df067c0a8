// The run that the page shows: what is loaded at once, and the evidence of a feature or gene when it is asked for.

import { readBlock } from "./blocks.js";

const run = {};

/** Load what the first view needs; everything else comes later. */
export async function openRun() {
  const [overview, features, cells] = await Promise.all(["overview", "features", "cells"].map(readBlock));
  Object.assign(run, {
    overview: overview.meta,
    cells: { ...cells.arrays, columns: cells.meta.columns, map: cells.meta.map },
    features: tableOf(features),
  });
  return run;
}

export function theRun() {
  return run;
}

/** Columns of the feature table; a text column is { codes, names } and `text(column, row)` reads it. */
function tableOf({ arrays, meta }) {
  const n = arrays.feature.length;
  const rowOf = new Map();
  for (let i = 0; i < n; i++) rowOf.set(arrays.feature[i], i);
  return { n, ...arrays, pools: meta, rowOf, text: (column, row) => meta[column][arrays[column][row]] ?? "" };
}

/** Names of genes, gene sets and label pairs, loaded once. */
export async function loadNames() {
  if (run.names) return run.names;
  const { arrays, meta } = await readBlock("names");
  const geneId = new Map();
  meta.genes.forEach((g, i) => geneId.has(g.toLowerCase()) || geneId.set(g.toLowerCase(), i));
  meta.symbols.forEach((s, i) => s && !geneId.has(s.toLowerCase()) && geneId.set(s.toLowerCase(), i));
  run.names = { ...meta, modality: arrays.modality, geneId };
  run.names.shown = (id) => meta.symbols[id] || meta.genes[id];
  return run.names;
}

/** The place of `value` between rising bounds. */
function placeIn(bounds, value) {
  return d3.bisectRight(bounds, value, 1, bounds.length - 1) - 1;
}

/** Cells of a feature and their activations, in cell order: { cells: Uint32Array, levels: Uint8Array, max }. */
function activations(arrays, i, max) {
  const n = arrays.cell_ptr[i + 1] - arrays.cell_ptr[i];
  const cells = new Uint32Array(n);
  let at = arrays.byte_ptr[i];
  let cell = 0;
  for (let j = 0; j < n; j++) {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = arrays.gap[at++];
      value |= (byte & 127) << shift;
      if (byte < 128) break;
    }
    cell += value;
    cells[j] = cell;
  }
  return { cells, levels: arrays.level.subarray(arrays.cell_ptr[i], arrays.cell_ptr[i + 1]), max };
}

function cut(arrays, prefix, columns, i) {
  const [from, to] = [arrays[`${prefix}_ptr`][i], arrays[`${prefix}_ptr`][i + 1]];
  const out = { n: to - from };
  for (const [name, column] of Object.entries(columns)) out[name] = arrays[column].subarray(from, to);
  return out;
}

/** All the evidence of the feature in `row` of the feature table. */
export async function loadFeature(row) {
  const place = placeIn(run.overview.feature_bounds, row);
  const [{ arrays, meta }] = await Promise.all([readBlock(`feature-${place}`), loadNames()]);
  const i = row - run.overview.feature_bounds[place];
  const near = (name) => {
    const all = arrays[name];
    if (!all) return [];
    const k = all.length / (arrays.cell_ptr.length - 1);
    return d3
      .range(k)
      .map((j) => ({ row: all[i * k + j], cosine: arrays[`${name}_cosine`][i * k + j] }))
      .filter((d) => d.row >= 0);
  };
  return {
    row,
    id: run.features.feature[row],
    ...activations(arrays, i, run.features.max_code[row]),
    genes: cut(arrays, "gene", { id: "gene", fc: "gene_fc", z: "gene_z", mlp: "gene_mlp", mlq: "gene_mlq" }, i),
    sets: cut(
      arrays,
      "set",
      {
        id: "set",
        up: "set_up",
        measured: "set_n_measured",
        hits: "set_n_hits",
        effect: "set_effect",
        rank: "set_mlq_rank",
        ora: "set_mlq_ora",
      },
      i,
    ),
    labels: cut(
      arrays,
      "label",
      {
        id: "label",
        auroc: "label_auroc",
        f1: "label_f1",
        precision: "label_precision",
        recall: "label_recall",
        mlq: "label_mlq",
      },
      i,
    ),
    near: near("near"),
    together: near("together"),
    extra: meta.extra?.[i] ?? {},
  };
}

/** The strongest features of a gene: [{ row, fc, z, mlq }]. */
export async function loadGene(id) {
  const place = placeIn(run.overview.gene_bounds, id);
  const { arrays } = await readBlock(`gene-${place}`);
  const i = id - run.overview.gene_bounds[place];
  return d3
    .range(arrays.ptr[i], arrays.ptr[i + 1])
    .map((j) => ({ row: arrays.row[j], fc: arrays.fc[j], z: arrays.z[j], mlq: arrays.mlq[j] }));
}

/** Activations of every feature, a chunk at a time: calls `visit(row, cells, levels, max)`. */
export async function eachFeature(visit) {
  const bounds = run.overview.feature_bounds;
  for (let c = 0; c + 1 < bounds.length; c++) {
    const { arrays } = await readBlock(`feature-${c}`);
    for (let row = bounds[c]; row < bounds[c + 1]; row++) {
      const { cells, levels, max } = activations(arrays, row - bounds[c], run.features.max_code[row]);
      visit(row, cells, levels, max);
    }
  }
}

/** The category columns of the cells, those used as labels first. */
export function categories() {
  const first = new Set(run.overview.label_columns);
  const found = run.cells.columns.filter((c) => c.type === "category");
  return [...found.filter((c) => first.has(c.name)), ...found.filter((c) => !first.has(c.name))];
}
