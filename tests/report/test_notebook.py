"""The page of an AnnData, and in a notebook."""

import html
import re

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from cellprism import pl
from cellprism.errors import InputError
from cellprism.report import view
from cellprism.report.bundle import bundle
from cellprism.report.from_anndata import source_of
from cellprism.report.pack import unpack


@pytest.fixture
def adata(small_run):
    """What the AnnData functions leave behind, made of the tables of a run."""
    cells = pd.read_parquet(small_run / "cells.parquet").set_index("cell")
    made = ad.AnnData(obs=cells[["cell_type", "n_counts"]])
    made.obsm["X_prism"] = sparse.csr_matrix(sparse.load_npz(small_run / "codes.npz"))
    made.obsm["X_pca"] = np.load(small_run / "embedding.npy")
    made.obsm["X_umap"] = cells[["x", "y"]].to_numpy()
    tables = {n: pd.read_parquet(small_run / f"{n}.parquet") for n in ("features", "genes", "sets", "labels")}
    claims = ["testable features", "features with a gene at q < 0.05"]
    shares = pd.DataFrame({"claim": claims, "observed": [48.0, 0.9], "random": [48.0, 0.4], "permuted": [48.0, np.nan]})
    made.uns["prism"] = {"rep": "X_pca", "metrics": {"explained_variance": 0.9}, "shares": shares, **tables}
    return made


def test_source_is_that_of_the_run(adata, small_run):
    blocks = bundle(source_of(adata)).blocks
    meta = unpack(blocks["overview"])[1]
    assert (meta["n_cells"], meta["n_features"]) == (600, 48)
    assert meta["shares"] == [{"claim": "features with a gene at q < 0.05", "observed": 0.9, "nulls": {"random": 0.4}}]
    assert meta["label_columns"] == ["cell_type"]
    columns = unpack(blocks["cells"])[1]["columns"]
    assert [c["name"] for c in columns] == ["cell_type"]


def test_features_without_annotation_have_a_page(adata):
    for table in ("features", "genes", "sets", "labels", "shares"):
        del adata.uns["prism"][table]
    adata.uns["prism"]["stability"] = np.full(adata.obsm["X_prism"].shape[1], 0.5)
    arrays, meta = unpack(bundle(source_of(adata)).blocks["features"])
    assert meta["name"][0].startswith("feature ")
    assert (arrays["stability"] == 0.5).all()


def test_view_is_a_frame_that_keeps_to_itself(adata, tmp_path):
    shown = view(adata, height=500)
    frame = shown._repr_html_()
    assert 'sandbox="allow-scripts allow-downloads"' in frame
    assert 'height="500"' in frame
    assert html.unescape(re.search(r'srcdoc="([^"]*)"', frame)[1]) == shown.page
    assert len(repr(shown)) < 100
    assert shown.save(tmp_path / "a.html").read_text() == shown.page


def test_figures_take_an_anndata(adata):
    import matplotlib.pyplot as plt

    with plt.rc_context({"backend": "agg"}):
        number = int(adata.uns["prism"]["features"].feature[0])
        assert len(pl.feature(adata, number).axes) >= 4
        plt.close("all")


def test_refuses_an_anndata_without_features(adata):
    with pytest.raises(InputError, match=r"no uns\['other'\]"):
        view(adata, key="other")
