// Two models beside each other: what became of each feature of one in the other.

import { button, el, panel, select } from "./dom.js";
import { shortTable } from "./evidence.js";
import { count, fixed, percent, pvalue } from "./format.js";
import { go } from "./router.js";
import { theRun } from "./run.js";
import { saveCsv } from "./save.js";

/** Marks a feature of the second model in the address. */
export const OTHER = "other:";

/** How a score is called where there is little room. */
export const scoreWord = (match) => (match.score === "correlation" ? "r" : match.score);

const MEANINGS = {
  shared: "one here is one there",
  split: "one here is several there",
  merged: "several here are one there",
  mixed: "several here are several there",
  unclear: "alike, but no more than chance gives",
  unique: "nothing there is like it",
  silent: "nothing of it can be compared",
};

/** Every feature of this model beside its partner in the other, and of the other beside its best here. */
export function models({ run, match }) {
  const here = side(theRun().features, run.features, match, false);
  const there = side(run.features, theRun().features, match, true);
  const state = { turned: "", relation: "" };
  const box = el("div", { class: "stack" });
  const draw = () => {
    const one = state.turned ? there : here;
    const rows = one.rows.filter((i) => !state.relation || one.relation(i) === state.relation);
    box.replaceChildren(
      el("dl", { class: "tiles" }, Object.keys(MEANINGS).filter((word) => one.counts.get(word)).map((word) => el("div", { title: MEANINGS[word] }, el("dt", {}, `${word}: ${MEANINGS[word]}`), el("dd", {}, count(one.counts.get(word)))))), // prettier-ignore
      one.table(rows),
    );
  };
  const set = (key) => (value) => {
    state[key] = value;
    draw();
  };
  draw();
  const words = [["", "every relation"], ...Object.keys(MEANINGS).filter((w) => here.counts.get(w) || there.counts.get(w)).map((w) => [w, w])]; // prettier-ignore
  return panel("Two models", { id: "models", wide: true, note: `${percent(here.clear / Math.max(1, here.n))} of ${count(here.n)} features have a one-to-one partner at ${match.score} of ${fixed(match.level)} and more`, tools: [button("CSV", () => (state.turned ? there : here).save(), { class: "quiet small", "aria-label": "Download matched features as CSV" })] },
    el("div", { class: "stack" },
    el("p", { class: "muted" }, `Compared by ${match.by}, ${match.basis}. ${match.permutations ? `q is of ${count(match.permutations)} draws of chance.` : "No chance was drawn."}`),
    el("div", { class: "row" }, select("features of", [["", "this model"], ["other", "other model"]], "", set("turned")), select("which are", words, "", set("relation"))),
    box)); // prettier-ignore
}

/** What is told of the features of one model: rows by score, counts of relations, their table. */
function side(own, other, match, turned) {
  const [partner, score, mlq, codes, pool] = turned ? [match.back, match.back_r, match.back_mlq, match.relation_back, match.relations_back] : [match.partner, match.partner_r, match.partner_mlq, match.relation, match.relations]; // prettier-ignore
  const name = (features, i) => (i < 0 ? "–" : features.text("name", i) || `feature ${features.feature[i]}`);
  const relation = (i) => pool[codes[i]];
  const rows = d3.sort(d3.range(own.n), (i) => -(Number.isFinite(score[i]) ? score[i] : -1));
  const address = (i) => (turned ? `${own.feature.length && partner[i] >= 0 ? other.feature[partner[i]] : ""},${OTHER}${own.feature[i]}` : `${own.feature[i]},${OTHER}${other.feature[partner[i]]}`);
  const table = (chosen) =>
    shortTable("Matched features", [
      { title: turned ? "other model" : "this model", kind: "wide-text", show: (i) => (partner[i] < 0 ? name(own, i) : button(name(own, i), () => go({ view: "compare", compare: address(i) }), { class: "link" })) },
      { title: "relation", show: (i) => relation(i) },
      { title: turned ? "best here" : "partner there", kind: "wide-text", show: (i) => name(other, partner[i]) },
      { title: scoreWord(match), kind: "number", help: `${match.score} ${match.basis}`, show: (i) => fixed(score[i]) },
      { title: "q", kind: "number", help: "that any feature of the other model scores as high by chance", show: (i) => pvalue(mlq[i]) },
    ], chosen.slice(0, 2000), 20); // prettier-ignore
  const save = () => saveCsv(turned ? "matched-features-other" : "matched-features", ["feature", "name", "relation", "partner", "partner_name", match.score, "mlog10_q"], rows.map((i) => [own.feature[i], own.text("name", i), relation(i), partner[i] < 0 ? "" : other.feature[partner[i]], name(other, partner[i]), score[i], mlq[i]])); // prettier-ignore
  return { n: own.n, rows, relation, counts: d3.rollup(rows, (v) => v.length, relation), clear: rows.filter((i) => score[i] >= match.level).length, table, save };
}
