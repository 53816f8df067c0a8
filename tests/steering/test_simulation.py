"""Where the truth is known, steering a program's feature changes that program's genes and no others."""

from __future__ import annotations

import numpy as np

from cellprism import embed
from cellprism.sae import fit
from cellprism.sae.config import SAEConfig
from cellprism.simulate import large
from cellprism.steering import effect


def test_a_programs_feature_changes_that_programs_genes_and_no_others() -> None:
    cells = large(1_500, 120, 10, 8, held_out=0)
    options = {"latent": 12, "depth": 2, "lr": 3e-3, "epochs": 60, "transform": "none"}
    model = embed.train("autoencoder", cells, seed=0, **options)
    Z = model.encode(cells)
    read = fit(Z, SAEConfig(width=10, activation="jumprelu", init="geometry", pre_bias="none"), holdout=0.0)
    codes = read.sae.encode(Z)
    truth = np.asarray(cells.obsm["X2_truth"])
    dense = codes.toarray()
    live = np.flatnonzero(dense.std(0))
    r = np.abs(np.corrcoef(truth.T, dense[:, live].T)[:10, 10:])
    found = np.flatnonzero(r.max(1) > 0.95)
    assert len(found) >= 5
    adjacency = np.asarray(cells.varm["program_gene"]).astype(bool)
    scores, elsewhere = [], []
    for p in found:
        feature = int(live[r[p].argmax()])
        inside = adjacency[:, p]
        seen = effect(
            read.sae,
            model,
            Z,
            feature,
            to_quantile=0.9,
            cells=dense[:, feature] == 0,
            adata=cells,
            codes=codes,
            targets=[f"gene{g}" for g in np.flatnonzero(inside)],
            n_null=3,
            max_cells=50,
        )
        change = seen.genes.set_index("gene").loc[[f"gene{g}" for g in range(120)], "log2fc"].abs().to_numpy()
        wins = (change[inside][:, None] > change[~inside][None, :]).mean()
        scores.append(wins)
        elsewhere.append(seen.summary["off_target_share"] / seen.summary["off_target_share_nulls"]["covariance"])
    assert np.median(scores) >= 0.95
    assert np.median(elsewhere) < 0.5  # of what a random move of the same length puts there
