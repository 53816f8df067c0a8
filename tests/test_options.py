"""Options are declared once: signatures, docstrings, messages and the command line all take them from there."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
import typer.main

import cellprism as prism
from cellprism.cli import app
from cellprism.errors import InputError
from cellprism.features.options import EvidenceOptions, NameOptions, NullOptions, TableOptions
from cellprism.options import meaning
from cellprism.run.options import ACTIVATIONS, ONE_OF_THEM, RunOptions
from cellprism.run.sources import SourceOptions
from cellprism.sae.config import Activation

GROUPS = (EvidenceOptions, NullOptions, TableOptions, NameOptions)
OF_COMMANDS = {
    "run": (RunOptions,),
    "annotate": (SourceOptions, EvidenceOptions, NullOptions, TableOptions),
}
LEFT = {"preset", "progress", "association", "expression_kind", "independent"}


def study() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    codes = (rng.random((120, 4)) * (rng.random((120, 4)) < 0.4)).astype(np.float32)
    genes = [f"G{i}" for i in range(30)]
    sets = {f"s{i}": genes[5 * i : 5 * i + 6] for i in range(5)}
    return {
        "codes": codes,
        "expression": np.log1p(rng.poisson(1.0 + (codes[:, [0]] > 0) * (np.arange(30) < 8))),
        "genes": genes,
        "gene_sets": sets,
        "labels": pd.DataFrame({"type": np.where(codes[:, 0] > 0, "a", "b")}),
    }


@pytest.mark.parametrize("group", GROUPS, ids=lambda g: g.__name__)
def test_signature_and_docstring_are_those_of_the_options(group: type[Any]) -> None:
    signature, text = inspect.signature(prism.annotate), " ".join((prism.annotate.__doc__ or "").split())
    for field in dataclasses.fields(group):
        assert signature.parameters[field.name].default == field.default
        assert f"{field.name} {meaning(group, field.name)}" in text
        assert meaning(group, field.name) in " ".join((group.__doc__ or "").split())


def test_the_face_of_anndata_has_the_same_options() -> None:
    signature, text = inspect.signature(prism.tl.annotate), " ".join((prism.tl.annotate.__doc__ or "").split())
    for name in ("labels", "gene_symbols", "strata", "layer", "raw", "expression_state"):
        assert f"{name} {meaning(SourceOptions, name)}" in text
        assert signature.parameters[name].default in (getattr(SourceOptions, name), None)


@pytest.mark.parametrize("name", OF_COMMANDS)
def test_the_command_line_has_the_same_options(name: str) -> None:
    command = {p.name: p for p in typer.main.get_command(app).commands[name].params}
    fields = [(group, f) for group in OF_COMMANDS[name] for f in dataclasses.fields(group) if f.name not in LEFT]
    assert len(fields) > 12
    for group, field in fields:
        parameter = command[field.name]
        several = isinstance(field.default, tuple) and field.name != "set_size"
        said = meaning(group, field.name)
        assert parameter.help == (said.removesuffix(".") + "; may be repeated." if several else said)
        assert parameter.default == (None if several or field.default is dataclasses.MISSING else field.default)
        assert parameter.required == (field.default is dataclasses.MISSING)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"method": "t"}, "`method` must be of ranksum, welch, paper; met 't'. Remedy: use one of these."),
        ({"keep": "some"}, "`keep` must be of significant, all; met 'some'. Remedy: use one of these."),
        (
            {"nulls": ("none",)},
            "`nulls` must be of random, permuted, random_sets; met 'none'. Remedy: use one of these.",
        ),
        ({"nulls": "none"}, "`nulls` must be of random, permuted, random_sets; met 'none'. Remedy: use one of these."),
        ({"expression_kind": "guessed"}, "`expression_kind` must be of measured, predicted; met 'guessed'"),
        ({"level": 0.0}, "`level` must be more than 0; met 0.0"),
        ({"level": 1.5}, "`level` must be at most 1; met 1.5. Remedy: 0.05 is usual."),
        ({"level": float("nan")}, "`level` must be a number; met nan"),
        ({"level": "5%"}, "`level` must be a number; met '5%'"),
        ({"min_cells": 0}, "`min_cells` must be at least 1; met 0. Remedy: give 1 or more."),
        ({"pseudocount": 0.0}, "`pseudocount` must be more than 0; met 0.0"),
        ({"set_size": (0, 5)}, "`set_size` must be at least 1; met 0"),
        ({"set_size": (9, 5)}, "the smallest and the largest size; met \\(9, 5\\)"),
        ({"set_size": (9,)}, "the smallest and the largest size; met \\(9,\\)"),
        ({"min_overlap": -0.1}, "`min_overlap` must be at least 0; met -0.1"),
        ({"null_features": 0}, "`null_features` must be at least 1; met 0"),
    ],
    ids=lambda v: "",
)
def test_values_that_an_option_does_not_have_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        prism.annotate(**study(), **wrong)
    (name,) = wrong
    group = next(g for g in GROUPS if name in {f.name for f in dataclasses.fields(g)})
    with pytest.raises(InputError, match=message):
        group(**wrong)


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ({"data": "a.h5ad", "output": "out"}, {"data": Path("a.h5ad"), "output": Path("out")}),
        ({"labels": "type"}, {"labels": ("type",)}),
        ({"labels": ["type", "donor"]}, {"labels": ("type", "donor")}),
        ({"gene_sets": "sets.gmt"}, {"gene_sets": ("sets.gmt",)}),
        ({"networks": "progeny"}, {"networks": ("progeny",)}),
        ({"ontology": "go.obo"}, {"ontology": Path("go.obo")}),
        ({"embedding": "e.npy"}, {"embedding": Path("e.npy")}),
        ({"id_table": "t.csv", "id_columns": ["a", "b"]}, {"id_table": Path("t.csv"), "id_columns": ("a", "b")}),
    ],
    ids=lambda v: "",
)
def test_paths_as_text_and_one_of_several_by_itself(short: dict[str, Any], long: dict[str, Any]) -> None:
    needed = {"data": Path("cells.h5ad"), "output": Path("out")}
    assert RunOptions(**needed | short) == RunOptions(**needed | long)


def test_one_null_by_itself() -> None:
    assert NullOptions("random") == NullOptions(("random",)) == NullOptions(["random"])


def test_groups_say_the_same_as_single_options() -> None:
    single = prism.annotate(
        **study(),
        method="welch",
        level=0.1,
        min_cells=5,
        nulls=("permuted",),
        null_features=3,
        keep="all",
        kind_by="type",
    )
    whole = prism.annotate(
        **study(),
        evidence=EvidenceOptions(method="welch", level=0.1, min_cells=5),
        nulls=NullOptions(nulls=("permuted",), null_features=3),
        tables=TableOptions(keep="all"),
        naming=NameOptions(kind_by="type"),
    )
    for name in ("features", "genes", "sets", "labels", "shares", "untestable"):
        pd.testing.assert_frame_equal(getattr(single, name), getattr(whole, name))
    assert single.info == whole.info


@pytest.mark.parametrize(
    "twice",
    [
        {"evidence": EvidenceOptions(), "level": 0.1},
        {"tables": TableOptions(), "keep": "all"},
        {"naming": NameOptions(), "kind_by": "type"},
        {"nulls": NullOptions(), "null_features": 5},
    ],
    ids=lambda v: next(iter(v)),
)
def test_an_option_is_given_in_one_place(twice: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="by itself or in"):
        prism.annotate(**study(), **twice)


def test_the_command_line_names_the_activations_that_there_are() -> None:
    assert get_args(Activation) == ACTIVATIONS
    assert all(name in ONE_OF_THEM for name in ACTIVATIONS)
