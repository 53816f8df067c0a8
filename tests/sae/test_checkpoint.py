import json
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sae.cases import embedding

from cellprism.errors import InputError
from cellprism.sae import SAE, DivergedError, SAEConfig, fit, fit_many
from cellprism.sae.trainer import Trainer

CASES = {
    "dense": (SAEConfig(24, "jumprelu", k=3), {}),
    "sparse, jumprelu": (SAEConfig(24, "jumprelu", k=3), {"kernel": "sparse"}),
    "sparse": (SAEConfig(24, "batchtopk", k=3), {"kernel": "sparse"}),
    "sparse, prefixes": (SAEConfig(24, "batchtopk", k=3, matryoshka=(6, 12)), {"kernel": "sparse"}),
    "sparse, revived": (SAEConfig(24, "topk", k=3, dead_after=1), {"kernel": "sparse"}),
    "fused": (SAEConfig(24, "relu"), {}),
    "resampled": (SAEConfig(24, "topk", k=3, resample_every=2), {}),
    "turned axes": (SAEConfig(24, "batchtopk", k=3, scaling="wiener"), {}),
    "products": (SAEConfig(96, "relu", start_active=None, scaling="standard"), {"d": 40}),
    "jumps": (SAEConfig(96, "jumprelu", k=24), {"d": 40}),
    "narrow": (SAEConfig(40, "topk", k=8), {"d": 4}),
    "narrow, relu": (SAEConfig.paper("vanilla", 40), {"d": 4}),
    "coded, revived": (SAEConfig(80, "batchtopk", k=4, dead_after=1), {"d": 8}),
}


def parameters(sae: SAE) -> np.ndarray:
    return np.concatenate([t.detach().numpy().ravel() for t in sae.state_dict().values()])


class Killed(Exception):
    pass


