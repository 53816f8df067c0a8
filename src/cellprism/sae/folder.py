"""SAE folders: ``config.json`` (what it is) beside ``sae.safetensors`` (its numbers). Nothing is ever unpickled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor

from cellprism.errors import InputError

__all__ = ["FORMAT_VERSION", "read_folder", "write_folder"]

FORMAT_VERSION = 1


def write_folder(folder: Path, config: dict[str, Any], d: int, tensors: dict[str, Tensor]) -> None:
    """Write the config, the dimension of the raw embedding and the numbers of an SAE; the folder is made where it is absent."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    (folder / "sae.safetensors").write_bytes(to_bytes(tensors))  # their own save_file lets nobody else read it
    about = {"format": "cellprism-sae", "format_version": FORMAT_VERSION, "d": d, "config": config}
    (folder / "config.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def read_folder(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Config and numbers of an SAE folder, or of the one under ``sae/`` of a run folder; see :func:`cellprism.load`."""
    folder = Path(path)
    if not (folder / "config.json").exists() and (folder / "sae" / "config.json").exists():
        folder = folder / "sae"
    for name in ("config.json", "sae.safetensors"):
        if not (folder / name).is_file():
            raise InputError(
                "an SAE folder holds config.json and sae.safetensors", f"no {name} in {folder}", "check the path"
            )
    try:
        about = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise InputError(
            "config.json must be JSON", f"{folder / 'config.json'}: {error}", "save the SAE again"
        ) from error
    if not isinstance(about, dict) or about.get("format") != "cellprism-sae":
        raise InputError("config.json must describe a cellprism SAE", f"{folder / 'config.json'}", "check the path")
    for name, kind in (("format_version", int), ("config", dict)):
        if not isinstance(about.get(name), kind) or isinstance(about.get(name), bool):
            raise InputError(
                f"config.json must hold `{name}`", repr(about.get(name)), "save the SAE again with this version"
            )
    if about["format_version"] > FORMAT_VERSION:
        raise InputError(
            f"this version reads SAE format {FORMAT_VERSION} or older",
            f"format {about['format_version']}",
            "upgrade cellprism",
        )
    try:
        tensors = load_file(str(folder / "sae.safetensors"))
    except (SafetensorError, OSError) as error:
        raise InputError(
            "sae.safetensors must be readable", f"{folder}: {error}", "copy or save the SAE again"
        ) from error
    broken = sorted(name for name, tensor in tensors.items() if not torch.isfinite(tensor).all())
    if broken:
        raise InputError(
            "the numbers of an SAE are finite", f"NaN or inf in {', '.join(broken)} of {folder}", "train it again"
        )
    return about["config"], tensors
