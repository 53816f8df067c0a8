import numpy as np
import pytest
from scipy import sparse

from cellprism.errors import InputError
from cellprism.recovery import METHODS, Task, score
from cellprism.recovery.methods import codes_of
from cellprism.simulate import large, small

FAST = {
    "cellprism": {"epochs": 3, "recipe": {"width": 16, "k": 3}},
    "paper-vanilla": {"factor": 2, "epochs": 2},
    "paper-relu": {"factor": 2, "epochs": 2},
    "paper-topk": {"factor": 2, "epochs": 2},
    "topk": {"epochs": 3, "k": 3},
    "batchtopk": {"epochs": 3, "k": 3},
    "shuffled": {"epochs": 2, "k": 3},
    "untrained": {"k": 3},
    "dictionary-learning": {"max_iter": 2, "k": 3},
    "nmf-data": {"components": 8},
    "vae-gaussian": {"latent": 6, "epochs": 2},
    "vae-laplace": {"latent": 6, "epochs": 2},
    "vae-cauchy": {"latent": 6, "epochs": 2},
    "ldvae": {"latent": 5, "epochs": 2},
    "cnmf": {"components": 8, "runs": 5, "threshold": 2.0},
}


@pytest.fixture(scope="module")
def task():
    cells = large(1_200, 50, n_programs=8, n_cell_types=5, seed=0)
    mixing = np.random.default_rng(0).standard_normal((8, 10))
    return Task.of(cells, cells.obsm["X2_truth"] @ mixing)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_gives_codes_of_the_held_out_cells(task, name):
    if not METHODS[name].installed:
        pytest.skip(f"needs the optional package {METHODS[name].package}")
    options = FAST.get(name, {})
    codes = codes_of(name, task, 0, **options)
    assert codes.shape[0] == task.held_out.sum()
    values = codes.data if sparse.issparse(codes) else codes
    assert np.isfinite(values).all()
    again = codes_of(name, task, 0, **options)
    first, second = (score(c, task.held_truth).levels["mean_best_abs_r"] for c in (codes, again))
    np.testing.assert_allclose(first, second, atol=1e-3)


def test_methods_find_what_they_should(task):
    """NMF of an exact non-negative product and the probe find the programs; raw dimensions of a rotation do not."""
    found = {
        name: score(codes_of(name, task, 0, **FAST.get(name, {})), task.held_truth.only("X2")).levels.iloc[0]
        for name in ("nmf-data", "probe", "embedding", "untrained")
    }
    assert found["probe"]["mean_best_abs_r"] > 0.999
    assert found["nmf-data"]["mean_best_abs_r"] > 0.85
    assert found["embedding"]["mean_best_abs_r"] < 0.8
    assert found["untrained"]["share_over_0.95"] < 0.5


def test_training_methods_do_not_see_held_out_cells(task):
    """Other held-out cells, same training cells: the features are the same, so the codes of a kept cell are too."""
    first = np.flatnonzero(task.held_out)[:40]
    keep = ~task.held_out
    keep[first] = True
    fewer = Task(
        expression=task.expression[keep],
        embedding=task.embedding[keep],
        held_out=task.held_out[keep],
        truth=task.truth.take(keep),
        ceiling=task.ceiling,
    )
    for name in ("topk", "ica-embedding", "pca-data", "nmf-data", "vae-laplace", "shuffled"):
        options = FAST.get(name, {})
        whole, part = codes_of(name, task, 1, **options)[:40], codes_of(name, fewer, 1, **options)
        whole, part = (c.toarray() if sparse.issparse(c) else c for c in (whole, part))
        np.testing.assert_allclose(whole, part, rtol=1e-3, atol=1e-3 * np.abs(whole).max())


def test_methods_work_on_the_five_genes_of_the_small_simulation():
    cells = small(600, held_out=100)
    task = Task.of(cells, cells.X[:, :4] + 0.0)
    for name in ("pca-data", "svd-data", "ica-data", "nmf-data", "ica-embedding", "topk", "vae-laplace"):
        options = {"k": 2, "epochs": 2} if name == "topk" else {"epochs": 2} if name.startswith("vae") else {}
        assert len(codes_of(name, task, 0, **options)) == 100 if name != "topk" else True


def test_refuses_an_unknown_method(task):
    with pytest.raises(InputError, match="method"):
        codes_of("tsne", task, 0)
    with pytest.raises(InputError, match="prior"):
        codes_of("vae-laplace", task, 0, prior="flat")


def test_a_task_needs_held_out_cells():
    cells = small(100, held_out=0)
    with pytest.raises(InputError, match="held"):
        Task.of(cells, cells.X)
