"""Finished parts of long work, kept in a folder: what was stopped goes on from them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from cellprism.data.arrays import readable
from cellprism.errors import InputError
from cellprism.files import replacing

__all__ = ["kept_table", "same_settings"]


def kept_table(folder: str | Path | None, name: str, make: Callable[[], pd.DataFrame]) -> tuple[pd.DataFrame, bool]:
    """The table of this name in the folder, or a new one, which is put there whole or not at all; and whether it is new."""
    kept = None if folder is None else Path(folder) / name
    if kept is not None and kept.is_file():
        with readable(kept, "the parts of long work must be readable", "remove this file: it is made again"):
            return pd.read_parquet(kept), False
    part = make()
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with replacing(kept) as beside:
            part.to_parquet(beside, index=False)
    return part, True


def same_settings(folder: Path, settings: Mapping[str, Any], rule: str, *, note: bool = True) -> None:
    """Note in ``settings.json`` of a folder what its parts are of, and refuse to mix them with those of something else.

    Parameters
    ----------
    folder
        Where the parts lie, or will.
    settings
        JSON types.
    rule
        What holds, for the message.
    note
        Write them down where nothing is known yet; else only compare.

    Raises
    ------
    InputError
        If the folder holds the parts of other settings.
    """
    kept = folder / "settings.json"
    if kept.is_file():
        with readable(kept, "the settings of long work must be readable", "remove the folder, or name another"):
            known = json.loads(kept.read_text(encoding="utf-8"))
        if known != settings:
            raise InputError(rule, f"other settings in {kept}", "name another folder, or remove this one")
        return
    if not note:
        return
    kept.parent.mkdir(parents=True, exist_ok=True)
    with replacing(kept) as beside:
        beside.write_text(json.dumps(settings, indent=1), encoding="utf-8")
