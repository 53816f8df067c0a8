import io
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from rich.console import Console
from sae.cases import VARIANTS, embedding

from cellprism.errors import InputError
from cellprism.sae import SAE, SAEConfig, default_config, fit


def parameters(sae: SAE) -> np.ndarray:
    return np.concatenate([t.detach().numpy().ravel() for t in sae.state_dict().values()])


@pytest.mark.parametrize("name", VARIANTS)
def test_the_same_seed_gives_the_same_bits(name: str) -> None:
    X = embedding()
    first, again, other = (fit(X, VARIANTS[name], seed=s, epochs=3, batch_size=64).sae for s in (5, 5, 6))
    np.testing.assert_array_equal(parameters(first), parameters(again))
    assert not np.array_equal(parameters(first), parameters(other))


def test_global_random_state_plays_no_part() -> None:
    X = embedding()
    results = []
    for s in (1, 2):
        torch.manual_seed(s)
        before = torch.random.get_rng_state()
        results.append(parameters(fit(X, VARIANTS["batchtopk"], epochs=3).sae))
        assert torch.equal(torch.random.get_rng_state(), before)
    np.testing.assert_array_equal(*results)


def test_held_out_cells_stay_out() -> None:
    X = embedding(200)
    first = fit(X, VARIANTS["relu"], epochs=3, holdout=0.2, patience=None)
    assert len(first.holdout) == 40
    Y = X.copy()
    Y[first.holdout] += 10
    second = fit(Y, VARIANTS["relu"], epochs=3, holdout=0.2, patience=None)
    np.testing.assert_array_equal(parameters(first.sae), parameters(second.sae))
    assert first.metrics["mse"] < second.metrics["mse"]


def test_without_held_out_cells_all_are_trained_on_to_the_end() -> None:
    done = fit(embedding(), VARIANTS["topk"], epochs=4, holdout=0)
    assert len(done.holdout) == 0
    assert len(done.history) == 4
    assert 0 < done.metrics["explained_variance"] < 1


def test_early_stopping_stops_and_keeps_the_best_weights() -> None:
    X = embedding(60, d=6, seed=2)
    options = {"epochs": 300, "batch_size": 16, "lr": 3e-2, "decay": 0.0, "holdout": 0.4}
    done = fit(X, SAEConfig(32, "topk", k=4, scaling="none"), patience=5, **options)
    error = done.history["holdout_mse"].to_numpy()
    assert len(error) < 50
    assert error.argmin() == len(error) - 6
    assert done.metrics["mse"] == pytest.approx(error.min(), rel=1e-4)
    whole = fit(X, SAEConfig(32, "topk", k=4, scaling="none"), patience=None, **options)
    assert len(whole.history) == 50
    assert whole.metrics["mse"] == pytest.approx(whole.history["holdout_mse"].iloc[-1], rel=1e-4)


def test_batchtopk_has_k_active_features_on_new_cells() -> None:
    X = embedding(3000, d=8)
    sae = fit(X[:2000], SAEConfig(32, "batchtopk", k=4), epochs=20).sae
    assert sae.encode(X[2000:]).nnz / 1000 == pytest.approx(4, rel=0.08)


def test_siblings_share_cells_and_differ_in_weights() -> None:
    X = embedding()
    done = fit(X, VARIANTS["batchtopk"], seed=3, seeds=3, epochs=3)
    assert len(done.siblings) == 2
    alone = fit(X, VARIANTS["batchtopk"], seed=3, epochs=3)
    np.testing.assert_array_equal(parameters(done.sae), parameters(alone.sae))
    assert not np.array_equal(parameters(done.sae), parameters(done.siblings[0]))
    np.testing.assert_array_equal(done.sae.mean, done.siblings[1].mean)
    assert sorted(done.history["seed"].unique()) == [3, 4, 5]


def test_default_config_fits_the_data() -> None:
    rng = np.random.default_rng(0)
    sd = np.array([10.0] * 12 + [1.0] * 8)  # twelve dimensions stand above the noise of the other eight
    wide = default_config(rng.normal(size=(20_000, 20)) * sd)
    assert wide == SAEConfig(80, k=7, scaling="wiener", matryoshka=(15, 30), aux_weight=0.0)
    few = default_config(rng.normal(size=(300, 20)) * sd)
    assert few.width == 16
    done = fit(embedding(), default_config(embedding()), epochs=3)
    assert done.options["epochs"] == 3
    assert done.options["batch_size"] == 64


