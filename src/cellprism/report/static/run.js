// The run that the page shows: what is loaded at once, and the evidence of a feature or gene when it is asked for.

import { readBlock } from "./blocks.js";

/** @type {Run} */
let first = null;
/** @type {Promise<{ run: Run, match: Record<string, any> }>} */
let second = null;

/**
 * Load what the first view needs of a run; everything else comes later.
 *
 * @param {string} prefix of its blocks
 * @returns {Promise<Run>}
 */
async function open(prefix) {
  const [overview, features, cells] = await Promise.all(["overview", "features", "cells"].map((name) => readBlock(prefix + name)));
  return {
    prefix,
    overview: overview.meta,
    cells: { ...cells.arrays, columns: cells.meta.columns, map: cells.meta.map },
    features: tableOf(features),
    names: null,
  };
}

/** Open the run of the page. */
export async function openRun() {
  first = await open("");
  return first;
}

/** The run of the page, once open. */
export function theRun() {
  return first;
}

/** Whether the page holds a second model to compare with. */
export function hasOther() {
  return document.documentElement.dataset.other !== undefined;
}

/** The second model, and which of its features match those of the first: { run, match }. */
export function openOther() {
  second ??= Promise.all([open("other."), readBlock("match")]).then(([run, { arrays, meta }]) => ({ run, match: { ...arrays, ...meta } }));
  return second;
}

/**
 * Columns of the feature table; a text column holds places in its pool and `text(column, row)` reads it.
 *
 * @returns {FeatureTable}
 */
function tableOf({ arrays, meta }) {
  const n = arrays.feature.length;
  const rowOf = new Map();
  for (let i = 0; i < n; i++) rowOf.set(arrays.feature[i], i);
  return { n, ...arrays, pools: meta, rowOf, text: (column, row) => meta[column][arrays[column][row]] ?? "" };
}

/**
 * Names of genes, gene sets and label pairs, loaded once.
 *
 * @returns {Promise<Names>}
 */
export async function loadNames(run = first) {
  if (run.names) return run.names;
  const { arrays, meta } = await readBlock(`${run.prefix}names`);
  const geneId = new Map();
  meta.genes.forEach((g, i) => geneId.has(g.toLowerCase()) || geneId.set(g.toLowerCase(), i));
  meta.symbols.forEach((s, i) => s && !geneId.has(s.toLowerCase()) && geneId.set(s.toLowerCase(), i));
  run.names = { ...meta, modality: arrays.modality, geneId };
  /** Ids of the measured genes of a set; empty where the run does not tell. */
  run.names.members = (set) => (arrays.set_ptr ? arrays.set_gene.subarray(arrays.set_ptr[set], arrays.set_ptr[set + 1]) : []);
  // A gene goes by its own name; only where that is an Ensembl id does its symbol say more.
  run.names.shown = (id) => (/^ENS[A-Z]*G\d{6,}/.test(meta.genes[id]) && meta.symbols[id]) || meta.genes[id];
  return run.names;
}

/** The place of `value` between rising bounds. */
function placeIn(bounds, value) {
  return d3.bisectRight(bounds, value, 1, bounds.length - 1) - 1;
}

/**
 * Cells of a packed column and their levels, in cell order.
 *
 * @returns {Levels}
 */
function column(arrays, i, max) {
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

/** @returns {Columns} */
function cut(arrays, prefix, columns, i) {
  const [from, to] = [arrays[`${prefix}_ptr`][i], arrays[`${prefix}_ptr`][i + 1]];
  const out = { n: to - from };
  for (const [name, column] of Object.entries(columns)) out[name] = arrays[column].subarray(from, to);
  return out;
}

/** Mean expression by decile: [{ id, means: inactive, then ten deciles }]. */
function heat(arrays, i) {
  if (!arrays.heat_ptr) return [];
  const bins = arrays.heat.length / arrays.heat_gene.length || 1;
  return d3.range(arrays.heat_ptr[i], arrays.heat_ptr[i + 1]).map((g) => ({ id: arrays.heat_gene[g], means: arrays.heat.subarray(g * bins, (g + 1) * bins) }));
}

/**
 * All the evidence of the feature in `row` of the feature table.
 *
 * @param {number} row
 * @returns {Promise<Feature>}
 */
export async function loadFeature(row, run = first) {
  const place = placeIn(run.overview.feature_bounds, row);
  const [{ arrays }] = await Promise.all([readBlock(`${run.prefix}feature-${place}`), loadNames(run)]);
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
    ...column(arrays, i, run.features.max_code[row]),
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
        ...(arrays.set_under ? { under: "set_under" } : {}),
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
    matches: arrays.match_ptr
      ? cut(arrays, "match", { seed: "match_seed", partner: "match_partner", r: "match_r", cosine: "match_cosine", best: "match_best", best_r: "match_best_r" }, i)
      : null,
    near: near("near"),
    together: near("together"),
    heat: heat(arrays, i),
  };
}

/** The strongest features of a gene, and its expression where the page has it: { features: [{ row, fc, z, mlq }], expression }. */
export async function loadGene(id, run = first) {
  const place = placeIn(run.overview.gene_bounds, id);
  const { arrays } = await readBlock(`${run.prefix}gene-${place}`);
  const i = id - run.overview.gene_bounds[place];
  const features = d3
    .range(arrays.ptr[i], arrays.ptr[i + 1])
    .map((j) => ({ row: arrays.row[j], fc: arrays.fc[j], z: arrays.z[j], mlq: arrays.mlq[j] }));
  return { features, expression: arrays.cell_ptr ? column(arrays, i, arrays.max[i]) : null };
}

/** Activations of every feature, a chunk at a time: calls `visit(row, cells, levels, max)`. */
export async function eachFeature(visit) {
  const bounds = first.overview.feature_bounds;
  for (let c = 0; c + 1 < bounds.length; c++) {
    const { arrays } = await readBlock(`feature-${c}`);
    for (let row = bounds[c]; row < bounds[c + 1]; row++) {
      const { cells, levels, max } = column(arrays, row - bounds[c], first.features.max_code[row]);
      visit(row, cells, levels, max);
    }
  }
}

/** The category columns of the cells, those used as labels first. */
export function categories(run = first) {
  const labels = new Set(run.overview.label_columns);
  const found = run.cells.columns.filter((c) => c.type === "category");
  return [...found.filter((c) => labels.has(c.name)), ...found.filter((c) => !labels.has(c.name))];
}
