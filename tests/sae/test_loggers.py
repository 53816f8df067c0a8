"""Following a training: each row once, whatever runs side by side, and loggers that name what they need."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

import cellprism as prism
from cellprism.sae.loggers import MLflow, TensorBoard, WandB

X = np.random.default_rng(0).standard_normal((300, 5)).astype(np.float32)
TRAINED = prism.SAEConfig(width=12, activation="topk", k=3)
READ = prism.SAEConfig(width=12, activation="jumprelu", init="geometry", pre_bias="none")


@pytest.mark.parametrize(("cfg", "seeds"), [(TRAINED, 1), (TRAINED, 3), (READ, 2), (None, 2)])
def test_the_rows_of_the_history_are_told_once_each(cfg: prism.SAEConfig | None, seeds: int) -> None:
    told: list[dict[str, float]] = []
    options: dict[str, Any] = {"preset": "quick"} if cfg is None else {"epochs": 8}
    fitted = prism.fit(X, cfg, seeds=seeds, callback=lambda row: told.append(dict(row)), **options)
    order = ["seed", "step"]
    pd.testing.assert_frame_equal(
        pd.DataFrame(told).sort_values(order, ignore_index=True)[fitted.history.columns],
        fitted.history.sort_values(order, ignore_index=True),
        check_dtype=False,
    )


def test_what_is_told_changes_nothing() -> None:
    def spoil(row: Mapping[str, float]) -> None:
        row.clear()  # type: ignore[attr-defined]

    plain, told = (prism.fit(X, TRAINED, epochs=8, callback=callback) for callback in (None, spoil))
    pd.testing.assert_frame_equal(plain.history, told.history)
    np.testing.assert_array_equal(plain.sae.decoder_directions(), told.sae.decoder_directions())


@pytest.mark.parametrize("seeds", [1, 2])
def test_an_error_of_the_callback_ends_the_training(seeds: int) -> None:
    def stop(row: Mapping[str, float]) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        prism.fit(X, TRAINED, epochs=8, seeds=seeds, callback=stop)


def test_a_callback_is_a_function() -> None:
    with pytest.raises(prism.InputError, match="callback"):
        prism.fit(X, TRAINED, epochs=1, callback="tensorboard")  # type: ignore[arg-type]


def test_a_resumed_training_tells_its_earlier_rows_again(tmp_path: Path) -> None:
    whole: list[Mapping[str, float]] = []
    again: list[Mapping[str, float]] = []
    prism.fit(X, TRAINED, epochs=8, checkpoint=tmp_path, callback=whole.append)
    prism.fit(X, TRAINED, epochs=8, checkpoint=tmp_path, callback=again.append)
    assert again == whole


@pytest.mark.parametrize(
    ("package", "make"),
    [("tensorboard", lambda: TensorBoard("runs")), ("wandb", lambda: WandB()), ("mlflow", lambda: MLflow())],
)
def test_a_logger_names_the_package_that_it_needs(package: str, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(prism.InputError, match=f"pip install {package}"):
        make()


class _Kept:
    """What a fake package was given, as (name, value, step)."""

    def __init__(self, *_: Any, **options: Any) -> None:
        self.options, self.rows = options, list[tuple[str, float, int | None]]()

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.rows.append((name, value, step))

    def flush(self) -> None:
        pass

    def log(self, row: Mapping[str, float]) -> None:
        step = next(int(v) for name, v in row.items() if name.endswith("/step"))
        self.rows += [(name, v, step) for name, v in row.items() if not name.endswith("/step")]

    def log_metrics(self, row: Mapping[str, float], step: int) -> None:
        self.rows += [(name, v, step) for name, v in row.items()]


@pytest.mark.parametrize("kind", ["tensorboard", "wandb", "mlflow"])
def test_loggers_pass_every_number_on(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = _Kept()
    module: Any = ModuleType(kind)
    monkeypatch.setitem(sys.modules, kind, module)
    if kind == "tensorboard":
        writer: Any = ModuleType("torch.utils.tensorboard")
        writer.SummaryWriter = lambda folder: kept
        monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", writer)
        logger: Any = TensorBoard("runs")
    elif kind == "wandb":
        module.init = lambda **options: kept
        logger = WandB(project="cells")
    else:
        module.log_metrics = kept.log_metrics
        logger = MLflow()
    history = prism.fit(X, TRAINED, epochs=8, seeds=2, callback=logger).history
    numbers = history.melt(["seed", "step"]).sort_values(["seed", "step"], ignore_index=True)
    right = {(f"seed-{s}/{n}", v, step) for s, step, n, v in numbers.itertuples(index=False)}
    assert set(kept.rows) == right
    assert len(kept.rows) == len(numbers)


def test_events_of_tensorboard_are_read_back(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    history = prism.fit(X, TRAINED, epochs=8, callback=TensorBoard(tmp_path)).history
    events = EventAccumulator(str(tmp_path)).Reload()
    losses = [(e.step, e.value) for e in events.Scalars("seed-0/loss")]
    np.testing.assert_allclose(losses, history[["step", "loss"]], rtol=1e-6)