def test_history() -> None:
    done = fit(embedding(), VARIANTS["batchtopk"], epochs=120)
    columns = ["seed", "step", "loss", "reconstruction", "penalty", "auxiliary", "l0", "dead_share", "holdout_mse"]
    assert list(done.history.columns) == [*columns, "explained_variance"]
    assert done.history["step"].is_monotonic_increasing
    assert done.history["loss"].iloc[-1] < done.history["loss"].iloc[0]


def test_progress_is_shown_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=200)
    monkeypatch.setattr("cellprism.progress.on_terminal", lambda: True)
    monkeypatch.setattr("cellprism.progress.Console", lambda **_: console)
    fit(embedding(), VARIANTS["batchtopk"], epochs=2)
    assert screen.getvalue() == ""
    fit(embedding(), VARIANTS["batchtopk"], epochs=2, progress=True)
    for word in ("epochs", "loss", "EV", "L0", "dead"):
        assert word in screen.getvalue()


def test_input_is_read_as_any_number_type() -> None:
    X = embedding()
    single = fit(X, VARIANTS["topk"], epochs=2).sae
    np.testing.assert_array_equal(
        parameters(single), parameters(fit(X.astype(np.float64), VARIANTS["topk"], epochs=2).sae)
    )
    assert fit((X * 10).astype(np.int32), VARIANTS["topk"], epochs=2).metrics["l0"] > 0


def test_two_cells_are_enough() -> None:
    assert fit(embedding(2), SAEConfig(4, k=2), epochs=2).sae.width == 4


BAD = {
    "unknown option": ({"epoch": 3}, "must be known.*epoch"),
    "option of the configuration": ({"width": 8}, r"cfg=SAEConfig\(width=8\)"),
    "no seeds": ({"seeds": 0}, "`seeds` must be at least 1"),
    "bad option": ({"lr": -1.0}, "`lr`"),
    "half an epoch": ({"epochs": 2.5}, "`epochs` must be a whole number; met 2.5"),
    "words": ({"lr": "fast"}, "`lr` must be a number; met 'fast'"),
    "one beta": ({"betas": (0.9,)}, "`betas` are two numbers"),
    "beta of one": ({"betas": (0.9, 1.0)}, "`betas` must be less than 1"),
    "negative seed": ({"seed": -1}, "`seed` must be at least 0"),
    "half a seed": ({"seeds": 1.5}, "`seeds` must be a whole number"),
    "bad device": ({"device": "abacus"}, "`device`"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_options_are_refused(name: str) -> None:
    options, message = BAD[name]
    with pytest.raises(InputError, match=message):
        fit(embedding(), VARIANTS["topk"], **options)


def test_numbers_of_any_type_are_the_same_numbers(tmp_path: Path) -> None:
    """A checkpoint made with one is resumed with the other."""
    X = embedding()
    plain = fit(X, SAEConfig(12, "topk", k=3), seed=1, epochs=2, lr=1e-3, checkpoint=tmp_path)
    config = SAEConfig(np.int64(12), "topk", k=3.0)
    other = fit(X, config, seed=np.uint8(1), epochs=np.float64(2), lr="1e-3", checkpoint=tmp_path)
    assert config == plain.sae.config
    assert torch.equal(other.sae.decoder, plain.sae.decoder)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (sp.csr_array(np.eye(30)), "An embedding is dense"),
        (1e39 * np.eye(30), "30 NaN or infinite values"),
    ],
)
def test_embeddings_of_another_kind_are_refused(X: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit(X, SAEConfig(8, "topk", k=2))


def test_bad_embedding_is_refused() -> None:
    X = embedding()
    X[3, 1] = np.nan
    with pytest.raises(InputError, match="1 NaN or infinite values in 1 cells, the first in row 3"):
        fit(X)


@pytest.mark.parametrize("scaling", ["none", "global", "whiten"])
def test_batchtopks_threshold_lies_between_values(scaling: str) -> None:
    """At a value that occurs, rounding would decide whether the code stays."""
    X = embedding(600)
    fitted = fit(X, SAEConfig(24, "batchtopk", k=3, scaling=scaling), epochs=5, holdout=0.2)
    held = X[fitted.holdout]
    with torch.no_grad():
        pre = torch.relu(fitted.sae.pre_activations(fitted.sae.scale(torch.as_tensor(held)))).flatten()
    ranked = pre.sort(descending=True).values
    kept = 3 * len(held)
    assert ranked[kept - 1] > fitted.sae.activation.threshold > ranked[kept]
    assert fitted.sae.encode(held).nnz == kept
