"""Finished steps of a run in the making: what ``--resume`` goes on from after a kill."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellprism import embed, sae
from cellprism.data.arrays import read_dense
from cellprism.embed import EmbeddingModel
from cellprism.errors import InputError
from cellprism.files import fsync_tree
from cellprism.folder.stage import STEPS
from cellprism.run.options import RunOptions
from cellprism.run.write import versions
from cellprism.sae import Fit
from cellprism.sae.checkpoint import fingerprint

__all__ = ["Steps", "same_options"]

# Options that say where and how a run is shown, not what it computes.
_BESIDE: Final = ("output", "overwrite", "progress", "resume", "memory_limit")


def same_options(arguments: dict[str, Any], options: RunOptions) -> bool:
    """Whether a run was asked for the same as another, whose options ``run.json`` holds."""
    return _deciding(arguments) == _deciding(options.to_dict())


def _deciding(options: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = json.loads(json.dumps({k: v for k, v in options.items() if k not in _BESIDE}))
    return kept


class Steps:
    """Steps that are kept in the folder in the making, each in a folder that appears when it is finished.

    Parameters
    ----------
    folder
        The folder in the making.
    options
        Of the run; a run with others does not go on from these steps.

    Raises
    ------
    InputError
        If the folder holds steps of a run with other options or another version of this package.
    """

    def __init__(self, folder: Path, options: RunOptions) -> None:
        self._folder = folder / STEPS
        asked = _deciding(options.to_dict()) | {"cellprism": versions()["cellprism"]}
        file = self._folder / "options.json"
        if file.is_file():
            known = json.loads(file.read_text(encoding="utf-8"))
            other = sorted(k for k in known.keys() | asked.keys() if known.get(k) != asked.get(k))
            if other:
                raise InputError(
                    "--resume goes on with the options that the run was started with",
                    ", ".join(f"{k} {asked.get(k)!r}, then {known.get(k)!r}" for k in other),
                    "give the same ones, or leave --resume out to start again",
                )
        self._asked = asked

    def embedding(
        self, source: str, train: Callable[[], EmbeddingModel], cells: Any
    ) -> tuple[EmbeddingModel, NDArray[Any]]:
        """The embedding model and the embedding, trained where no finished step holds them.

        Parameters
        ----------
        source
            Checksum of the cells.
        train
            Trains the model.
        cells
            What it embeds.
        """
        done = self._done("embedding", source)
        if done is None:
            model = train()
            values = model.encode(cells)
            with self._making("embedding", source) as folder:
                model.save(folder / "model")
                np.save(folder / "embedding.npy", values, allow_pickle=False)
            return model, values
        return embed.load(done / "model"), np.asarray(read_dense(done / "embedding.npy"))

    def fit(self, X: NDArray[Any], about: tuple[Any, ...], train: Callable[[Path], Fit]) -> Fit:
        """The SAEs, trained where no finished step holds them; a training that was killed goes on where it was.

        Parameters
        ----------
        X
            The embedding.
        about
            What else decides the training.
        train
            Trains, given a folder for the states of training.
        """
        source = fingerprint(X, *about)
        done = self._done("fit", source)
        if done is not None:
            return _read_fit(done)
        self._begin()
        states = self._folder / "training"
        fitted = train(states)
        with self._making("fit", source) as folder:
            _write_fit(folder, fitted)
        shutil.rmtree(states, ignore_errors=True)
        return fitted

    def _begin(self) -> None:
        if not self._folder.is_dir():
            self._folder.mkdir(parents=True)
            (self._folder / "options.json").write_text(json.dumps(self._asked), encoding="utf-8")

    def _done(self, name: str, source: str) -> Path | None:
        folder = self._folder / name
        if not folder.is_dir():
            return None
        if (folder / "source").read_text(encoding="utf-8") != source:
            raise InputError(
                "--resume goes on with the input that the run was started with",
                f"other cells or another embedding than the finished step `{name}` is of",
                "give the same files, or leave --resume out to start again",
            )
        return folder

    def _making(self, name: str, source: str) -> _Making:
        self._begin()
        return _Making(self._folder / name, source)


class _Making:
    """A folder that takes its name when the block has ended well."""

    def __init__(self, folder: Path, source: str) -> None:
        self._folder, self._source = folder, source
        self._beside = folder.with_name(f"{folder.name}.part")

    def __enter__(self) -> Path:
        shutil.rmtree(self._beside, ignore_errors=True)
        self._beside.mkdir()
        return self._beside

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            (self._beside / "source").write_text(self._source, encoding="utf-8")
            fsync_tree(self._beside)
            self._beside.rename(self._folder)


def _write_fit(folder: Path, fitted: Fit) -> None:
    for i, one in enumerate((fitted.sae, *fitted.siblings)):
        one.save(folder / f"sae-{i}")
    fitted.history.to_parquet(folder / "history.parquet")
    if fitted.consensus is not None:
        fitted.consensus.to_parquet(folder / "consensus.parquet")
    np.save(folder / "holdout.npy", fitted.holdout, allow_pickle=False)
    about = {"metrics": fitted.metrics, "options": fitted.options, "n": 1 + len(fitted.siblings)}
    (folder / "fit.json").write_text(json.dumps(about, default=_plain), encoding="utf-8")


def _plain(value: Any) -> Any:
    """JSON types of what NumPy and mappings hold; NaN stays NaN."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    return str(value)


def _read_fit(folder: Path) -> Fit:
    about = json.loads((folder / "fit.json").read_text(encoding="utf-8"))
    first, *siblings = [sae.load(folder / f"sae-{i}") for i in range(about["n"])]
    consensus = folder / "consensus.parquet"
    return Fit(
        sae=first,
        siblings=tuple(siblings),
        history=pd.read_parquet(folder / "history.parquet"),
        metrics=about["metrics"],
        holdout=np.asarray(read_dense(folder / "holdout.npy")),
        options=about["options"],
        consensus=pd.read_parquet(consensus) if consensus.is_file() else None,
    )
