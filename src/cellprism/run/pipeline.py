"""The pipeline behind ``cellprism run``: prepare, fit, annotate, judge, write."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from cellprism.data.checks import already_told
from cellprism.data.opened import closes_what_it_opens
from cellprism.features.annotate import Annotation
from cellprism.features.options import TableOptions
from cellprism.features.redundant import mark_redundant
from cellprism.features.stability import fit_matches
from cellprism.folder.stage import LOG, finish
from cellprism.report import build
from cellprism.run.annotation import annotate_with
from cellprism.run.evaluation import evaluate_inputs, evaluation_record, evaluation_tables
from cellprism.run.folder import FORMAT_VERSION, RunFolder, staged
from cellprism.run.gene_sets import gene_set_table
from cellprism.run.inputs import Inputs
from cellprism.run.nulls import null_codes
from cellprism.run.options import PRESETS, RunOptions
from cellprism.run.prepare import prepare
from cellprism.run.read_by_rivals import modality_record
from cellprism.run.shares import share_records
from cellprism.run.steps import Steps, same_options
from cellprism.run.write import (
    logged,
    recipe_records,
    versions,
    write_arrays,
    write_json,
    write_landscape,
    write_tables,
)
from cellprism.sae import Fit, SAEConfig, fit
from cellprism.sae.metrics import describe, no_description

__all__ = ["run"]


_ALL_DEAD = "all features are dead: no cell activates any; train longer, or choose fewer features or another activation"


@dataclass
class _Clock:
    """Seconds of each step."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 2)


def run(options: RunOptions, say: Callable[[str], None] = lambda _: None) -> RunFolder:
    """Turn cells and an embedding into named features, and write the run folder.

    Parameters
    ----------
    options
        What to do; see :class:`RunOptions`.
    say
        Called with a line of text as each step begins.

    Returns
    -------
    RunFolder
        The finished folder. It reads as a run folder only when all but its page is whole.

    Raises
    ------
    InputError
        If anything the user gave is wrong.

    Notes
    -----
    The place is taken before any work. Whatever ends a run early, the steps that were finished are kept in a work folder,
    which a note on the exception names and ``resume`` goes on from.

    Examples
    --------
    >>> from pathlib import Path
    >>> from cellprism.run import RunOptions
    >>> options = RunOptions(
    ...     data=Path("cells.h5ad"), output=Path("new"), rep="X_scVI", labels=("cell_type",), preset="demo", seeds=2
    ... )
    >>> folder = prism.run.run(options)
    >>> "name" in folder.features
    True
    """
    if options.resume and (done := _finished(options, say)) is not None:
        return done
    with (
        already_told(),
        staged(options.output, overwrite=options.overwrite, resume=options.resume, say=say) as folder,
        closes_what_it_opens(),
    ):
        _make(options, folder, say)
    try:
        build(options.output, say=say, name=str(options.output))
    except BaseException as error:
        error.add_note(f"All but the page is in {options.output}; `cellprism report {options.output}` makes the page.")
        raise
    return RunFolder.open(options.output)


def _finished(options: RunOptions, say: Callable[[str], None]) -> RunFolder | None:
    """The result of an earlier run of the same options, where it lacks at most its last move or its page."""
    finish(options.output)
    if not (options.output / "run.json").is_file():
        return None
    done = RunFolder.open(options.output)
    if not same_options(done.info.get("arguments", {}), options):
        return None
    say(f"{options.output} is finished already")
    if not (options.output / "report.html").is_file():
        build(options.output, say=say, name=str(options.output))
    return done


