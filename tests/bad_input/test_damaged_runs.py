"""A damaged run folder is told in one message, whatever is damaged and whoever reads it: never a traceback, a crash, or
other numbers without a word."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from cli_runner import call
from helpers import counts_adata, type_sets

from cellprism.errors import InputError
from cellprism.folder import RunFolder
from cellprism.genesets.gmt import write_gmt
from cellprism.run import RunOptions, run
from cellprism.steering.edit import make_edit


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run with an embedding model, several seeds and a steering experiment in it."""
    from cellprism.run.steering import steer_run

    folder = tmp_path_factory.mktemp("whole")
    counts_adata(120, 36).write_h5ad(folder / "cells.h5ad")
    write_gmt(type_sets(36), folder / "sets.gmt")
    options: dict[str, Any] = {"embed": "pca", "components": 5, "width": 12, "k": 3, "seeds": 2, "epochs": 40}
    options |= {"gene_sets": (str(folder / "sets.gmt"),), "labels": ("cell_type", "donor")}
    done = run(RunOptions(data=folder / "cells.h5ad", output=folder / "run", **options))
    feature = int(done.features.sort_values("n_active").iloc[-1]["feature"])
    (done.path / "steered").mkdir()
    steer_run(done, feature, make_edit(to_quantile=0.9)).save(done.path / "steered")
    return done.path


Damage = Callable[[Path], None]


def empty(path: Path) -> None:
    path.write_bytes(b"")


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def without_end(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(bytes(data))


def garbage(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(500))


def text(path: Path) -> None:
    path.write_text("not what this file should be\n")


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


def missing(path: Path) -> None:
    path.unlink()


FILES = (
    "run.json", "manifest.json", "codes.npz", "embedding.npy", "features.parquet", "genes.parquet", "sets.parquet",
    "labels.parquet", "cells.parquet", "gene_sets.parquet", "matches.parquet", "expression.npz", "expression_genes.json",
    "sae/config.json", "sae/sae.safetensors", "model/model.json", "model/model.safetensors", "steered/steering.json",
    "steered/steering.parquet",
)  # fmt: skip
DAMAGES: tuple[Damage, ...] = (empty, half, without_end, flipped, garbage, text, folder_instead, missing)


def as_json(content: str) -> Damage:
    return lambda path: path.write_text(content) and None


def changed_json(**entries: Any) -> Damage:
    return lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | entries)) and None


