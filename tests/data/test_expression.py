from __future__ import annotations

import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import scanpy as sc
import scipy.sparse as sp
from helpers import counts_adata, multimodal

from cellprism.data.expression import as_expression, measured_expression, take_matrices, take_matrix
from cellprism.data.state import recognise, to_log1p
from cellprism.errors import InputError


def test_counts_become_what_scanpy_makes_of_them() -> None:
    cells = counts_adata()
    expected = cells.copy()
    sc.pp.normalize_total(expected, target_sum=1e4)
    sc.pp.log1p(expected)
    found = measured_expression(cells)
    np.testing.assert_allclose(found.values.toarray(), expected.X.toarray(), rtol=1e-5)
    np.testing.assert_allclose(found.depth, cells.X.sum(axis=1).A1 if hasattr(cells.X.sum(axis=1), "A1") else 0)
    assert found.states == {"rna": "counts"}


def test_states_are_recognised() -> None:
    counts = sp.csr_array(counts_adata().X)
    scaled = counts.copy()
    scaled.data = scaled.data * 100.5
    assert recognise(counts) == "counts"
    assert recognise(scaled) == "counts"  # times one number, so that depth is still in them
    assert recognise(to_log1p(counts, "counts")) == "log1p"
    np.testing.assert_allclose(to_log1p(scaled, "normalised").data, np.log1p(scaled.data))
    assert to_log1p(counts, "log1p") is counts


def test_a_cell_without_counts_stays_zero() -> None:
    values = sp.csr_array(np.array([[0, 0], [3, 1]], dtype=np.float32))
    np.testing.assert_allclose(to_log1p(values, "counts").toarray(), [[0, 0], np.log1p([7500, 2500])])


BAD = {
    "scaled": (np.array([[-1.0, 2.5]]), "must not be negative"),
    "nan": (np.array([[np.nan, 2.0]]), "must be finite"),
    "zero": (np.zeros((2, 2)), "zero everywhere"),
}


@pytest.mark.parametrize("case", BAD)
def test_unusable_values_are_refused(case: str) -> None:
    values, message = BAD[case]
    with pytest.raises(InputError, match=message):
        measured_expression(ad.AnnData(values.astype(np.float32)))


def test_refusal_names_what_else_the_file_holds() -> None:
    cells = counts_adata()
    cells.layers["counts"] = cells.X.copy()
    cells.raw = cells.copy()
    cells.X = cells.X.toarray() - 1
    with pytest.raises(InputError, match="try `raw=True` or `layer='counts'`"):
        measured_expression(cells)
    assert measured_expression(cells, layer="counts").states == {"rna": "counts"}
    assert measured_expression(cells, raw=True).states == {"rna": "counts"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": "x"}, "there are none"),
        ({"raw": True}, "needs an AnnData with .raw"),
        ({"raw": True, "layer": "x"}, "one place"),
        ({"gene_symbols": "x"}, "there are 'symbol'"),
    ],
)
def test_places_that_do_not_exist_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        measured_expression(counts_adata(), **options)


def test_symbols_come_from_their_column_with_nan_as_empty() -> None:
    cells = counts_adata()
    cells.var["symbol"] = [None, "", "nan"] + ["S"] * 27
    matrix = take_matrix(cells, gene_symbols="symbol")
    assert matrix.symbols[:4] == ("", "", "nan", "S")
    assert matrix.genes[:2] == ("G0", "G1")


def test_symbols_of_raw_are_found_in_var() -> None:
    cells = counts_adata()
    bare = ad.AnnData(cells.X, obs=cells.obs, var=cells.var[[]])
    cells.raw = bare
    assert take_matrix(cells, raw=True, gene_symbols="symbol").symbols[0] == "S0"


def test_repeated_gene_names_get_suffixes_and_keep_their_symbol() -> None:
    cells = counts_adata(n_genes=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cells.var_names = ["A", "A", "B"]
        matrix = take_matrix(cells)
    assert matrix.genes == ("A", "A-1", "B")
    assert matrix.symbols == ("A", "A", "B")


def test_backed_files_are_accepted(tmp_path: Path) -> None:
    cells = counts_adata()
    cells.write_h5ad(tmp_path / "a.h5ad")
    dense = cells.copy()
    dense.X = dense.X.toarray()
    dense.write_h5ad(tmp_path / "d.h5ad")
    for name in ("a.h5ad", "d.h5ad"):
        backed = ad.read_h5ad(tmp_path / name, backed="r")
        np.testing.assert_array_equal(take_matrix(backed).values.toarray(), cells.X.toarray())
        backed.file.close()


def test_modalities_lie_side_by_side() -> None:
    rna, protein = counts_adata(), counts_adata(n_genes=4, seed=1)
    protein.var_names = ["G0", "P1", "P2", "P3"]
    both = multimodal(rna=rna, protein=protein)
    found = measured_expression(both)
    assert found.values.shape == (60, 34)
    assert found.modality[29:31] == ("rna", "protein")
    assert len(set(found.genes)) == 34
    np.testing.assert_allclose(found.values[:, 30:].toarray(), measured_expression(protein).values.toarray())


def test_the_tested_half_replaces_the_counts() -> None:
    cells = counts_adata()
    half = sp.csr_array(cells.X // 2 if not sp.issparse(cells.X) else sp.csr_array(cells.X.toarray() // 2))
    found = as_expression(take_matrices(cells), {"rna": half})
    np.testing.assert_allclose(found.depth, half.sum(axis=1))


def test_symbols_that_raw_lacks_are_told_as_such() -> None:
    cells = counts_adata()
    wide = ad.AnnData(sp.csr_matrix(np.ones((60, 40))), obs=cells.obs)
    wide.var_names = [f"other{i}" for i in range(40)]
    wide.var["id"] = "x"
    cells.raw = wide
    with pytest.raises(InputError) as caught:
        take_matrix(cells, raw=True, gene_symbols="symbol")
    assert str(caught.value) == (
        "The column of gene symbols must exist in .raw.var; met 'symbol'; there are 'id'; var has it, but .raw holds 40 other "
        "genes. Remedy: leave `raw=True` out, or give the symbols as a table of names (`id_table=`)."
    )


def test_a_file_without_x_is_told_what_else_it_holds() -> None:
    cells = counts_adata()
    bare = ad.AnnData(obs=cells.obs, var=cells.var, layers={"spliced": cells.X})
    with pytest.raises(InputError, match=r"no X\. Remedy: try `layer='spliced'`") as caught:
        take_matrix(bare)
    assert "raw" not in caught.value.remedy
    with pytest.raises(InputError, match="store counts or log1p"):
        take_matrix(ad.AnnData(obs=cells.obs, var=cells.var))


def test_the_layer_that_newer_anndata_calls_none_is_no_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Layers(dict):  # type: ignore[type-arg]
        """Layers as AnnData 0.13 lists them: X among them, under None."""

    cells = counts_adata()
    cells.X = cells.X.toarray() - 1
    for held, words in (
        ({None: cells.X, "counts": cells.X}, "try `layer='counts'`"),
        ({None: cells.X}, "store counts"),
    ):
        monkeypatch.setattr(ad.AnnData, "layers", property(lambda _, held=held: Layers(held)))
        with pytest.raises(InputError) as caught:
            take_matrix(cells)
        assert caught.value.remedy.startswith(words)
        with pytest.raises(InputError, match="layer must exist") as caught:
            take_matrix(cells, layer="spliced")
        assert "None" not in caught.value.met
