"""The one rule for compiled loops: kept on disk where numba finds a place that it can write, else compiled afresh."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pickle import UnpicklingError
from typing import Any, TypeVar, cast

import numba

__all__ = ["FASTMATH", "compiled"]

FASTMATH = {"reassoc", "contract", "nsz", "arcp"}
"""Sums may be reordered into vector lanes; NaN and infinity keep their meaning, so that divergence is seen."""
_F = TypeVar("_F", bound=Callable[..., Any])


def compiled(**options: Any) -> Callable[[_F], _F]:
    """Numba's ``njit`` without the interpreter's lock; whether a cache can be had decides nothing but the time it takes.

    Numba looks at ``NUMBA_CACHE_DIR``, beside the source and in the user's cache folder, and refuses to compile at all
    where it may write nowhere, as in a container with a read-only root and no home.

    Parameters
    ----------
    options
        Of ``numba.njit``, such as ``fastmath`` or ``error_model``.
    """

    def compile_(function: _F) -> _F:
        try:
            made = numba.njit(cache=True, nogil=True, **options)(function)
        except (RuntimeError, OSError):  # numba: "no locator available"; or the named folder cannot be made
            return cast("_F", numba.njit(nogil=True, **options)(function))
        _forgive(made)
        return cast("_F", made)

    return compile_


def _forgive(made: Any) -> None:
    """Let a full disk, or a cache that another version of this package left, cost time and not the computation."""
    cache = getattr(made, "_cache", None)
    if cache is None or not hasattr(cache, "save_overload"):
        return
    load, save = cache.load_overload, cache.save_overload

    def load_overload(*arguments: Any) -> Any:
        try:
            return load(*arguments)
        except (AttributeError, ImportError, EOFError, UnpicklingError):  # records that it names are elsewhere by now
            with suppress(OSError):
                cache.flush()
            return None

    def save_overload(*arguments: Any) -> None:
        with suppress(OSError):
            save(*arguments)

    cache.load_overload, cache.save_overload = load_overload, save_overload
