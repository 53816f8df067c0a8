"""Rank-value tokens of cells, as Geneformer makes them, from plain token files."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellprism.data.text import read_text, text_lines
from cellprism.embed.base import as_csr, is_counts, library_size, matrix, without_zeros
from cellprism.errors import InputError

__all__ = ["RankTokenizer", "convert_pickled_dictionary", "read_dictionary"]


@dataclass(frozen=True)
class RankTokenizer:
    """A cell becomes the list of its genes, the most unusually expressed first.

    Counts are divided by the cell's total and by the gene's median over a large corpus (its non-zero median); detected
    genes are sorted by that value, falling, and cut to the model's length. Source: Theodoris et al., Nature 618:616
    (2023).
    """

    tokens: Mapping[str, int]
    """Gene -> token; special tokens are written ``<pad>``, ``<cls>``, ``<eos>``."""
    medians: Mapping[str, float]
    """Gene -> median; genes without one are not tokenised."""
    max_length: int = 2048
    special: bool = True
    """Put ``<cls>`` first and ``<eos>`` last, where the dictionary has them."""

    def __post_init__(self) -> None:
        if "<pad>" not in self.tokens:
            raise InputError(
                "the token dictionary must have <pad>", f"{len(self.tokens)} tokens", "give the model's file"
            )
        if self.max_length < 3:
            raise InputError("`max_length` must be at least 3", f"{self.max_length}", "use the model's own length")

    @property
    def names(self) -> dict[int, str]:
        """Token -> gene."""
        return {t: g for g, t in self.tokens.items()}

    def __call__(self, adata: Any, layer: str | None = None) -> list[NDArray[np.int64]]:
        """Tokens of each cell.

        Parameters
        ----------
        adata
            Raw counts; ``var_names`` are the dictionary's gene names (Ensembl identifiers for Geneformer).

        Raises
        ------
        InputError
            For other values than counts, or when no gene is in the dictionary.
        """
        X = as_csr(matrix(adata, layer))
        if not is_counts(X):
            raise InputError(
                "rank-value tokens need raw counts", "other values", "name the layer that holds the counts"
            )
        X = without_zeros(X)
        size = np.maximum(library_size(X), 1.0)
        names = [str(g) for g in adata.var_names]
        token = np.asarray([self.tokens.get(g, -1) if g in self.medians else -1 for g in names])
        if (token < 0).all():
            raise InputError(
                "the genes must be named as in the token dictionary",
                f"none of {len(names)}, as {names[0]!r}; the dictionary has names as {next(iter(self.medians), '')!r}",
                "put these identifiers into var_names",
            )
        median = np.asarray([float(self.medians.get(g, 1.0)) for g in names])
        head = [self.tokens["<cls>"]] if self.special and "<cls>" in self.tokens else []
        tail = [self.tokens["<eos>"]] if self.special and "<eos>" in self.tokens else []
        room = self.max_length - len(head) - len(tail)
        out = []
        for i in range(X.shape[0]):
            at = slice(X.indptr[i], X.indptr[i + 1])
            genes = X.indices[at]
            value = X.data[at] / size[i] * 1e4 / median[genes]
            usable = token[genes] >= 0
            # Ties keep the order of the genes, so that tokens do not depend on the machine.
            order = np.argsort(-value[usable], kind="stable")[:room]
            out.append(np.asarray([*head, *token[genes[usable]][order], *tail], dtype=np.int64))
        return out


def read_dictionary(path: str | Path) -> dict[str, float]:
    """Gene -> number, from JSON (an object) or a table of two columns (TSV, CSV, no header)."""
    path = Path(path)
    if not path.is_file():
        raise InputError("the dictionary must exist", f"no {path}", "check the path")
    if path.suffix in {".pkl", ".pickle"}:
        raise InputError(
            "dictionaries are read from JSON or TSV, since a pickle can run code",
            path.name,
            "convert it once with convert_pickled_dictionary",
        )
    try:
        text = read_text(path, "the dictionary")
        if path.suffix == ".json":
            return {str(k): float(v) for k, v in json.loads(text).items()}
        rows = [line.replace(",", "\t").split("\t") for line in text_lines(text) if line.strip()]
        return {gene: float(value) for gene, value in rows}
    except (ValueError, AttributeError) as error:
        raise InputError(
            "a dictionary holds a name and a number an entry", f"{path.name}: {error}", "mend it"
        ) from error


class _PlainUnpickler(pickle.Unpickler):
    """Reads dictionaries of strings and numbers; anything that would call a function is refused."""

    ALLOWED = frozenset({("numpy", "dtype"), ("numpy.core.multiarray", "scalar"), ("numpy._core.multiarray", "scalar")})

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module, name)


def convert_pickled_dictionary(source: str | Path, target: str | Path) -> None:
    """Rewrite a published pickled dictionary (token or median file) as JSON, without running anything in it."""
    with Path(source).open("rb") as file:
        try:
            content = _PlainUnpickler(file).load()
        except (pickle.UnpicklingError, EOFError, AttributeError, ValueError, IndexError) as error:
            raise InputError(
                "a pickled dictionary may hold strings and numbers only", str(error), "ask for a JSON file"
            ) from error
    if not isinstance(content, dict) or not all(isinstance(k, str) for k in content):
        raise InputError("the pickle must be a dictionary of names", type(content).__name__, "give the token file")
    plain = {k: v.item() if isinstance(v, np.generic) else v for k, v in content.items()}
    if not all(isinstance(v, (int, float)) for v in plain.values()):
        raise InputError("the dictionary's values must be numbers", "others", "give the token or the median file")
    Path(target).write_text(json.dumps(plain), encoding="utf-8")
