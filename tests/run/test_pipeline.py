from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from helpers import counts_adata, multimodal, type_sets

import cellprism.run.pipeline as pipeline
from cellprism import embed
from cellprism.errors import InputError
from cellprism.genesets.gmt import write_gmt
from cellprism.run import RunFolder, RunOptions, run
from cellprism.run.folder import staged
from cellprism.run.nulls import match_activity
from cellprism.run.shares import share_records, verdict
from cellprism.run.steering import steer_run
from cellprism.run.write import to_json
from cellprism.sae import SAE
from cellprism.steering import Edit


@pytest.fixture
def inputs(tmp_path: Path) -> tuple[Path, Path]:
    counts_adata(300, 60).write_h5ad(tmp_path / "cells.h5ad")
    write_gmt(type_sets(60), tmp_path / "sets.gmt")
    return tmp_path / "cells.h5ad", tmp_path / "sets.gmt"


def go(inputs: tuple[Path, Path], output: Path, **options: Any) -> RunFolder:
    chosen: dict[str, Any] = {"rep": "X_emb", "width": 16, "k": 3, "seeds": 1, "epochs": 60} | options
    return run(RunOptions(data=inputs[0], output=output, gene_sets=(str(inputs[1]),), **chosen))


def test_features_find_their_types(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    folder = go(inputs, tmp_path / "out", labels=("cell_type",), seeds=2)
    best = folder.labels.groupby("value", observed=True)["auroc"].max()
    assert (best > 0.9).sum() >= 2  # a type that lies at the centre of the embedding may have none of its own
    assert folder.features["stability"].notna().any()
    assert folder.info["label_columns"] == ["cell_type"]
    matches = pd.read_parquet(folder.path / "matches.parquet").set_index("feature")
    assert set(matches.index) <= set(folder.features.feature)
    stability = folder.features.set_index("feature").stability
    np.testing.assert_allclose(matches.best_correlation.clip(0, 1), stability[matches.index], atol=1e-9)
    kept = pd.read_parquet(folder.path / "gene_sets.parquet").set_index("set")
    given = type_sets(60)
    assert set(kept.index) == set(folder.sets["set"])
    for name, genes in kept.genes.items():
        assert set(genes) <= set(given[name])
    assert set(kept.collection) == {"sets"}


def test_cells_without_a_map_are_drawn_by_umap(
    inputs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    class Drawn:  # UMAP itself takes most of a minute to compile; its real output is seen in the run on marrow cells
        def __init__(self, **options: Any) -> None:
            asked.update(options)

        def fit_transform(self, X: np.ndarray) -> np.ndarray:
            return -X[:, :2]

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=Drawn))
    cells = ad.read_h5ad(inputs[0])
    del cells.obsm["X_umap"]
    cells.write_h5ad(inputs[0])
    folder = go(inputs, tmp_path / "out", seed=5)
    assert folder.info["map_source"] == "UMAP of the embedding"
    np.testing.assert_allclose(folder.cells[["x", "y"]], -folder.embedding[:, :2])
    assert asked["random_state"] == 5


