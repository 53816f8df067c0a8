"""Features of a run that follow genes: which molecules guide them, when, and what is said of them."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from helpers import counts_adata, multimodal, type_sets

from cellprism import embed
from cellprism.data.expression import Expression
from cellprism.data.state import to_log1p
from cellprism.errors import InputError
from cellprism.features.words import display_gene
from cellprism.genesets.gmt import write_gmt
from cellprism.run import RunFolder, RunOptions, run
from cellprism.run.embedding import Embedded
from cellprism.run.guide import guide_for
from cellprism.run.model_cells import model_cells

N, GENES = 200, 40


def options(**given: Any) -> RunOptions:
    return RunOptions(data=Path("cells.h5ad"), output=Path("out"), **{"rep": "X_scVI"} | given)


def expression(modality: tuple[str, ...]) -> Expression:
    values = sp.random(N, len(modality), 0.5, format="csr", random_state=0, dtype=np.float32)
    names = tuple(f"G{i}" for i in range(len(modality)))
    return Expression(sp.csr_array(values), names, tuple(f"S{i}" for i in range(len(modality))), modality, None, {})


def test_on_request() -> None:
    for guide in (False, True):
        found = guide_for(options(guide=guide), Embedded(np.zeros((N, 2)), "obsm['X_scVI']"), expression(("rna",) * 6))
        assert (found is not None) == guide


def test_proteins_guide_no_features_of_an_embedding_that_nobody_knows() -> None:
    measured = expression(("rna",) * 4 + ("protein",) * 3)
    found = guide_for(options(guide=True), Embedded(np.zeros((N, 2)), "emb.npy"), measured)
    assert found is not None
    assert found.names == tuple(display_gene(f"G{i}", f"S{i}") for i in range(4))
    assert (found.values != measured.values[:, :4]).nnz == 0
    assert guide_for(options(guide=True), Embedded(np.zeros((N, 2)), "emb.npy"), expression(("protein",) * 3)) is None


def test_where_counts_are_split_the_molecules_that_were_embedded_guide() -> None:
    from cellprism.data.expression import as_expression, take_matrices

    rna, adt = counts_adata(N, GENES), counts_adata(N, 6, seed=1)
    adt.var_names = [f"P{i}" for i in range(6)]
    cells = multimodal(rna=rna, protein=adt)
    taken = take_matrices(cells)
    made, rest = model_cells(cells, taken, thinned=True)
    model = embed.train("pca", made, n_components=4)
    assert rest is not None
    tested = as_expression(taken, rest)
    found = guide_for(options(guide=True), Embedded(np.zeros((N, 4)), "pca", model, rest, made), tested)
    assert found is not None
    assert model.modalities == ("rna",)
    assert len(found.names) == GENES
    seen = sp.csr_array(rna.X) - rest["rna"]
    np.testing.assert_allclose(found.values.toarray(), to_log1p(sp.csr_array(seen), "counts").toarray(), rtol=1e-6)


def test_genes_are_spelt_as_in_names() -> None:
    """Symbols may be those of another species, given for the gene sets alone; identifiers are shown as symbols."""
    measured = replace(expression(("rna",) * 2), genes=("Elane", "ENSG00000197561"), symbols=("ELANE", "ELANE"))
    found = guide_for(options(guide=True), Embedded(np.zeros((N, 2)), "emb.npy"), measured)
    assert found is not None
    assert found.names == ("Elane", "ELANE")


def test_refused() -> None:
    for other in ({"width": 30}, {"recipe": "default"}):
        with pytest.raises(InputError, match="--guide and another SAE"):
            options(guide=True, **other)


def test_a_run_says_which_gene_guided_each(tmp_path: Path) -> None:
    cells = counts_adata(N, GENES)
    rng = np.random.default_rng(0)
    cells.X = sp.csr_matrix(rng.poisson(np.exp(cells.obsm["X_emb"] @ rng.normal(scale=0.2, size=(6, GENES)))))
    write_gmt(type_sets(GENES), tmp_path / "sets.gmt")
    cells.write_h5ad(tmp_path / "cells.h5ad")
    lines: list[str] = []
    folders: dict[str, RunFolder] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for guide in ("on", "off"):
            chosen = RunOptions(
                data=tmp_path / "cells.h5ad", output=tmp_path / guide, rep="X_emb", gene_sets=(str(tmp_path / "sets.gmt"),),
                preset="run", seeds=2, guide=guide == "on",
            )  # fmt: skip
            folders[guide] = run(chosen, lines.append)
    guides = folders["on"].features.set_index("feature")["guide"]
    told = guides[guides != ""]
    assert f"{len(told)} further features are guided by genes that the embedding tells and no feature says" in lines
    width = {name: folder.info["metrics"]["width"] for name, folder in folders.items()}
    assert len(told) > 0
    assert told.isin(cells.var_names).all()
    assert told.is_unique
    assert list(told.index) == list(range(width["on"] - len(told), width["on"]))
    genes = folders["on"].genes
    for feature, gene in told.items():
        of_it = genes[(genes["feature"] == feature) & (genes["symbol"] == gene)]
        assert (of_it["log2fc"] > 0).all()
    unstable = folders["on"].features.set_index("feature")["stability"].isna()
    assert unstable[told.index].all()  # the genes are the same for every seed, so that return is no evidence
    assert not unstable.drop(told.index).all()
    assert (folders["off"].features["guide"] == "").all()
    assert width["off"] == width["on"] - len(told)