def _make(options: RunOptions, folder: Path, say: Callable[[str], None]) -> None:
    """All of a run but its page, into a folder in the making."""
    clock, steps = _Clock(), Steps(folder, options)
    say = logged(folder / LOG, say)
    say(f"cellprism {versions()['cellprism']}, seed {options.seed}")
    with clock.step("prepare"):
        inputs = prepare(options, say, steps)
    cfg = options.sae_config(inputs.embedding)
    asked = "choosing a recipe, then" if cfg is None else f"{cfg.width} features, {cfg.activation}, k {cfg.k}:"
    say(f"{asked} training {options.n_seeds} sparse autoencoders")
    with clock.step("fit"):
        fitted = steps.fit(
            inputs.embedding, (cfg, options.seed, options.n_seeds), partial(_train, options, inputs, cfg)
        )
        for reason in fitted.options.get("recipe", {}).get("reasons", ()):
            say(reason)
        if "guide" in fitted.options:
            say(_followed(fitted))
        codes = fitted.sae.encode(inputs.embedding)
    say("naming the features: genes, gene sets, labels, and the same for the nulls")
    with clock.step("annotate"):
        annotation = _annotate(options, inputs, fitted, codes)
    say("probing the labels with single features, beside rivals")
    with clock.step("evaluate"):
        evaluation = evaluate_inputs(options, inputs, fitted, codes)
    features, matches = _with_stability(annotation.features, fitted, inputs.embedding)
    features["guide"] = _guides(features["feature"], fitted, inputs)
    say("writing the tables and the page")
    fitted.sae.save(folder / "sae")
    write_arrays(folder, inputs, codes)
    write_tables(
        folder,
        {
            "features": features,
            "genes": annotation.genes,
            "sets": _with_redundant(annotation.sets, inputs.gene_sets, annotation.info["level"]),
            "labels": annotation.labels,
            "cells": _cells(inputs),
            "gene_sets": gene_set_table(inputs.matched, inputs.expression.genes, options.gene_sets),
            "training": fitted.history,
        }
        | evaluation_tables(evaluation)
        | ({} if matches is None else {"matches": matches})
        | ({"regulators": annotation.regulators} if inputs.networks else {}),
    )
    if fitted.consensus is not None:
        write_tables(folder, {"consensus": fitted.consensus.reset_index()})
    if "recipe" in fitted.options:
        write_landscape(folder, fitted.options["recipe"]["scouts"])
    about = _about(options, inputs, fitted, codes, annotation, features, clock.seconds)
    write_json(folder / "run.json", about | {"evaluation": evaluation_record(evaluation)})


def _train(options: RunOptions, inputs: Inputs, cfg: SAEConfig | None, states: Path) -> Fit:
    return fit(
        inputs.embedding,
        cfg,
        seed=options.seed,
        seeds=options.n_seeds,
        preset=PRESETS[options.preset].recipe,
        consensus=options.consensus,
        guide=None if inputs.guide is None else inputs.guide.values,
        epochs=options.epochs,
        progress=options.progress,
        checkpoint=states,
        device=options.device,
    )


def _followed(fitted: Fit) -> str:
    told = fitted.options["guide"]
    return str(
        told.get("reason")
        or f"{len(told['columns'])} further features are guided by genes that the embedding tells and no feature says"
    )


def _guides(numbers: pd.Series, fitted: Fit, inputs: Inputs) -> list[str]:
    """The gene that guided each feature; empty of all others."""
    if inputs.guide is None:
        return [""] * len(numbers)
    columns = fitted.options["guide"]["columns"]
    first = fitted.sae.width - len(columns)
    return [inputs.guide.names[columns[i - first]] if i >= first else "" for i in map(int, numbers)]


def _annotate(options: RunOptions, inputs: Inputs, fitted: Fit, codes: sp.csr_array) -> Annotation:
    preset = PRESETS[options.preset]
    return annotate_with(
        inputs,
        codes,
        inputs.embedding,
        nulls=tuple(n for n in preset.nulls if n in ("random", "permuted", "random_sets")),
        extra_nulls=null_codes(preset.nulls, fitted, inputs.embedding, codes, seed=options.seed),
        tables=TableOptions(association=True, expression_kind=options.expression, independent=inputs.thinned),
        seed=options.seed,
    )


