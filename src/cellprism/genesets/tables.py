"""Tables that users give: names of genes, networks."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd

from cellprism.data.text import read_text
from cellprism.errors import InputError

__all__ = ["read_table"]


def read_table(path: Path, what: str) -> pd.DataFrame:
    """Read a ``.csv``, ``.tsv``, ``.txt`` (tab-separated; all also gzipped) or ``.parquet`` file, all as text.

    Parameters
    ----------
    path
        The file.
    what
        What it is, for messages ("a table of names").

    Returns
    -------
    pandas.DataFrame
        The table; absent fields are missing values.

    Raises
    ------
    InputError
        If the file is of another kind, does not exist, or cannot be read.
    """
    suffix = Path(path.name.removesuffix(".gz")).suffix
    if suffix not in {".csv", ".tsv", ".txt", ".parquet"}:
        raise InputError(f"{what} is a .csv, .tsv, .txt (also .gz) or .parquet file", str(path), "convert it")
    try:
        if suffix == ".parquet":
            return pd.read_parquet(path)
        text = read_text(path, what)
        return pd.read_csv(io.StringIO(text), sep="," if suffix == ".csv" else "\t", dtype=str)
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{what} must exist", f"no file {path}", "check the path") from None
    except (OSError, EOFError, ValueError) as error:  # pandas and pyarrow tell of bad content by ValueError
        raise InputError(f"{what} must be readable", f"{path}: {error}", "check or fetch it again") from error
