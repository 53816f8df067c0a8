"""Spike-ins of a run: the same recipe again, with something in the counts that is known."""

import json

import pandas as pd
import pytest
from cli_runner import call
from helpers import counts_adata, type_sets

from cellprism.errors import InputError
from cellprism.genesets.gmt import write_gmt
from cellprism.run import RunFolder, RunOptions, run
from cellprism.run import spike_in as module


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("spike")
    counts_adata(400, 60).write_h5ad(path / "cells.h5ad")
    write_gmt(type_sets(60), path / "sets.gmt")

    def go(name, **options):
        chosen = {"width": 12, "k": 3, "seeds": 1, "epochs": 10} | options
        return run(
            RunOptions(data=path / "cells.h5ad", output=path / name, gene_sets=(str(path / "sets.gmt"),), **chosen)
        )

    return go


def test_spike_ins_follow_the_run(made, monkeypatch):
    seen = {}

    def planted(counts, genes, **options):
        seen.update(options, total=float(counts.sum()), genes=list(genes))
        return pd.DataFrame()

    monkeypatch.setattr(module, "spike_in", planted)
    folder = made("pca", embed="pca", components=5, strata="donor")
    data = counts_adata(400, 60)
    module.spike_in_run(folder, data, 7, seed=3)
    assert seen["embed"] == "pca"
    assert seen["embed_options"] == {"n_components": 5}
    assert (seen["n"], seen["seed"], seen["thinned"]) == (7, 3, True)
    assert seen["total"] == data.X.sum()  # what the run thinned is thinned anew
    assert (seen["recipe"].width, seen["recipe"].k) == (12, 3)
    assert seen["options"] == {"cellprism": {"preset": "standard", "epochs": 10}}
    assert seen["obs"] is None  # principal components are told no batch
    auto = made("auto", embed="pca", width=None, k=None, epochs=None, consensus=True, seeds=2, thin=False)
    module.spike_in_run(auto, data, 7)
    assert seen["recipe"] is None
    assert seen["thinned"] is False
    assert seen["options"] == {"cellprism": {"preset": "standard", "consensus": True, "seeds": 2}}


def test_a_run_on_an_embedding_of_others_is_refused(made):
    folder = made("rep", rep="X_emb")
    with pytest.raises(InputError, match="embedding that was made elsewhere"):
        module.spike_in_run(folder, counts_adata(400, 60), 5)


def test_spike_ins_read_what_the_run_read_as_what_it_was_said_to_be(made, monkeypatch):
    """A layer of counts beside an X of logs; whole numbers that the run was told are no counts."""
    seen = []
    monkeypatch.setattr(module, "spike_in", lambda counts, genes, **_: seen.append(counts) or pd.DataFrame())
    folder = made("layer", embed="pca", components=5, thin=False)

    def told(**arguments):
        changed = RunFolder(folder.path)
        changed.__dict__["info"] = folder.info | {"arguments": folder.info["arguments"] | arguments}
        return changed

    data = counts_adata(400, 60)
    data.layers["counts"] = data.X.copy()
    data.X = data.X.log1p()
    module.spike_in_run(told(layer="counts"), data, 7)
    assert (seen[0] != data.layers["counts"]).nnz == 0
    with pytest.raises(InputError, match="log1p values"):
        module.spike_in_run(told(layer=None), data, 7)
    with pytest.raises(InputError, match=r"log1p values in .*counts"):
        module.spike_in_run(told(layer="counts", expression_state="log1p"), data, 7)
    assert len(seen) == 1


@pytest.mark.slow
def test_evaluate_takes_spike_ins_into_its_table(made, capsys):
    folder = made("whole", embed="pca", components=5, labels=("cell_type",))
    result = call(capsys, "evaluate", folder.path, "--quick", "--spike-in", 2)
    assert result.code == 0, result.err
    assert "round 1 of 1" in result.err
    assert "In your cells a programme of 30 genes" in result.out
    table = pd.read_parquet(folder.path / "evaluation.parquet")
    assert {"probe_f1", "planted_abs_r", "planted_share", "planted_found", "planted_power"} <= set(table["measure"])
    planted = table[table["measure"] == "planted_share"]
    assert {"dictionary", "random", "frozen_decoder", "pca"} <= set(planted["dictionary"])
    notes = json.loads((folder.path / "run.json").read_text())["evaluation"]["notes"]
    assert notes[0].startswith("In your cells")
    assert call(capsys, "evaluate", folder.path, "--spike-in", -1).code == 2
    assert RunFolder.open(folder.path).info["evaluation"]["notes"] == notes