def changed_table(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Damage:
    return lambda path: change(pd.read_parquet(path)).to_parquet(path)


def arrays(**entries: Any) -> Damage:
    """The members of an .npz, some replaced."""

    def damage(path: Path) -> None:
        with np.load(path) as file:
            members = dict(file) | entries
        held = io.BytesIO()
        np.savez(held, **members)
        path.write_bytes(held.getvalue())

    return damage


def array(change: Callable[[np.ndarray], np.ndarray]) -> Damage:
    return lambda path: np.save(path, change(np.load(path)), allow_pickle=True)


def codes(change: Callable[[sp.csr_array], Any]) -> Damage:
    return lambda path: sp.save_npz(path, change(sp.csr_array(sp.load_npz(path))))


def with_value(value: float) -> Callable[[sp.csr_array], sp.csr_array]:
    def change(matrix: sp.csr_array) -> sp.csr_array:
        matrix.data[3] = value
        return matrix

    return change


CRAFTED: dict[str, tuple[str, Damage]] = {
    "run.json a list": ("run.json", as_json("[]")),
    "run.json null": ("run.json", as_json("null")),
    "run.json a number": ("run.json", as_json("3")),
    "run.json nested deeply": ("run.json", as_json("[" * 100_000)),
    "run.json a huge number": ("run.json", as_json('{"format_version": ' + "9" * 6_000 + "}")),
    "run.json infinite": ("run.json", as_json('{"format_version": Infinity}')),
    **{
        f"run.json {name} {value!r}": ("run.json", changed_json(**{name: value}))
        for name in ("format_version", "arguments", "label_columns", "shares", "warnings", "metrics", "summary", "landscape")
        for value in (3.5, ["x", 1], {"a": [1]}, "text", True)
        if not (name == "summary" and value == "text")
        and not (name in ("arguments", "metrics") and isinstance(value, dict))
    },
    "run.json of the future": ("run.json", changed_json(format_version=99)),
    "codes: index far outside": ("codes.npz", lambda p: arrays(indices=np.full(_nnz(p), 10**6, "i4"))(p)),
    "codes: index negative": ("codes.npz", lambda p: arrays(indices=np.full(_nnz(p), -7, "i4"))(p)),
    "codes: indptr falls": ("codes.npz", lambda p: arrays(indptr=_falling(p))(p)),
    "codes: indptr too long": ("codes.npz", arrays(indptr=np.arange(10_000, dtype="i4"))),
    "codes: float indices": ("codes.npz", lambda p: arrays(indices=np.full(_nnz(p), 0.5))(p)),
    "codes: a shape of strings": ("codes.npz", arrays(shape=np.array(["a", "b"]))),
    "codes: another shape": ("codes.npz", arrays(shape=np.array([10**9, 2]))),
    "codes: three dimensions": ("codes.npz", arrays(shape=np.array([2, 3, 4]))),
    "codes: unknown format": ("codes.npz", arrays(format=np.array(b"abc"))),
    "codes: complex": ("codes.npz", codes(lambda m: m.astype(complex) * 1j)),
    "codes: NaN": ("codes.npz", codes(with_value(np.nan))),
    "codes: infinite": ("codes.npz", codes(with_value(np.inf))),
    "codes: negative": ("codes.npz", codes(with_value(-1.0))),
    "codes: of fewer cells": ("codes.npz", codes(lambda m: m[:-1])),
    "codes: narrower": ("codes.npz", codes(lambda m: m[:, :2])),
    "expression: index far outside": ("expression.npz", lambda p: arrays(indices=np.full(_nnz(p), 10**6, "i4"))(p)),
    "expression: of fewer cells": ("expression.npz", codes(lambda m: m[:-1])),
    "embedding: objects": ("embedding.npy", array(lambda a: a.astype(object))),
    "embedding: text": ("embedding.npy", array(lambda a: a.astype("U5"))),
    "embedding: complex": ("embedding.npy", array(lambda a: a.astype(complex))),
    "embedding: one dimension": ("embedding.npy", array(lambda a: a.ravel())),
    "embedding: of fewer cells": ("embedding.npy", array(lambda a: a[:-1])),
    "embedding: NaN": ("embedding.npy", array(lambda a: np.where(np.arange(len(a))[:, None] == 3, np.nan, a))),
    **{
        f"{table} without {column}": (f"{table}.parquet", changed_table(lambda t, c=column: t.drop(columns=c)))
        for table, columns in {
            "features": ("feature", "name"), "cells": ("cell",), "genes": ("feature", "gene", "symbol", "qval", "log2fc"),
            "sets": ("feature", "set", "qval_rank"), "labels": ("feature", "value", "auroc"),
            "gene_sets": ("set", "genes"), "matches": ("feature", "partner"),
        }.items()
        for column in columns
    },
    **{
        f"{table}.{column} as text": (
            f"{table}.parquet", changed_table(lambda t, c=column: t.assign(**{c: t[c].astype(str) + "x"})),
        )
        for table, column in (
            ("features", "feature"), ("features", "n_active"), ("features", "stability"), ("genes", "feature"),
            ("genes", "log2fc"), ("genes", "qval"), ("sets", "effect"), ("labels", "auroc"), ("matches", "correlation"),
            ("cells", "x"),
        )
    },
    **{
        f"{table}.{column} = {value}": (
            f"{table}.parquet", changed_table(lambda t, c=column, v=value: t.assign(**{c: v})),
        )
        for table, column, value in (
            ("features", "feature", -1), ("features", "feature", 10**6), ("features", "feature", 0),
            ("genes", "feature", 99), ("genes", "qval", 7.0), ("sets", "qval_rank", -1.0), ("labels", "auroc", 1.5),
            ("features", "stability", 3.0), ("cells", "cell", "the same"), ("features", "name", 5),
        )
    },
    "cells: of fewer cells": ("cells.parquet", changed_table(lambda t: t.iloc[:-1])),
    "gene_sets: text for lists": ("gene_sets.parquet", changed_table(lambda t: t.assign(genes="A,B"))),
    "expression genes: numbers": ("expression_genes.json", as_json("[1, 2]")),
    "expression genes: a mapping": ("expression_genes.json", as_json("{}")),
    "steering: a list": ("steered/steering.json", as_json("[]")),
    "steering: no genes": ("steered/steering.parquet", changed_table(lambda t: t.drop(columns="gene"))),
    "sae: weights NaN": ("sae/sae.safetensors", lambda p: _weights(p, float("nan"))),
    "sae: another width": ("sae/config.json", lambda p: p.write_text(p.read_text().replace('"width": 12', '"width": 13'))),
}  # fmt: skip


def _nnz(path: Path) -> int:
    with np.load(path) as file:
        return len(file["data"])


def _falling(path: Path) -> np.ndarray:
    with np.load(path) as file:
        found = file["indptr"].copy()
    found[5] = found[-1]
    return found


def _weights(path: Path, value: float) -> None:
    from safetensors.numpy import load_file, save_file

    tensors = load_file(path)
    for tensor in tensors.values():
        if tensor.size:
            tensor.flat[0] = value
    save_file(tensors, path)


def commands(run_dir: Path, other: Path, out: Path) -> dict[str, tuple[object, ...]]:
    return {
        "report": ("report", run_dir, "-o", out / "page.html"),
        "compare": ("report", other, "--other", run_dir, "-o", out / "both.html"),
        "match": ("match", run_dir, other, "-o", out / "match.csv"),
        "differential": ("differential", run_dir, "--by", "donor", "--conditions", "d0,d1", "-o", out / "differential"),
        "export": ("export", run_dir, "--gmt", out / "f.gmt", "--network", out / "f.csv"),
        "steer": ("steer", run_dir, "--feature", 1, "--to", 1, "-o", out / "steer"),
        "verify": ("verify", run_dir),
    }


CASES = {f"{file} {damage.__name__}": (file, damage) for file in FILES for damage in DAMAGES} | CRAFTED
# Commands by what they read: the others cannot know of the damage.
READ = {
    "sae": ("steer",), "model": ("steer",), "steered": ("report",), "expression": ("report",), "gene_sets": ("report",),
    "matches": ("report",),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_damage_is_told(
    case: str, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, damage = CASES[case]
    run_dir = tmp_path / "run"
    shutil.copytree(whole, run_dir, copy_function=os.link)
    (run_dir / file).unlink()  # the others are not written to
    shutil.copy2(whole / file, run_dir / file)
    damage(run_dir / file)
    of = next((r for name, r in READ.items() if file.startswith(name)), ("report", "match", "export", "differential"))
    if case not in CRAFTED:  # what parsers make of such files is the same whoever calls them
        of = of[:1]
    asked = commands(run_dir, whole, tmp_path)
    codes_of = {}
    for name in (*of, "verify"):
        done = call(capsys, *asked[name])  # any exception but SystemExit would pass through and fail the test
        codes_of[name] = done.code
        assert "Traceback" not in done.err + done.out
        assert "Aborted" not in done.err
        if done.code == 2:
            assert "Remedy" in done.err, f"{name}: {done.err}"
    steered = file.startswith("steered")  # made after the run, so it is in no manifest
    removed = damage in (missing, folder_instead) and file.split(".")[0] in ("manifest", "gene_sets", "matches")
    if not steered:
        assert codes_of["verify"] in (1, 2), case
    if not removed and not steered and file not in ("manifest.json", "sae/config.json"):
        readers = [c for name, c in codes_of.items() if name != "verify"]
        assert 2 in readers, f"{case}: {codes_of}"


def test_the_whole_folder_passes(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    feature = RunFolder.open(whole).features["feature"].iloc[0]
    for name, arguments in commands(whole, whole, tmp_path).items():
        chosen = [feature if a == 1 and arguments[0] == "steer" else a for a in arguments]
        done = call(capsys, *chosen)
        assert done.code == 0, (name, done.err)
    RunFolder.open(whole).check()


@pytest.mark.parametrize("layout", ["csr", "csc", "bsr", "coo"])
def test_matrices_of_every_layout_are_checked(tmp_path: Path, layout: str) -> None:
    from cellprism.data.arrays import read_sparse

    matrix = sp.random_array((20, 8), density=0.3, random_state=np.random.default_rng(0), format="csr")
    sp.save_npz(tmp_path / "good.npz", matrix.asformat(layout))
    np.testing.assert_allclose(read_sparse(tmp_path / "good.npz").toarray(), matrix.toarray())
    with np.load(tmp_path / "good.npz") as file:
        members = dict(file)
    name = "coords" if "coords" in members else "row" if "row" in members else "indices"
    members[name] = members[name] + 10**7
    np.savez(tmp_path / "bad.npz", **members)
    with pytest.raises(InputError):
        read_sparse(tmp_path / "bad.npz")
