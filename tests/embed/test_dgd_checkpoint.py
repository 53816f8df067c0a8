"""The files in ``data`` were written by the public multiDGD implementation (48 made-up cells, 30 epochs)."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from cellprism import embed
from cellprism.embed.dgd_checkpoint import read_multidgd
from cellprism.errors import InputError

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def written() -> dict[str, np.ndarray]:
    with np.load(DATA / "multidgd.npz", allow_pickle=False) as file:
        return dict(file)


@pytest.fixture(scope="module")
def cells(written):
    obs = pd.DataFrame(index=[f"c{i}" for i in range(48)])
    parts = {
        name: ad.AnnData(
            sparse.csr_matrix(written[f"{name}_counts"].astype(np.float32)),
            obs=obs,
            var=pd.DataFrame(index=[f"{name}{i}" for i in range(g)]),
        )
        for name, g in (("rna", 15), ("atac", 20))
    }
    with mudata.set_options(pull_on_update=False):
        out = mudata.MuData(parts)
        out.obs["train_val_test"], out.obs["Site"] = written["split"], written["site"]
        yield out


@pytest.fixture(scope="module")
def model(cells):
    return read_multidgd(DATA / "multidgd.pt", cells)


def test_shares_and_likelihood_are_those_of_the_public_implementation(cells, model, written) -> None:
    train = np.flatnonzero(written["split"] == "train")
    z, c = torch.as_tensor(model.z[: len(train)]), torch.as_tensor(written["corr"])
    logits = model.net.logits(z, c)
    for name, ours in zip(("rna", "atac"), logits, strict=True):
        np.testing.assert_allclose(torch.softmax(ours, 1), written[name], rtol=1e-4, atol=1e-7)
    from cellprism.embed.dgd_likelihood import constant, counts_batch

    counts = [counts_batch(sparse.csr_array(cells[m].X[train]), torch.device("cpu")) for m in ("rna", "atac")]
    total = model.net.log_likelihood(z, c, counts) + sum(constant(k, len(train)) for k in counts)
    np.testing.assert_allclose(total, written["ll"], rtol=1e-4)
    each = model.net.prior.component_log_density(z) + torch.log_softmax(model.net.prior.weight, 0)
    np.testing.assert_allclose(each, written["component"], rtol=1e-3, atol=1e-3)


def test_cells_get_their_own_representation_whatever_their_split(cells, model, written) -> None:
    state = torch.load(DATA / "multidgd.pt", weights_only=True)
    Z = model.encode(cells)
    for split, key in (("train", "representation"), ("validation", "validation_rep"), ("test", "test_rep")):
        np.testing.assert_array_equal(Z[written["split"] == split], state[f"{key}.z"])


def test_it_decodes_saves_and_loads_like_any_model(cells, model, tmp_path: Path) -> None:
    model.save(tmp_path)
    back = embed.load(tmp_path)
    Z = model.encode(cells)
    assert model.categories == ["s1", "s2"]
    for name, expected in model.decode(Z, cells).items():
        np.testing.assert_array_equal(back.decode(Z, cells)[name], expected)


def test_one_table_with_the_modalities_side_by_side(cells, model) -> None:
    both = ad.AnnData(sparse.hstack([cells["rna"].X, cells["atac"].X], format="csr"), obs=cells.obs)
    both.var_names = [*cells["rna"].var_names, *cells["atac"].var_names]
    np.testing.assert_array_equal(read_multidgd(DATA / "multidgd.pt", both).z, model.z)


def other_split(c):
    c = c.copy()
    c.obs["train_val_test"] = "train"
    return c


def foreign(folder: Path) -> Path:
    """A pickle that would run code if it were loaded."""

    class Odd:
        def __reduce__(self):
            return (print, ("ran",))

    (folder / "odd.pt").write_bytes(pickle.dumps(Odd(), protocol=2))
    return folder / "odd.pt"


def alone(folder: Path) -> Path:
    return Path(shutil.copy(DATA / "multidgd.pt", folder / "alone.pt"))


def no_state(folder: Path) -> Path:
    torch.save({"weight": torch.zeros(2)}, folder / "other.pt")
    return folder / "other.pt"


WRONG = {
    "no file": (lambda c, p: read_multidgd(p / "none.pt", c), "must exist"),
    "no settings": (lambda c, p: read_multidgd(alone(p), c), "settings must exist"),
    "code in the file": (lambda c, p: read_multidgd(foreign(p), c), "tensors only"),
    "another state": (lambda c, p: read_multidgd(no_state(p), c), "state of multiDGD"),
    "other features": (lambda c, p: read_multidgd(DATA / "multidgd.pt", c["rna"]), "15 for 35"),
    "other cells": (lambda c, p: read_multidgd(DATA / "multidgd.pt", other_split(c)), "38 train cells"),
    "no split column": (lambda c, p: read_multidgd(DATA / "multidgd.pt", c, split="fold"), "must be in obs"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input(cells, tmp_path: Path, capsys, case: str) -> None:
    call, text = WRONG[case]
    with pytest.raises(InputError, match=text):
        call(cells, tmp_path)
    assert capsys.readouterr().out == ""