def test_the_recipe_is_chosen_told_and_drawn(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    said: list[str] = []
    options = RunOptions(
        data=inputs[0],
        output=tmp_path / "out",
        rep="X_emb",
        gene_sets=(str(inputs[1]),),
        preset="demo",
        seeds=2,
        epochs=20,
    )
    folder = run(options, said.append)
    records, about = folder.info["landscape"], folder.info["recipe"]
    assert {"geometry", "kinds", "default", "training"} == {r["method"] for r in records}
    assert [r["chosen"] for r in records].count(True) == 1
    assert all(r["holdout_error"] == 1 - r["explained_variance"] for r in records)
    assert all(0 <= r["stability"] <= 1 for r in records if r["stability"] is not None or r["chosen"])
    assert set(about["reasons"]) <= set(said)
    assert about["config"]["width"] >= json.loads((folder.path / "sae" / "config.json").read_text())["config"]["width"]
    assert (folder.path / "figures" / "landscape.png").stat().st_size > 5_000
    assert "landscape" not in go(inputs, tmp_path / "fixed").info


def test_consensus_has_a_table_of_its_own(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    folder = go(inputs, tmp_path / "out", seeds=3, epochs=300, k=2, width=6, consensus=True)
    table = pd.read_parquet(folder.path / "consensus.parquet")
    assert list(table.columns) == ["feature", "source", "returns", "correlation"]
    assert folder.codes.shape[1] == len(table) <= 6


def test_embedding_made_here_is_tested_on_the_other_half(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    folder = go(inputs, tmp_path / "out", rep=None, embed="pca", components=5)
    assert folder.info["thinned"] is True
    assert folder.embedding.shape == (300, 5)
    tested = np.expm1(sp.load_npz(folder.path / "expression.npz").toarray())
    whole = ad.read_h5ad(inputs[0]).X.toarray()
    counts = tested / 1e4 * folder.cells["depth"].to_numpy()[:, None]
    np.testing.assert_allclose(counts, np.rint(counts), atol=1e-2)
    assert 0.4 < counts.sum() / whole.sum() < 0.6
    assert embed.load(folder.path / "model").name == "pca"
    assert go(inputs, tmp_path / "all", rep=None, embed="pca", components=5, thin=False).info["thinned"] is False


def test_predicted_expression_is_said_to_be(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    folder = go(inputs, tmp_path / "out", rep=None, embed="pca", components=5, expression="predicted")
    assert folder.info["expression"] == "predicted"
    assert len(folder.genes)
    # predictions follow the embedding: split counts do not make them independent of the features
    assert folder.info["descriptive"] is True
    for table in (folder.features, folder.genes, folder.sets):
        assert set(table["expression"].astype(str)) == {"predicted"}
        assert set(table["pvalues"].astype(str)) == {"descriptive"}


@pytest.mark.parametrize(
    "given", [{"rep": "X_emb"}, {"rep": None, "embed": "pca", "components": 5}], ids=["rep", "embed"]
)
def test_tables_say_whether_p_values_are_descriptive(inputs: tuple[Path, Path], tmp_path: Path, given: Any) -> None:
    folder = go(inputs, tmp_path / "out", labels=("cell_type",), **given)
    word = "descriptive" if "embed" not in given else "calibrated"
    assert folder.info["descriptive"] is (word == "descriptive")
    assert folder.info["annotation"]["pvalues"] == word
    for name in ("features", "genes", "sets", "labels"):
        table = pd.read_parquet(folder.path / f"{name}.parquet")
        assert set(table["pvalues"].astype(str)) == {word}, name
        assert set(table["expression"].astype(str)) == {"measured"}, name


def test_donors_are_the_unit_of_the_headline(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    folder = go(inputs, tmp_path / "out", donor="donor", labels=("cell_type",))
    assert folder.info["annotation"]["unit"] == "donor"
    assert folder.info["annotation"]["n_strata"] >= 3
    assert "donor" in folder.cells
    strongest = folder.genes.loc[folder.genes["qval"] < 0.05]
    assert len(strongest)  # the types' genes differ in every donor
    assert go(inputs, tmp_path / "cells").info["annotation"]["unit"] == "cell"
    with pytest.raises(InputError, match="column must exist"):
        go(inputs, tmp_path / "none", donor="patient")


def test_names_by_a_table_and_ancestors_by_an_ontology(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    pytest.importorskip("obonet")
    pd.DataFrame({"mouse": [f"G{i}" for i in range(60)], "human": [f"H{i}" for i in range(60)]}).to_csv(
        tmp_path / "orthologs.csv", index=False
    )
    sets = {
        f"{name} (X:{i + 2})": [f"H{g[1:]}" for g in genes] for i, (name, genes) in enumerate(type_sets(60).items())
    }
    write_gmt(sets, tmp_path / "human.gmt")
    terms = "".join(f"[Term]\nid: X:{i + 2}\nname: part {i}\nis_a: X:1\n\n" for i in range(4))
    (tmp_path / "x.obo").write_text(f"format-version: 1.2\n\n[Term]\nid: X:1\nname: root\n\n{terms}")
    folder = go(
        (inputs[0], tmp_path / "human.gmt"), tmp_path / "out", id_table=tmp_path / "orthologs.csv",
        id_columns=("mouse", "human"), ontology=tmp_path / "x.obo",
    )  # fmt: skip
    assert set(folder.genes["symbol"].astype(str).str[0]) == {"H"}
    ancestor = folder.sets.drop_duplicates("set").set_index("set")["ancestor"].astype(str)
    assert ancestor["programme 1 (X:3)"] == "part 1"
    named = folder.features[folder.features["name"].str.contains("programme")]
    assert named["name"].str.contains(r"\[part \d\]").all()
    assert (named["top_set_ancestor"].str.startswith("part")).all()
    assert {"table of names", "ontology"} <= set(folder.info["input"])


def test_a_run_whose_features_are_all_dead_says_so(
    inputs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SAE, "encode", lambda self, X: sp.csr_array((len(X), self.width), dtype=np.float32))
    folder = go(inputs, tmp_path / "out", labels=("cell_type",), epochs=2)
    assert [len(t) for t in (folder.features, folder.genes, folder.sets, folder.labels)] == [0, 0, 0, 0]
    assert "0 are ever active" in folder.info["summary"]
    assert folder.info["shares"] == []
    assert any("dead" in warning for warning in folder.info["warnings"])
    assert (folder.path / "report.html").is_file()


@pytest.mark.filterwarnings("ignore")
def test_a_network_gives_regulators(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    pytest.importorskip("decoupler")
    rows = [(f"TF{t}", g, 1.0) for t, genes in enumerate(type_sets(60).values()) for g in genes]
    pd.DataFrame(rows, columns=["source", "target", "weight"]).to_csv(tmp_path / "mine.csv", index=False)
    folder = go(inputs, tmp_path / "out", networks=(str(tmp_path / "mine.csv"),))
    table = pd.read_parquet(folder.path / "regulators.parquet")
    assert set(table["network"].astype(str)) == {"mine"}
    assert set(table["pvalues"].astype(str)) == {"descriptive"}
    assert folder.features["top_regulator"].str.fullmatch(r"TF\d targets \(mine\)").any()
    assert any("mine.csv" in file["path"] for file in folder.info["input"].values())


def test_redundant_sets_are_put_under_the_better_one(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    sets = type_sets(60)
    sets["programme 0 again"] = sets["programme 0"][:-1]
    write_gmt(sets, tmp_path / "twice.gmt")
    folder = go((inputs[0], tmp_path / "twice.gmt"), tmp_path / "out")
    under = folder.sets[folder.sets["redundant_with"].astype(str) != ""]
    assert len(under)
    assert (under["qval"] < 0.05).all()
    pairs = set(zip(under["set"].astype(str), under["redundant_with"].astype(str), strict=True))
    assert ("programme 0 again", "programme 0") in pairs or ("programme 0", "programme 0 again") in pairs


@pytest.mark.parametrize("activation", ["relu", "gated", "jumprelu", "topk"])
def test_other_activations(inputs: tuple[Path, Path], tmp_path: Path, activation: Any) -> None:
    k = 3 if activation == "topk" else None
    folder = go(inputs, tmp_path / "out", activation=activation, k=k)
    assert json.loads((folder.path / "sae" / "config.json").read_text())["config"]["activation"] == activation


def test_strata_zarr_and_embedding_file(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    cells = ad.read_h5ad(inputs[0])
    table = pd.DataFrame(cells.obsm["X_emb"], index=cells.obs_names).rename(columns=str)
    table.sample(frac=1, random_state=0).to_parquet(tmp_path / "emb.parquet")
    folder = go(inputs, tmp_path / "out", rep=None, embedding=tmp_path / "emb.parquet", strata="donor")
    np.testing.assert_allclose(folder.embedding, cells.obsm["X_emb"])
    assert "donor" in folder.cells
    assert {"data", "embedding"} < set(folder.info["input"])
    assert any(str(inputs[1]) == file["path"] for file in folder.info["input"].values())


def test_every_modality_is_annotated(tmp_path: Path) -> None:
    rna, protein = counts_adata(300, 60), counts_adata(300, 8, seed=1)
    protein.var_names = [f"P{i}" for i in range(8)]
    both = multimodal(rna=rna, protein=protein)
    both.obsm["X_emb"] = rna.obsm["X_emb"]
    with mudata.set_options(pull_on_update=False):
        both.write(tmp_path / "cells.h5mu")
    write_gmt(type_sets(60), tmp_path / "sets.gmt")
    folder = go((tmp_path / "cells.h5mu", tmp_path / "sets.gmt"), tmp_path / "out")
    assert set(folder.genes["modality"].astype(str)) == {"rna", "protein"}


def test_two_modalities_embedded_by_one_model_that_knows_the_batch_are_steered_together(tmp_path: Path) -> None:
    rna, protein = counts_adata(120, 40), counts_adata(120, 8)
    protein.var_names = [f"P{i}" for i in range(8)]
    both = multimodal(rna=rna, protein=protein)
    both.obs["donor"] = rna.obs["donor"].to_numpy()
    both.obsm["X_umap"] = rna.obsm["X_umap"]
    with mudata.set_options(pull_on_update=False):
        both.write(tmp_path / "cells.h5mu")
    write_gmt(type_sets(40), tmp_path / "sets.gmt")
    chosen: dict[str, Any] = {"rep": None, "embed": "dgd", "components": 4, "strata": "donor", "width": 8}
    folder = go((tmp_path / "cells.h5mu", tmp_path / "sets.gmt"), tmp_path / "out", **chosen)
    model = embed.load(folder.path / "model")
    assert (model.name, model.covariate, model.categories) == ("dgd", "donor", ["d0", "d1", "d2"])
    assert set(folder.genes["modality"].astype(str)) == {"rna", "protein"}
    feature = int(folder.features.sort_values("n_active").iloc[-1]["feature"])
    found = steer_run(folder, feature, Edit("quantile", 0.95))
    assert found.genes.groupby("modality").size().to_dict() == {"protein": 8, "rna": 40}


def stop(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def go_until(
    where: str, monkeypatch: pytest.MonkeyPatch, inputs: tuple[Path, Path], output: Path, **chosen: Any
) -> KeyboardInterrupt:
    """A run that is interrupted where the pipeline calls a function, and the exception that left it."""
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, where, stop)
        with pytest.raises(KeyboardInterrupt) as stopped:
            go(inputs, output, **chosen)
    return stopped.value


def digests(folder: Path) -> dict[str, str]:
    """Checksum a file of a run; run.json, whose timings and paths differ, apart."""
    files = json.loads((folder / "manifest.json").read_text())["files"]
    return {name: about["sha256"] for name, about in files.items() if name not in ("run.json", "run.log")}


@pytest.mark.parametrize("where", ["annotate_with", "write_tables", "gene_set_table"])
@pytest.mark.parametrize("chosen", [{}, {"rep": None, "embed": "pca", "components": 5}], ids=["rep", "embed"])
def test_a_stopped_run_goes_on_from_its_finished_steps_and_ends_the_same(
    inputs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, chosen: Any
) -> None:
    chosen = {"seeds": 2, "labels": ("cell_type",)} | chosen
    straight = go(inputs, tmp_path / "straight", **chosen)
    stopped = go_until(where, monkeypatch, inputs, tmp_path / "out", **chosen)
    assert not (tmp_path / "out").exists()
    (kept,) = tmp_path.glob(".cellprism-*")
    assert str(kept) in stopped.__notes__[0]
    with monkeypatch.context() as patch:  # nothing is trained again
        patch.setattr(pipeline, "fit", stop)
        patch.setattr(embed, "train", stop)
        folder = go(inputs, tmp_path / "out", resume=True, **chosen)
    assert digests(folder.path) == digests(straight.path)
    assert not kept.exists()
    assert (folder.path / "report.html").is_file()
    assert go(inputs, tmp_path / "out", resume=True, **chosen).path == folder.path  # finished: nothing to do


def test_a_run_goes_on_only_with_its_own_options_and_input(
    inputs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_until("annotate_with", monkeypatch, inputs, tmp_path / "out")
    with pytest.raises(InputError, match="options that the run was started with") as refused:
        go(inputs, tmp_path / "out", resume=True, seed=1)
    assert "seed 1, then 0" in str(refused.value)
    cells = ad.read_h5ad(inputs[0])
    cells.obsm["X_emb"] = cells.obsm["X_emb"] + 1
    cells.write_h5ad(inputs[0])
    with pytest.raises(InputError, match="input that the run was started with"):
        go(inputs, tmp_path / "out", resume=True)
    said: list[str] = []
    options = RunOptions(
        data=inputs[0], output=tmp_path / "out", rep="X_emb", width=16, k=3, seeds=1, epochs=60,
        gene_sets=(str(inputs[1]),),
    )  # fmt: skip
    run(options, said.append)  # without --resume it starts again, says what was left, and clears it in the end
    assert any("--resume" in line for line in said)
    assert not list(tmp_path.glob(".cellprism-*"))


def test_a_page_that_cannot_be_made_costs_no_result(
    inputs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = go_until("build", monkeypatch, inputs, tmp_path / "out")
    assert "cellprism report" in stopped.__notes__[0]
    assert RunFolder(str(tmp_path / "out")).features.equals(RunFolder.open(tmp_path / "out").features)  # type: ignore[arg-type]
    assert go(inputs, tmp_path / "out", resume=True).path == tmp_path / "out"
    assert (tmp_path / "out" / "report.html").is_file()


def test_overwrite_replaces_a_result_only_when_the_new_one_is_whole(tmp_path: Path) -> None:
    with staged(tmp_path / "out") as folder:
        (folder / "run.json").write_text("{}")
    with pytest.raises(RuntimeError), staged(tmp_path / "out", overwrite=True) as folder:
        raise RuntimeError
    assert (tmp_path / "out" / "run.json").read_text() == "{}"
    with staged(tmp_path / "out", overwrite=True) as folder:
        (folder / "run.json").write_text("[]")
    assert (tmp_path / "out" / "run.json").read_text() == "[]"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: (p / "codes.npz").unlink(), "no codes.npz"),
        (lambda p: (p / "run.json").write_text("{"), "must be JSON"),
        (
            lambda p: ((p / "manifest.json").unlink(), (p / "run.json").write_text('{"format_version": 99}')),
            "format 99",
        ),
        (lambda p: (p / "genes.parquet").write_bytes(b"x"), "must be readable"),
    ],
)
def test_damaged_folders_are_refused(inputs: tuple[Path, Path], tmp_path: Path, change: Any, message: str) -> None:
    folder = go(inputs, tmp_path / "out")
    change(folder.path)
    with pytest.raises(InputError, match=message):
        _ = RunFolder.open(folder.path).genes


def test_matched_activity_keeps_the_highest_cells() -> None:
    scores = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    codes = match_activity(scores.T, np.array([5, 0, 50, 1]))
    assert np.bincount(codes.indices, minlength=4).tolist() == [5, 0, 50, 1]
    top = set(np.argsort(-scores[:, 0])[:5])
    assert set(codes[:, [0]].tocoo().coords[0]) == top
    assert codes.data.min() > 0


def test_verdict_needs_two_standard_errors() -> None:
    assert verdict(0.9, 100, {"random": (0.5, 100)}) == "above every null"
    assert verdict(0.55, 100, {"random": (0.5, 100), "permuted": (0.0, 100)}).startswith("not above random")
    assert verdict(0.9, 0, {"random": (0.5, 100)}) == ""


def test_shares_become_records() -> None:
    table = pd.DataFrame(
        {
            "claim": ["testable features", "features with a set"],
            "observed": [40.0, 0.5],
            "random": [40.0, 0.1],
            "random_sets": [40.0, np.nan],
        }
    )
    (record,) = share_records(table)
    assert record["nulls"] == {"random directions": 0.1}
    assert (record["n"], record["verdict"]) == (40, "above every null")


def test_json_has_no_nan() -> None:
    assert to_json({"a": (np.float32("nan"), np.int64(2)), "p": Path("x")}) == {"a": [None, 2], "p": "x"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "fast"}, "preset must be one of"),
        ({"gene_sets": ()}, "needs gene sets"),
        ({"seeds": 0}, "`seeds` must be at least 1"),
        ({"id_table": Path("t.csv")}, "two columns"),
        ({"id_columns": ("a", "b")}, "two columns"),
    ],
)
def test_options_check_themselves(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RunOptions(data=Path("a.h5ad"), output=Path("o"), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gene_sets": ("bundled",)}, "genes of the sets must be measured"),
        ({"gene_symbols": "no such"}, "column of gene symbols must exist"),
        ({"layer": "no such"}, "layer must exist"),
        ({"networks": ("no such.csv",)}, "must exist"),
        ({"ontology": Path("no such.obo")}, "must exist"),
        ({"id_table": Path("no such.csv"), "id_columns": ("a", "b")}, "must exist"),
        ({"labels": ("age", "no such")}, "column must exist"),
        ({"strata": "no such"}, "column must exist"),
        ({"expression_state": "adt=counts"}, "modalities that there are"),
        ({"k": 20}, "cannot exceed"),
        ({"width": 12, "k": 3, "activation": "relu"}, "--k does not apply"),
        ({"recipe": "cells.h5ad", "width": None, "k": None}, "UTF-8"),
        ({"recipe": "sets.gmt", "width": None, "k": None}, "YAML"),
    ],
    ids=lambda one: next(iter(one)) if isinstance(one, dict) else "",
)
def test_what_can_be_known_is_refused_before_an_embedding_is_trained(
    inputs: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    message: str,
) -> None:
    def trained(*_: Any, **__: Any) -> None:
        raise AssertionError("an embedding is trained")

    monkeypatch.setattr(embed, "train", trained)
    monkeypatch.chdir(tmp_path)
    asked: dict[str, Any] = {"embed": "pca", "gene_sets": (str(inputs[1]),), "width": 16, "k": 3} | options
    with pytest.raises(InputError, match=message):
        run(RunOptions(data=inputs[0], output=tmp_path / "out", **asked))
