"""The files of a run folder."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellprism.run.inputs import Inputs
from cellprism.run.novelty import FOLDER as NOVELTY
from cellprism.sae import Fit

__all__ = [
    "log_record",
    "logged",
    "recipe_records",
    "to_json",
    "versions",
    "write_arrays",
    "write_json",
    "write_landscape",
    "write_tables",
]

# Beyond this the tested expression is not copied: its source is named, with its hash, in expression.json.
_LARGEST_COPY = 50_000_000

_PANELS = (("l0", "explained_signal"), ("l0", "bits"), ("explained_signal", "stability"))


def write_arrays(folder: Path, inputs: Inputs, codes: sp.csr_array) -> None:
    """codes.npz, embedding.npy, expression.npz or .json, model/, novelty/."""
    sp.save_npz(folder / "codes.npz", codes)
    np.save(folder / "embedding.npy", inputs.embedding, allow_pickle=False)
    if inputs.expression.values.nnz <= _LARGEST_COPY:
        sp.save_npz(folder / "expression.npz", inputs.expression.values)
        write_json(folder / "expression_genes.json", list(inputs.expression.genes))  # its columns
    else:
        source = inputs.hashes["data"] | {"thinned": inputs.thinned, "kind": inputs.expression_kind}
        write_json(folder / "expression.json", source)
    if inputs.model is not None:
        inputs.model.save(folder / "model")
    if inputs.reference is not None:
        inputs.reference.save(folder / NOVELTY)


def write_tables(folder: Path, tables: dict[str, pd.DataFrame]) -> None:
    """One parquet file a table."""
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet", index=False)


def recipe_records(fitted: Fit) -> dict[str, Any]:
    """Parts of run.json on the SAE: ``training`` options and, where the recipe was chosen, ``recipe`` and ``landscape``."""
    training = {k: v for k, v in fitted.options.items() if k != "recipe"}
    if "recipe" not in fitted.options:
        return {"training": training}
    recipe = dict(fitted.options["recipe"])
    landscape = recipe.pop("scouts")
    return {"training": training, "recipe": recipe, "landscape": landscape}


def write_landscape(folder: Path, landscape: list[dict[str, Any]]) -> None:
    """``figures/landscape.png``: what the automatic recipe tried, by error, sparsity, bits and, where known, stability."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from cellprism.pl import landscape as draw

    table = pd.DataFrame(landscape)
    table["candidate"] = table["method"] + ", " + table["width"].astype(str)
    told = [(x, y) for x, y in _PANELS if table[y].notna().sum() > 1]
    figure = Figure(figsize=(4.35 * len(told), 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    for ax, (x, y) in zip(np.atleast_1d(figure.subplots(1, len(told))), told, strict=True):
        draw(table, x, y, by="candidate", ax=ax)
    (folder / "figures").mkdir(exist_ok=True)
    figure.savefig(folder / "figures" / "landscape.png", dpi=150)


def logged(path: Path, say: Callable[[str], None]) -> Callable[[str], None]:
    """``say`` that keeps each line in a file too, as JSON; a resumed run goes on with the same file."""
    begun = time.time()

    def told(line: str) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(log_record(line, time.time(), begun), ensure_ascii=False) + "\n")
        say(line)

    return told


def log_record(step: str, at: float, begun: float) -> dict[str, Any]:
    """A line of ``run.log``: when a step began (UTC), how long after the first, and what it is."""
    time_of = datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
    return {"time": time_of, "seconds": round(at - begun, 2), "step": step}


def write_json(path: Path, content: Any) -> None:
    """JSON without NaN, indented."""
    path.write_text(json.dumps(to_json(content), indent=2, allow_nan=False) + "\n", encoding="utf-8")


def to_json(value: Any) -> Any:
    """JSON types; numbers that are not finite become null."""
    if isinstance(value, dict):
        return {str(k): to_json(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(v) for v in value]
    if isinstance(value, np.ndarray):
        return to_json(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def versions() -> dict[str, str]:
    """Versions of everything that can change a number."""
    packages = ("cellprism", "torch", "numpy", "scipy", "pandas", "scikit-learn", "anndata", "scanpy", "numba")
    return {"python": platform.python_version()} | {p: _version(p) for p in packages}


@cache
def _version(package: str) -> str:
    """Read once: asked four times a run, they were a fifth of a small one."""
    return version(package)
