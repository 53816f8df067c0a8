"""From a gene to its peaks, on cells whose programs of genes and peaks are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from cellprism import embed
from cellprism.errors import InputError
from cellprism.sae import fit
from cellprism.simulate import multiome
from cellprism.steering import linked


@pytest.fixture(scope="module")
def world():
    """Cells of twelve programs, the embedding that a deep generative decoder finds, and its features."""
    from cellprism.simulate.measurement import Measurement

    cells = multiome(
        700,
        150,
        200,
        n_programs=12,
        p_program_peak=0.1,
        gain=1.0,
        held_out=0,
        measurement=Measurement(noise="poisson", library_size=5_000.0),
    )
    model = embed.train("dgd", cells, latent=14, epochs=20, batch_size=64, lr=5e-3, l1=0.0, holdout=0.0)
    Z = model.encode(cells)
    return cells, model, Z, fit(Z, seed=0).sae


@pytest.mark.slow
def test_peaks_of_the_genes_programs_follow_it(world) -> None:
    cells, model, Z, sae = world
    genes = np.asarray(cells["rna"].varm["program_gene"]).astype(bool)
    peaks = np.asarray(cells["atac"].varm["program_peak"]).astype(bool)
    one = np.flatnonzero(genes.sum(1) == 1)[:6]  # genes of one program, so their peaks are known without doubt
    scores = []
    for g in one:
        found = linked(sae, model, Z, f"gene{g}", adata=cells, n_null=5, max_cells=60)
        assert set(found.table["modality"]) == {"atac"}
        assert found.features.loc[found.features["chosen"], "log2fc"].iloc[0] > 0
        change = found.table.set_index("gene").loc[[f"peak{i}" for i in range(200)], "log2fc"]
        inside = peaks[:, genes[g].argmax()]
        u = stats.mannwhitneyu(change[inside], change[~inside]).statistic
        scores.append(u / (inside.sum() * (~inside).sum()))
    assert np.median(scores) > 0.8


def test_wrong_input(world, scene) -> None:
    _, model, Z, sae = world
    with pytest.raises(InputError, match="'none' found 0 times in rna, atac"):
        linked(sae, model, Z, "none")
    with pytest.raises(InputError, match="'gene1' found 0 times in atac"):
        linked(sae, model, Z, "gene1", modality="atac")
    with pytest.raises(InputError, match="n_features"):
        linked(sae, model, Z, "gene1", n_features=0)
    with pytest.raises(InputError, match="needs a model of several"):
        linked(scene.sae, scene.model, scene.Z, "g1")
