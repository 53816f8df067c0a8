"""Columns of numbers and names as one compressed block that a browser reads back as typed arrays."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Quantised", "pack", "smallest", "unpack", "varint"]

MISSING: Final = -32768  # the int16 that stands for NaN
ALIGN: Final = 4
_DTYPES: Final = {"uint8", "uint16", "uint32", "int8", "int16", "int32", "float32"}


@dataclass(frozen=True)
class Quantised:
    """Numbers to be kept as int16 multiples of a step.

    Parameters
    ----------
    values
        Numbers of any float dtype; NaN and infinities are allowed and read back as NaN and as the largest value.
    step
        The resolution; ``None`` takes the finest at which the largest value fits, but no finer than `finest`.
    finest
        A resolution below which nobody looks: coarser steps compress better.
    """

    values: ArrayLike
    step: float | None = None
    finest: float = 1e-4

    def encode(self) -> tuple[NDArray[np.int16], float]:
        """Give the int16 array and the step."""
        values = np.asarray(self.values, dtype=np.float64)
        finite = np.isfinite(values)
        largest = float(np.abs(values[finite]).max()) if finite.any() else 0.0
        step = self.step if self.step is not None else max(largest / 32767, self.finest)
        scaled = np.clip(
            np.nan_to_num(values / step, nan=0.0, posinf=largest / step, neginf=-largest / step), -32767, 32767
        )
        whole = np.rint(scaled).astype(np.int16)
        whole[np.isnan(values)] = MISSING
        return whole, step


def smallest(values: ArrayLike) -> NDArray[np.unsignedinteger[Any]]:
    """Non-negative integers in the smallest unsigned dtype that holds them."""
    values = np.asarray(values)
    top = int(values.max()) if values.size else 0
    return values.astype(np.uint8 if top < 1 << 8 else np.uint16 if top < 1 << 16 else np.uint32)


def varint(values: ArrayLike) -> NDArray[np.uint8]:
    """Non-negative integers below 2^28 as LEB128 bytes (seven bits a byte, the lowest first)."""
    values = np.asarray(values, dtype=np.uint32)
    n_bytes = 1 + (values >= 1 << 7).astype(np.int64) + (values >= 1 << 14) + (values >= 1 << 21)
    start = np.cumsum(n_bytes) - n_bytes
    out = np.zeros(int(n_bytes.sum()), dtype=np.uint8)
    for i in range(4):
        has = n_bytes > i
        more = np.where(n_bytes[has] > i + 1, 0x80, 0).astype(np.uint8)
        out[start[has] + i] = ((values[has] >> np.uint32(7 * i)) & np.uint32(0x7F)).astype(np.uint8) | more
    return out


def pack(columns: Mapping[str, ArrayLike | Quantised], meta: Mapping[str, Any] | None = None) -> bytes:
    """Make one gzip block of typed arrays and a JSON header.

    Layout before compression: length of the header (uint32, little endian), the header (UTF-8 JSON, padded with
    spaces to a multiple of four), then each array at its offset, aligned to four bytes.

    Parameters
    ----------
    columns
        One-dimensional arrays of (u)int8/16/32 or float32, or `Quantised`.
    meta
        Anything that JSON holds: names, scalars.

    Raises
    ------
    TypeError
        For another dtype.
    """
    arrays: dict[str, dict[str, Any]] = {}
    body = bytearray()
    for name, column in columns.items():
        entry: dict[str, Any] = {}
        if isinstance(column, Quantised):
            array: NDArray[Any]
            array, entry["step"] = column.encode()
        else:
            array = np.ascontiguousarray(column)
        if array.dtype.name not in _DTYPES:
            raise TypeError(f"column {name!r} has dtype {array.dtype.name}, which has no typed array")
        entry |= {"dtype": array.dtype.name, "at": len(body), "n": array.size}
        arrays[name] = entry
        body += array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        body += b"\0" * (-len(body) % ALIGN)
    header = json.dumps({"arrays": arrays, "meta": meta or {}}, ensure_ascii=False, allow_nan=False).encode()
    header += b" " * (-len(header) % ALIGN)
    whole = len(header).to_bytes(4, "little") + header + bytes(body)
    return gzip.compress(whole, 6, mtime=0)  # no time stamp: the same run gives the same page


def unpack(block: bytes) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read a block of `pack` back: arrays (steps applied) and the JSON."""
    whole = gzip.decompress(block)
    size = int.from_bytes(whole[:4], "little")
    header = json.loads(whole[4 : 4 + size])
    body = whole[4 + size :]
    arrays: dict[str, NDArray[Any]] = {}
    for name, entry in header["arrays"].items():
        array: NDArray[Any] = np.frombuffer(body, np.dtype(entry["dtype"]).newbyteorder("<"), entry["n"], entry["at"])
        if "step" in entry:
            array = np.where(array == MISSING, np.nan, array * entry["step"])
        arrays[name] = array
    return arrays, header["meta"]