def _with_stability(features: pd.DataFrame, fitted: Fit, X: NDArray[Any]) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Feature table with its stability column, and the matches behind it; NaN and None where one seed was trained."""
    features = features.copy()
    matches = None
    if fitted.siblings:
        stable, matches = fit_matches(fitted, X)
        stable = stable.reindex(features["feature"])
        features["stability"] = stable["stability"].to_numpy()
        features["stability_error"], features["stability_null"] = stable["error"].to_numpy(), stable["null"].to_numpy()
        matches = matches[matches["feature"].isin(features["feature"])]
    else:
        features["stability"] = features["stability_error"] = features["stability_null"] = np.nan
    order = ["feature", "name", "kind", "n_active", "mean_active", "max_active", "stability", "confound"]
    return features[[*order, *(c for c in features.columns if c not in order)]], matches


def _with_redundant(sets: pd.DataFrame, gene_sets: dict[str, list[str]], level: float) -> pd.DataFrame:
    """Set table with ``redundant_with``: of the sets that pass, the better one that says the same of the feature."""
    sets = sets.assign(redundant_with="")
    passing = sets[sets["qval"] < level]
    sets.loc[passing.index, "redundant_with"] = mark_redundant(passing, gene_sets)
    return sets.astype({"redundant_with": "category"})


def _cells(inputs: Inputs) -> pd.DataFrame:
    drawn, _ = inputs.map
    parts = [inputs.labels.table, inputs.kept, inputs.nuisance.set_axis(inputs.kept.index)]
    table = pd.concat(parts, axis=1)
    table.insert(0, "cell", table.index.astype(str))
    table["x"], table["y"] = drawn[:, 0], drawn[:, 1]
    return table.reset_index(drop=True)


def _about(
    options: RunOptions,
    inputs: Inputs,
    fitted: Fit,
    codes: sp.csr_array,
    annotation: Annotation,
    features: pd.DataFrame,
    seconds: dict[str, float],
) -> dict[str, Any]:
    """Content of run.json."""
    overall = describe(fitted.sae, inputs.embedding, codes)._asdict()
    stable, by_chance = None, None
    if fitted.siblings:
        stable, by_chance = (float((features[c] > 0.7).mean()) for c in ("stability", "stability_null"))
    descriptive = bool(annotation.info["pvalues"] == "descriptive")
    about = {
        "format": "cellprism-run",
        "format_version": FORMAT_VERSION,
        "cellprism": versions()["cellprism"],
        "versions": versions(),
        "arguments": options.to_dict(),
        "input": inputs.hashes,
        "seeds": list(range(options.seed, options.seed + options.n_seeds)),
        "timings": seconds,
        "metrics": overall
        | {"width": fitted.sae.width, "share_stable": stable, "share_stable_null": by_chance}
        | {f"holdout_{k}": v for k, v in fitted.metrics.items() if len(fitted.holdout)},
        **recipe_records(fitted),
        "shares": share_records(annotation.shares),
        "annotation": annotation.info,
        "descriptive": descriptive,
        "thinned": inputs.thinned,
        "expression": inputs.expression_kind,
        "expression_states": inputs.expression.states,
        "modalities": modality_record(inputs.expression.modality, inputs.embedded),
        "embedding_source": inputs.embedding_source,
        "map_source": inputs.map[1],
        "gene_sets": inputs.matched.summary(),
        "genes": inputs.symbols.summary(),
        "label_columns": list(inputs.labels.table.columns),
        "warnings": [
            *inputs.warnings,
            *([] if len(features) else [_ALL_DEAD]),
            *filter(None, [no_description(overall["explained_variance"])]),
        ],
    }
    about["summary"] = _summary(inputs, fitted, features)
    return about


def _summary(inputs: Inputs, fitted: Fit, features: pd.DataFrame) -> str:
    n, d = inputs.embedding.shape
    tested = features["untestable"] == ""
    with_set = int((features.loc[tested, "any_set_qval"] < 0.05).sum())
    return (
        f"{n:,} cells, embedded in {d} dimensions ({inputs.embedding_source}), were split into {fitted.sae.width:,} features, "
        f"of which {len(features):,} are ever active and {int(tested.sum()):,} in enough cells to be tested; "
        f"{with_set:,} of these {int(tested.sum()):,} have a gene set at q < 0.05."
    )