@pytest.mark.parametrize("step", [3, 10, 17, 29])
@pytest.mark.parametrize("name", CASES)
def test_killed_and_resumed_is_never_killed(
    name: str, step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg, options = CASES[name]
    options = {"epochs": 8, "batch_size": 64, "checkpoint_every": 3, **options}
    X = embedding(d=options.pop("d", 5))
    whole = fit(X, cfg, **options)
    check = Trainer._check_loss

    def kill(self: Trainer) -> None:
        check(self)
        if self.done >= step:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_check_loss", kill)
        with pytest.raises(Killed):
            fit(X, cfg, checkpoint=tmp_path, **options)
    resumed = fit(X, cfg, checkpoint=tmp_path, **options)
    np.testing.assert_array_equal(parameters(resumed.sae), parameters(whole.sae))
    pd.testing.assert_frame_equal(resumed.history, whole.history)


def test_finished_seeds_are_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    X = embedding()
    first = fit(X, CASES["fused"][0], epochs=4, seeds=2, checkpoint=tmp_path)
    monkeypatch.setattr(Trainer, "epoch", None)
    again = fit(X, CASES["fused"][0], epochs=4, seeds=2, checkpoint=tmp_path)
    np.testing.assert_array_equal(parameters(first.sae), parameters(again.sae))
    np.testing.assert_array_equal(parameters(first.siblings[0]), parameters(again.siblings[0]))


def test_another_trainings_state_is_refused(tmp_path: Path) -> None:
    X = embedding()
    fit(X, CASES["fused"][0], epochs=2, checkpoint=tmp_path)
    for other, options in ((X + 1, {}), (X, {"lr": 1e-4}), (X, {"batch_size": 7})):
        with pytest.raises(InputError, match="another training's state"):
            fit(other, CASES["fused"][0], checkpoint=tmp_path, **{"epochs": 2, **options})
    file = tmp_path / "seed-0.safetensors"
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(InputError, match="must be readable"):
        fit(X, CASES["fused"][0], epochs=2, checkpoint=tmp_path)
    with pytest.raises(InputError, match="`checkpoint_every`"):
        fit(X, checkpoint=tmp_path / "x", checkpoint_every=0)
    assert [p.name for p in tmp_path.iterdir()] == ["seed-0.safetensors"]


@pytest.mark.parametrize("name", ["dense", "sparse", "fused"])
def test_divergence_keeps_the_last_good_weights(name: str) -> None:
    cfg, options = CASES[name]
    X = embedding()
    with pytest.raises(DivergedError, match=r"training diverged: the loss of seed 0 is .*Remedy: lower lr") as caught:
        fit(X, cfg, epochs=60, batch_size=64, lr=1e6, warmup=0.0, max_grad_norm=None, **options)
    assert np.isfinite(caught.value.sae.decode(caught.value.sae.encode(X))).all()


@pytest.mark.parametrize(("form", "d"), [("vanilla", 4), ("vanilla", 8), ("relu", 8), ("topk", 4)])
def test_small_values_do_not_count_as_diverged(form: str, d: int) -> None:
    """The published forms keep the unit of the embedding, and start far above it."""
    X = 1e-3 * np.random.default_rng(0).standard_normal((300, d)).astype(np.float32)
    config = SAEConfig.paper(form, 40, k_percent=20 if form == "topk" else None)
    dense, auto = (fit(X, config, kernel=kernel, epochs=20, patience=None) for kernel in ("dense", "auto"))
    assert auto.history["loss"].iloc[-1] == pytest.approx(dense.history["loss"].iloc[-1], rel=0.1)


@pytest.mark.parametrize(
    "config",
    [
        SAEConfig(40, "topk", k=2, scaling="none", dead_after=1),
        SAEConfig(40, "batchtopk", k=2, scaling="none", dead_after=1),
        SAEConfig(40, "jumprelu", k=4, scaling="none"),
        SAEConfig(40, "relu", l1=0.3, scaling="none"),
    ],
    ids=lambda config: config.activation,
)
def test_penalties_have_no_say_in_divergence(config: SAEConfig) -> None:
    """They keep their size where the embedding's unit is small."""
    fit(1e-4 * embedding(), config, epochs=30, lr=1e-4, patience=None)


@pytest.mark.parametrize("kernel", ["dense", "auto"])
def test_a_perfect_start_does_not_count_as_diverged(kernel: str) -> None:
    X = np.random.default_rng(0).standard_normal((300, 1)).astype(np.float32)
    found = fit(X, SAEConfig(63, "topk", k=1), kernel=kernel, epochs=40, patience=None)
    assert found.metrics["explained_variance"] > 0.99


@pytest.mark.parametrize("holdout", [0.0, 0.2])
def test_memory_maps_are_never_held_whole(holdout: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "x.npy", np.tile(embedding(2_000, d=30), (30, 1)))
    size = 60_000 * 30 * 4
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    monkeypatch.setattr("cellprism.data.chunks.MOST_ROWS", 500)
    monkeypatch.setattr("cellprism.sae.cells._WINDOW_BYTES", 1)
    monkeypatch.setattr("cellprism.sae.trainer._SAMPLE", 500)
    monkeypatch.setattr("cellprism.sae.trainer._ELEMENTS", 2**13)
    monkeypatch.setattr("cellprism.sae.model._CHUNK_ELEMENTS", 2**13)
    config = SAEConfig(16, "topk", k=3)
    options = {"epochs": 1, "batch_size": 500, "memory_limit": 1_000, "holdout": holdout}
    fit(embedding(), config, epochs=1)  # imports and compiles
    for train in (
        lambda: fit(mapped, config, checkpoint=tmp_path / "c", **options),
        lambda: fit_many(mapped, [config, config], **options),
    ):
        tracemalloc.start()
        train()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < size / 2  # the indices of the cells alone take a fifth


def test_memory_maps_larger_than_the_limit_are_read_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    X = embedding(900)
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    largest = 0
    make = np.ascontiguousarray

    def watch(values: np.ndarray, **kwargs: object) -> np.ndarray:
        nonlocal largest
        largest = max(largest, len(values))
        return make(values, **kwargs)

    cfg = SAEConfig(24, "topk", k=3)
    options = {"epochs": 3, "batch_size": 64, "kernel": "dense", "patience": None}
    inside = fit(X, cfg, **options)
    monkeypatch.setattr("cellprism.sae.cells.np.ascontiguousarray", watch)
    monkeypatch.setattr("cellprism.sae.trainer._SAMPLE", 100)
    outside = fit(mapped, cfg, memory_limit=1_000, **options)
    assert largest <= 100
    # The start looks at a sample here, at all cells there.
    assert outside.metrics["explained_variance"] == pytest.approx(inside.metrics["explained_variance"], abs=0.1)
    assert isinstance(mapped, np.memmap)


def test_state_is_json_and_tensors(tmp_path: Path) -> None:
    fit(embedding(), CASES["dense"][0], epochs=2, checkpoint=tmp_path)
    with torch.no_grad():
        from safetensors import safe_open

        with safe_open(str(tmp_path / "seed-0.safetensors"), "pt") as file:
            assert json.loads(file.metadata()["numbers"])["finished"]
