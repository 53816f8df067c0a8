"""What people bring to `run`, `annotate` and `tl.annotate`: each situation has its right value, end to end."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from cli_runner import call
from helpers import counts_adata, multimodal, type_sets

import cellprism.run.prepare as preparing
from cellprism import embed, tl
from cellprism.errors import InputError
from cellprism.genesets.gmt import write_gmt
from cellprism.report.from_anndata import source_of
from cellprism.run import RunFolder, RunOptions, run
from cellprism.run.evaluation import evaluate_folder
from cellprism.run.knowledge import cell_columns
from cellprism.sae.config import SAEConfig

N = 200
I = np.arange(N)


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    write_gmt(type_sets(40), tmp_path / "sets.gmt")
    return tmp_path / "sets.gmt"


def study() -> ad.AnnData:
    cells = counts_adata(N, 40)
    cells.obs = cells.obs.drop(columns="donor")
    return cells


def go(cells: ad.AnnData | mudata.MuData, sets: Path, **options: Any) -> RunFolder:
    suffix = "h5mu" if isinstance(cells, mudata.MuData) else "h5ad"
    data, out = sets.parent / f"cells.{suffix}", sets.parent / f"out{len(list(sets.parent.glob('out*')))}"
    with mudata.set_options(pull_on_update=False), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cells.write(data)
    chosen: dict[str, Any] = {"rep": "X_emb", "width": 12, "k": 3, "seeds": 1, "epochs": 20, "preset": "demo"} | options
    return run(RunOptions(data=data, output=out, gene_sets=(str(sets),), **chosen))


def same_tests(a: RunFolder, b: RunFolder) -> None:
    """Equal tables of genes: the features are the same, as the embedding is."""
    pd.testing.assert_frame_equal(a.genes.reset_index(drop=True), b.genes.reset_index(drop=True))


# -- modalities --------------------------------------------------------------------------------------------------


def test_the_order_of_a_modality_changes_nothing(sets: Path) -> None:
    rna = study()
    adt = counts_adata(N, 6, seed=1)
    adt.var_names = [f"P{i}" for i in range(6)]
    found = []
    for order in (slice(None), slice(None, None, -1)):
        both = multimodal(rna=rna.copy(), adt=adt[order].copy())
        both.obsm["X_emb"] = rna[both.obs_names].obsm["X_emb"]
        both.obsm["X_umap"] = rna[both.obs_names].obsm["X_umap"]
        found.append(go(both, sets))
    same_tests(*found)
    assert found[0].info["expression_states"] == {"rna": "counts", "protein": "counts"}
    assert "'adt' is taken as the modality 'protein'" in found[0].info["warnings"]


@pytest.mark.slow
def test_what_was_trained_on_which_modalities_is_said(sets: Path) -> None:
    rna, prot = study(), counts_adata(N, 6, seed=1)
    prot.var_names = [f"P{i}" for i in range(6)]
    lines: list[str] = []
    both = multimodal(rna=rna, prot=prot)
    both.obsm["X_umap"] = rna.obsm["X_umap"]
    with mudata.set_options(pull_on_update=False):
        both.write(sets.parent / "both.h5mu")
    chosen: dict[str, Any] = {"width": 12, "k": 3, "seeds": 1, "epochs": 5, "preset": "demo", "gene_sets": (str(sets),)}
    data = sets.parent / "both.h5mu"
    options = RunOptions(data=data, output=sets.parent / "out", embed="pca", components=4, **chosen)
    folder = run(options, lines.append)
    assert "trained pca of rna" in lines
    assert folder.info["embedding_source"] == "pca of rna, trained in this run"
    assert (
        "the embedding knows nothing of the modalities protein: pca of rna, trained in this run"
        in folder.info["warnings"]
    )
    both = go(both, sets, rep=None, embed="dgd", components=3)
    assert both.info["embedding_source"] == "dgd of rna and protein, trained in this run"


def test_proteins_that_scvi_tools_keeps_in_obsm_are_tested(sets: Path) -> None:
    cells = study()
    names = ["CD3", "CD4", "G1"]  # one has the name of a gene
    counts = np.random.default_rng(0).poisson(4, (N, 3))
    cells.obsm["protein_expression"] = pd.DataFrame(counts, index=cells.obs_names, columns=names)
    folder = go(cells, sets, labels=("cell_type",))
    assert set(folder.genes["modality"].astype(str)) == {"rna", "protein"}
    assert folder.info["label_columns"] == ["cell_type"]


def test_proteins_in_obsm_are_tested_in_python_as_in_a_run(sets: Path) -> None:
    cells = cite(obsm=True)
    tl.fit(cells, "X_emb", seeds=1, epochs=1)
    found = tl.annotate(cells, type_sets(40), nulls=(), keep="all")
    assert found.genes["modality"].astype(str).groupby(found.genes["gene"].astype(str)).first()["P0"] == "protein"
    assert set(found.genes["modality"].astype(str)) == {"rna", "protein"}
    assert cells.n_vars == 40
    cells.obsm["protein_expression"] = np.log1p(cells.obsm["protein_expression"])
    with pytest.warns(UserWarning, match="holds no counts"):
        found = tl.annotate(cells, type_sets(40), nulls=())
    assert set(found.genes["modality"].astype(str)) == {"rna"}


@pytest.mark.parametrize("told", ["obsm:protein_expression", "mod:adt"])
def test_rivals_do_not_read_the_truth(sets: Path, told: str) -> None:
    """A protein that is asked for would find itself among the columns of expression: F1 1."""
    cells = study()
    rng = np.random.default_rng(0)
    names = [f"P{i}" for i in range(6)]
    high = rng.random((N, 6)) < 0.4  # known to no gene
    counts = rng.poisson(np.where(high, 60, 4))
    if told == "mod:adt":
        adt = ad.AnnData(sp.csr_matrix(counts.astype(np.float32)), obs=pd.DataFrame(index=cells.obs_names))
        adt.var_names = names
        brought = multimodal(rna=cells.copy(), adt=adt)
        brought.obsm["X_emb"], brought.obsm["X_umap"] = cells.obsm["X_emb"], cells.obsm["X_umap"]
    else:
        brought = cells
        brought.obsm["protein_expression"] = pd.DataFrame(counts, index=cells.obs_names, columns=names)
    folder = go(brought, sets)
    assert folder.info["modalities"] == {"expression": {"rna": 40, "protein": 6}, "embedding": None}
    found = evaluate_folder(folder, truth=[told], full=False)
    single = found.table[(found.table["measure"] == "probe_f1") & (found.table["dictionary"] == "gene")]
    assert set(single["target"]) == {"mean", *(f"{name}: high" for name in names)}
    assert single["value"].max() < 0.8
    assert "without protein: the truth is measured there" in found.notes[-1]


@pytest.mark.parametrize("thin", [True, False])
def test_expression_is_read_once(sets: Path, thin: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[object] = []
    taken = preparing.taken_matrices

    def noted(*args: Any, **more: Any) -> Any:
        reads.append(args)
        return taken(*args, **more)

    monkeypatch.setattr(preparing, "taken_matrices", noted)
    folder = go(study(), sets, rep=None, embed="pca", components=4, thin=thin)
    assert folder.info["thinned"] is thin
    assert len(reads) == 1


def test_rivals_read_what_the_embedding_was_made_of(sets: Path) -> None:
    rna, prot = study(), counts_adata(N, 6, seed=1)
    prot.var_names = [f"P{i}" for i in range(6)]
    rna.obs["kind"] = np.where(prot.X[:, 0].toarray().ravel() > 3, "a", "b")  # a protein alone tells it
    both = multimodal(rna=rna, prot=prot)
    both.obs["kind"] = rna.obs["kind"]
    both.obsm["X_umap"] = rna.obsm["X_umap"]
    folder = go(both, sets, rep=None, embed="pca", components=4, labels=("kind",))
    assert folder.info["modalities"] == {"expression": {"rna": 40, "protein": 6}, "embedding": ["rna"]}
    assert any("without protein: the embedding was not made of it" in n for n in folder.info["evaluation"]["notes"])
    single = folder.evaluation[(folder.evaluation["measure"] == "probe_f1") & (folder.evaluation["k"] == 1)]
    values = single[single["target"] == "kind: a"].set_index("dictionary")["value"]
    assert values["gene"] < 0.95


# -- strata, donors and what is missing in them ------------------------------------------------------------------


@pytest.mark.parametrize("role", ["strata", "donor"])
@pytest.mark.parametrize("gap", [None, np.nan])
@pytest.mark.parametrize("kind", ["object", "category"])
def test_cells_without_a_batch_are_left_out_and_said(sets: Path, role: str, gap: Any, kind: str) -> None:
    cells = study()
    batch = np.where(I % 2, "b1", "b2").astype(object)
    cells.obs["batch"] = pd.Series(np.where(I < 20, gap, batch), index=cells.obs_names).astype(kind)
    folder = go(cells, sets, **{role: "batch"})
    assert folder.info["annotation"]["unit"] == "cell"
    assert folder.info["annotation"]["n_cells"] == N - 20
    text = " ".join(folder.info["warnings"])
    assert "20 of 200 cells without a" in text
    assert "left out of the tests" in text
    assert set(folder.cells["batch"].dropna()) == {"b1", "b2"}


def test_a_stray_cell_of_a_third_batch_changes_nothing_but_a_note(sets: Path) -> None:
    cells = study()
    cells.obs["two"] = np.where(I % 2, "b1", "b2")
    cells.obs["stray"] = np.where(I == 7, "b3", cells.obs["two"])
    two, stray = go(cells, sets, strata="two"), go(cells, sets, strata="stray")
    assert [f.info["annotation"]["unit"] for f in (two, stray)] == ["cell", "cell"]
    assert [f.features["untestable"].ne("").sum() for f in (two, stray)] == [0, 0] or (
        two.features["untestable"].ne("").sum() == stray.features["untestable"].ne("").sum()
    )
    assert two.info["warnings"] == []
    assert "1 of 200 cells of the stratum 'b3'" in stray.info["warnings"][0]
    passing = [(f.genes["qval"] < 0.05).sum() for f in (two, stray)]
    assert abs(passing[0] - passing[1]) <= 0.1 * passing[0] + 2


def test_a_model_is_not_told_a_batch_that_cells_lack(sets: Path) -> None:
    cells = study()
    cells.obs["batch"] = np.where(I < 20, None, np.where(I % 2, "b1", "b2"))
    with pytest.raises(InputError, match="20 of 200 cells without a value in 'batch'"):
        go(cells, sets, rep=None, embed="dgd", components=3, strata="batch")


def test_donors_may_be_many_and_are_kept_but_not_tested_as_labels(
    sets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """More of them than labels may have."""
    cells, i = counts_adata(1000, 40), np.arange(1000)
    cells.obs["donor"] = [f"d{k // 4}" for k in i]
    cells.obs["number"] = i // 4
    cells.obs["arm"] = np.where(i // 4 % 2, "case", "control")
    cells.obs["batch"] = np.where(i % 4 < 2, "b1", "b2")
    for role, column in (("donor", "donor"), ("donor", "number"), ("strata", "donor")):
        folder = go(cells, sets, labels=("cell_type",), **{role: column})
        assert set(folder.labels["column"].astype(str)) == {"cell_type", "depth"}
        assert folder.info["annotation"]["unit"] == "cell"
        assert folder.cells[column].nunique() == 250
        assert set(folder.cells) >= {"arm", "batch", "donor", column}
        assert len(folder.evaluation)
    result = call(capsys, "differential", folder.path, "--by", "arm", "--donor", "donor", "-o", sets.parent / "diff")
    assert result.code == 0, result.err


@pytest.mark.parametrize("of_two", [0, 1, 3])
def test_one_donor_is_no_unit_and_stops_nothing(sets: Path, of_two: int) -> None:
    cells = study()
    cells.obs["donor"] = np.where(of_two > I, "second", "first")
    folder = go(cells, sets, donor="donor", labels=("cell_type",))
    assert folder.info["annotation"]["unit"] == "cell"
    assert folder.info["annotation"]["n_cells"] == N - (of_two == 1)
    assert any("cells are the unit of the tests" in w for w in folder.info["warnings"])


def test_a_feature_that_reads_the_stratum_is_marked_by_its_name(sets: Path) -> None:
    cells = study()
    cells.obs["pool"] = cells.obs["cell_type"].to_numpy()
    folder = go(cells, sets, strata="pool")
    assert folder.features["confound"].str.startswith("pool type").any()


def test_strata_of_numbers_with_fractions_are_refused(sets: Path) -> None:
    with pytest.raises(InputError, match="trata are categories; met numbers with fractions in 'age'"):
        go(study(), sets, strata="age")
    cells = study()
    cells.obs["pool"] = pd.array(I % 2)
    cells.obs["text"] = cells.obs["age"].astype(object)
    with pytest.raises(InputError, match="trata are categories; met numbers asked for in 'pool'"):
        cell_columns(cells, ["cell_type"], "pool:number")
    with pytest.raises(InputError, match="onors are categories; met numbers with fractions in 'text'"):
        cell_columns(cells, ["cell_type"], None, "text")
    cells.obs["dose"] = np.array([0.5, 1.5])[I % 2]  # levels, where the user says so
    for asked in ("pool", "pool:category", "dose:category"):
        found = cell_columns(cells, ["cell_type"], asked).strata
        assert found is not None
        assert found.name == asked.removesuffix(":category")
        assert found.nunique() == 2


# -- labels ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["None", "nan", "<NA>", "NA"])
def test_a_category_called_none_is_one(sets: Path, word: str) -> None:
    cells = study()
    cells.obs["drug"] = np.array([word, "IFNb", "TNF"], dtype=object)[I % 3]
    cells.obs["arm"] = np.array([word, "treated"], dtype=object)[I % 2]
    folder = go(cells, sets, labels=("arm", "drug", "cell_type"))
    values = folder.labels.astype(str).groupby("column")["value"].agg(set)
    assert values["drug"] == {word, "IFNb", "TNF"}
    assert values["arm"] == {word, "treated"}


def test_a_first_label_without_kinds_does_not_stop_the_run(sets: Path) -> None:
    cells = study()
    cells.obs["doublet"] = I == 5
    folder = go(cells, sets, labels=("doublet", "cell_type"))
    other = go(cells, sets, labels=("cell_type", "doublet"))
    assert folder.features["kind"].tolist() == other.features["kind"].tolist()
    assert set(folder.features["kind"]) <= {"local", "regional", "global", "dead"}
    alone = go(cells, sets, labels=("doublet",))
    assert set(alone.features["kind"]) == {""}


GAPS = ("Int64", "boolean", "string", "category", "object", "Float64")


def with_gaps(cells: ad.AnnData) -> ad.AnnData:
    """A column of two values of each type, ten cells without one."""
    for dtype in GAPS:
        values: Any = {"Int64": I % 2, "Float64": I % 2, "boolean": I % 2 == 0}.get(dtype, np.where(I % 2, "a", "b"))
        column = pd.Series(values, index=cells.obs_names).astype(dtype)
        column[I < 10] = None if dtype == "object" else pd.NA
        cells.obs[dtype] = column
    return cells


def test_nullable_columns_with_gaps_in_a_run(sets: Path) -> None:
    cells = with_gaps(study())
    kept = [dtype for dtype in GAPS if dtype != "Float64"]  # which AnnData cannot write
    del cells.obs["Float64"]
    folder = go(cells, sets, labels=tuple(kept))
    assert (folder.cells[kept].isna().sum() == 10).all()
    assert folder.labels.groupby("column", observed=True)["value"].nunique().drop("depth").eq(2).all()
    assert sum("10 of 200 cells have no value" in w for w in folder.info["warnings"]) == len(kept)
    for role in ("strata", "donor"):
        one = go(cells, sets, **{role: "Int64"})
        assert one.info["annotation"]["n_cells"] == N - 10
        assert any("10 of 200 cells without a" in w for w in one.info["warnings"])


def test_nullable_columns_with_gaps_in_python() -> None:
    cells = with_gaps(study())
    tl.fit(cells, "X_emb", seeds=1, epochs=1)
    for dtype in GAPS:
        for role in ("labels", "donor", "strata"):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                found = tl.annotate(cells, {}, **{role: [dtype] if role == "labels" else dtype}, nulls=())
            assert any("10 of 200 cells" in str(w.message) for w in caught)
            assert found.info["n_cells"] == (N if role == "labels" else N - 10)


def test_whether_a_column_is_categories_or_numbers_can_be_said(sets: Path) -> None:
    cells = study()
    cells.obs["f"] = (cells.obs["cell_type"] == "type 0").astype(float)
    cells.obs["many"] = (I % 2) * 20 + I // 10
    folder = go(cells, sets, labels=("f", "many", "f:category"))
    by = folder.labels.astype({"value": str, "column": str}).groupby("column")
    assert by["value"].agg(set)["f"] == {"0", "1"}
    assert by["value"].nunique()["many"] == 40
    assert by["auroc"].max()["f"] > 0.7
    assert folder.info["warnings"] == [
        "'many' holds whole numbers and is taken as 40 categories: `labels='many:number'` takes them as numbers"
    ]
    numbers = go(cells, sets, labels=("f:number",))
    assert numbers.labels.query("column == 'f'")["spearman"].notna().all()
    assert numbers.info["label_columns"] == ["f"]


@pytest.mark.parametrize("name", ["cell", "x", "y", "depth", "mitochondrial share"])
def test_columns_with_names_of_ours(sets: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    cells = study()
    cells.obs[name] = np.where(I % 2, "a", "b")
    cells.write_h5ad(sets.parent / "c.h5ad")
    arguments = ("run", sets.parent / "c.h5ad", "--rep", "X_emb", "--gene-sets", sets, "-o", sets.parent / "o")
    for option in ("--labels", "--strata", "--donor"):
        result = call(capsys, *arguments, option, name)
        assert result.code == 2
        assert f"'{name}'" in result.err
    folder = go(cells, sets)
    assert folder.cells[f"obs:{name}"].tolist() == cells.obs[name].tolist()
    np.testing.assert_allclose(folder.cells[["x", "y"]], cells.obsm["X_umap"], atol=1e-6)


# -- expression --------------------------------------------------------------------------------------------------


def test_depth_is_a_covariate_in_python_as_in_a_run(sets: Path) -> None:
    cells = counts_adata(400, 40)
    folder = go(cells, sets)
    tl.fit(cells, "X_emb", seeds=1, epochs=1)
    found = tl.annotate(cells, type_sets(40), nulls=())
    assert found.info["n_strata"] == folder.info["annotation"]["n_strata"] == 8
    assert tl.annotate(cells, type_sets(40), nulls=(), depth=None).info["n_strata"] == 1


def test_counts_with_fractions_are_scaled_by_depth_when_told(sets: Path) -> None:
    cells = counts_adata(400, 40)
    counts = cells.X.toarray()
    cells.X = sp.csr_matrix(
        np.maximum(
            counts - 0.1 * counts.sum(axis=1, keepdims=True) * counts.mean(axis=0) / counts.mean(axis=0).sum(), 0
        )
    )
    for options in ({"rep": "X_emb"}, {"rep": None, "embed": "pca", "components": 4}):
        with pytest.raises(InputError, match="vary on every scale"):
            go(cells, sets, **options)
        folder = go(cells, sets, expression_state="counts", **options)
        assert folder.info["expression_states"] == {"rna": "counts"}
        assert folder.info["annotation"]["n_strata"] == 8
        assert not folder.info["thinned"]
    tl.fit(cells, "X_emb", seeds=1, epochs=1)
    with pytest.raises(InputError, match="vary on every scale"):
        tl.annotate(cells, type_sets(40), nulls=())
    assert tl.annotate(cells, type_sets(40), nulls=(), expression_state="counts").info["n_strata"] == 8


def test_an_input_that_changes_while_it_is_read_is_refused(sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = study()
    go(cells, sets)
    reader = preparing.read_cells

    def replaced(path: Path, **options: Any) -> Any:
        found = reader(path, **options)
        Path(path).write_bytes(Path(path).read_bytes() + b" ")
        return found

    monkeypatch.setattr(preparing, "read_cells", replaced)
    with pytest.raises(InputError, match="h5ad changed"):
        go(cells, sets)

    def removed(path: Path, **options: Any) -> Any:
        found = reader(path, **options)
        Path(path).unlink()
        return found

    monkeypatch.setattr(preparing, "read_cells", removed)
    with pytest.raises(InputError, match="h5ad was removed"):
        go(cells, sets)


# -- stored forms ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["array", "csr", "csc", "table"])
def test_obsm_is_read_in_one_way_everywhere(sets: Path, form: str) -> None:
    cells = study()
    plain = go(cells, sets)
    for key in ("X_emb", "X_umap"):
        values = np.asarray(cells.obsm[key])
        cells.obsm[key] = (
            values if form == "array" else pd.DataFrame(values, index=cells.obs_names, columns=[f"d{i}" for i in range(values.shape[1])])
            if form == "table" else getattr(sp, f"{form}_matrix")(values)
        )  # fmt: skip
    folder = go(cells, sets)
    same_tests(plain, folder)
    assert folder.info["map_source"] == "obsm['X_umap']"
    tl.fit(cells, "X_emb", seeds=1, epochs=1)
    tl.annotate(cells, type_sets(40))
    cells.obs["x"] = pd.array(np.where(I % 2, "a", None), dtype="string")
    cells.obs["arm"] = pd.array(np.where(I % 2, "a", "b"), dtype="string")
    source = source_of(cells)
    np.testing.assert_allclose(source.cells[["x", "y"]], folder.cells[["x", "y"]], atol=1e-6)
    assert list(source.cells)[:3] == ["cell", "cell_type", "arm"]


def test_results_do_not_take_the_place_of_what_adata_holds() -> None:
    cells = study()
    with pytest.raises(InputError, match=r"obsm\['X_emb'\], which is not of fit"):
        tl.fit(cells, "X_emb", key="emb", seeds=1, epochs=1)
    cells.uns["log1p"] = {"base": None}
    with pytest.raises(InputError, match=r"uns\['log1p'\]"):
        tl.fit(cells, "X_emb", key="log1p", seeds=1, epochs=1)
    for _ in range(2):  # its own result may be made anew
        tl.fit(cells, "X_emb", seeds=1, epochs=1)


def test_codes_of_a_run_are_joined_by_name(sets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = study()
    folder = go(cells, sets, labels=("cell_type",))
    turned = cells[::-1].copy()
    turned.write_h5ad(sets.parent / "turned.h5ad")
    tables = []
    for data in ("cells.h5ad", "turned.h5ad"):
        out = sets.parent / f"an-{Path(data).stem}"
        result = call(
            capsys, "annotate", folder.path / "codes.npz", sets.parent / data, "--gene-sets", sets,
            "--labels", "cell_type", "-o", out,
        )  # fmt: skip
        assert result.code == 0, result.err
        assert "joined by the names in cells.parquet" in result.err
        tables.append(pd.read_parquet(out / "labels.parquet"))
    pd.testing.assert_frame_equal(*tables)
    cells[:50].copy().write_h5ad(sets.parent / "cells.h5ad")
    (sets.parent / "codes.npz").write_bytes((folder.path / "codes.npz").read_bytes())
    result = call(capsys, "annotate", sets.parent / "codes.npz", sets.parent / "cells.h5ad", "-o", sets.parent / "an3")
    assert result.code == 2
    assert "200 rows and 50 cells" in result.err


def test_models_trained_before_are_still_read(sets: Path) -> None:
    folder = go(study(), sets, rep=None, embed="pca", components=4)
    assert embed.load(folder.path / "model").modalities == ("rna",)


def cite(*, first: str = "rna", obsm: bool = False) -> ad.AnnData | mudata.MuData:
    """RNA that knows the types, and six proteins of which the first two are high in cells of their own."""
    cells = study()
    rng = np.random.default_rng(0)
    counts = rng.poisson(np.where(rng.random((N, 6)) < 0.4, 60, 4))
    names = [f"P{i}" for i in range(6)]
    if obsm:
        cells.obsm["protein_expression"] = pd.DataFrame(counts, index=cells.obs_names, columns=names)
        return cells
    adt = ad.AnnData(sp.csr_matrix(counts.astype(np.float32)), obs=pd.DataFrame(index=cells.obs_names))
    adt.var_names = names
    parts = {"rna": cells.copy(), "adt": adt}
    both = multimodal(**{name: parts[name] for name in (first, *(set(parts) - {first}))})
    both.obsm["X_emb"], both.obsm["X_umap"] = cells.obsm["X_emb"], cells.obsm["X_umap"]
    both.obs["kind"] = np.where(np.arange(N) % 3 == 0, "a", "b")  # of the whole, of no modality
    return both


@pytest.mark.parametrize("told", ["obsm:protein_expression", "mod:protein", "mod:prot"])
def test_proteins_in_obsm_are_asked_for_as_the_modality_that_they_became(sets: Path, told: str) -> None:
    folder = go(cite(obsm=True), sets)
    found = evaluate_folder(folder, truth=[told], full=False)
    assert set(found.features["target"]) == {f"P{i}: high" for i in range(6)}
    with pytest.raises(InputError, match="'P0' twice"):
        evaluate_folder(folder, truth=["obsm:protein_expression", "mod:protein"], full=False)


@pytest.mark.parametrize("first", ["rna", "adt"])
def test_the_order_of_modalities_means_nothing_to_an_evaluation(
    sets: Path, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = go(cite(first=first), sets, rep=None, embed="pca", components=4)
    found = evaluate_folder(folder, truth=["kind", "cell_type"], full=False)
    assert {t.split(":")[0] for t in found.features["target"]} == {"kind", "cell_type"}
    planted: list[list[str]] = []
    monkeypatch.setattr(
        "cellprism.run.spike_in.spike_in", lambda counts, genes, **_: planted.append(list(genes)) or stop()
    )
    with pytest.raises(InputError, match="that will do"):
        evaluate_folder(folder, truth=["kind"], full=False, spike_in=1)
    assert planted == [[f"G{i}" for i in range(40)]]


def stop() -> None:
    raise InputError("enough was seen", "the genes", "that will do")


def test_programmes_are_planted_in_one_modality(sets: Path) -> None:
    folder = go(cite(), sets, rep=None, embed="dgd", components=3)
    with pytest.raises(InputError, match="an embedding of rna and protein"):
        evaluate_folder(folder, truth=["kind"], full=False, spike_in=1)


def test_a_column_and_a_table_of_one_name_are_both_asked_for(sets: Path) -> None:
    cells = study()
    cells.obs["state"] = np.where(I % 2 == 0, "a", "b")
    cells.obsm["state"] = pd.DataFrame({"P0": np.where(I % 3 == 0, 50, 2)}, index=cells.obs_names)
    found = evaluate_folder(go(cells, sets), truth=["state", "obsm:state"], full=False)
    assert set(found.features["target"]) == {"state: a", "state: b", "P0: high"}


def test_the_column_that_the_sets_are_named_by_is_told(
    sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = study()
    cells.var["biotype"], cells.var["human_symbol"] = "coding", cells.var_names
    cells.var_names = [f"ENSMUSG{i:011d}" for i in range(cells.n_vars)]
    cells.obsm["X_z"] = np.random.default_rng(0).normal(size=(N, 6)).astype(np.float32)
    cells.write_h5ad(tmp_path / "cells.h5ad")
    hint = f"gene_symbols='human_symbol'`: {len(set().union(*type_sets(40).values()))} genes of the sets"
    tl.fit(cells, rep="X_z", cfg=SAEConfig(8, "topk", k=2), epochs=2, seeds=1)
    with pytest.raises(InputError, match=hint):
        tl.annotate(cells, gene_sets=type_sets(40))
    options = ["--rep", "X_z", "--gene-sets", str(sets), "-o", str(tmp_path / "out")]
    spoken = hint.replace("gene_symbols='human_symbol'`", "--gene-symbols human_symbol")
    told = call(capsys, "run", tmp_path / "cells.h5ad", *options)
    assert told.code == 2
    assert spoken in told.err
    found = tl.annotate(cells, gene_sets=type_sets(40), gene_symbols="human_symbol", nulls=())
    assert len(found.sets) > 0
