"""A model on disk: ``model.json`` says what it is, ``model.safetensors`` holds its arrays. No pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellprism.errors import InputError

__all__ = ["read_model", "read_settings", "write_model"]

FORMAT = 1


def write_model(path: str | Path, name: str, settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a model's settings (JSON) and arrays (safetensors) into the folder ``path``."""
    from safetensors.numpy import save as to_bytes

    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    if arrays:
        content = to_bytes({k: np.ascontiguousarray(v) for k, v in arrays.items()})
        (folder / "model.safetensors").write_bytes(content)  # their own save_file lets nobody else read it
    text = json.dumps({"format": FORMAT, "model": name, "settings": dict(settings)}, indent=1)
    (folder / "model.json").write_text(text, encoding="utf-8")


def read_settings(path: str | Path) -> tuple[str, dict[str, Any]]:
    """The registered name of the model in ``path`` and its settings."""
    file = Path(path) / "model.json"
    if not file.is_file():
        raise InputError(
            "the folder must hold an embedding model", f"no {file}", "give the folder a model was saved to"
        )
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        version, name, settings = content["format"], content["model"], content["settings"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError("model.json must be one this package wrote", f"{error}", "save the model again") from error
    if version != FORMAT:
        raise InputError(f"the model's format must be {FORMAT}", f"{version!r}", "use the version that wrote it")
    return str(name), dict(settings)


def read_model(path: str | Path, name: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Settings and arrays of a model of the kind ``name``."""
    from safetensors.numpy import load_file

    found, settings = read_settings(path)
    if found != name:
        raise InputError(f"the model must be of kind {name!r}", repr(found), "use cellprism.embed.load")
    file = Path(path) / "model.safetensors"
    return settings, load_file(file) if file.is_file() else {}
