"""Compiled walks through sparse rows that sum, count or split without a second array as long as the matrix.

Rows are those of a CSR matrix (``ptr``, ``columns``, and what is stored beside each), in memory or mapped from a file.
"""

from __future__ import annotations

import numpy as np

from cellprism.stats.kernels import njit

__all__ = ["count_by_group", "dense_rows", "group_moments", "list_sums", "power_sums", "split_by_group", "take_columns"]


@njit
def power_sums(
    ptr: np.ndarray, columns: np.ndarray, data: np.ndarray, number: np.ndarray, shape: tuple[int, int], powers: int
) -> np.ndarray:
    """(powers, groups, columns) sums of values, their squares ... over the rows of each group; ``number`` -1: none.

    ``shape`` is (groups, columns).
    """
    out = np.zeros((powers, shape[0], shape[1]))
    for row in range(ptr.size - 1):
        group = number[row]
        if group < 0:
            continue
        for p in range(ptr[row], ptr[row + 1]):
            x = np.float64(data[p])
            y = x
            for k in range(powers):
                out[k, group, columns[p]] += y
                y *= x
    return out


@njit
def list_sums(
    ptr: np.ndarray, members: np.ndarray, data: np.ndarray, number: np.ndarray, n_groups: int, powers: int
) -> np.ndarray:
    """(powers + 1, lists, groups) counts, sums of values, of their squares ... of each compressed list, by the group of its members.

    ``number`` -1: none.
    """
    out = np.zeros((powers + 1, ptr.size - 1, n_groups))
    for i in range(ptr.size - 1):
        for k in range(ptr[i], ptr[i + 1]):
            group = number[members[k]]
            if group < 0:
                continue
            x = np.float64(data[k])
            y = 1.0
            for p in range(powers + 1):
                out[p, i, group] += y
                y *= x
    return out


@njit
def count_by_group(ptr: np.ndarray, members: np.ndarray, number: np.ndarray, n_groups: int) -> np.ndarray:
    """(lists, groups) members of each compressed list that are of each group."""
    out = np.zeros((ptr.size - 1, n_groups), dtype=np.int64)
    for i in range(ptr.size - 1):
        for k in range(ptr[i], ptr[i + 1]):
            out[i, number[members[k]]] += 1
    return out


@njit
def split_by_group(
    ptr: np.ndarray, members: np.ndarray, number: np.ndarray, n_groups: int
) -> tuple[np.ndarray, np.ndarray]:
    """Each compressed list as one list a group, members in their order."""
    out_ptr = np.zeros((ptr.size - 1) * n_groups + 1, dtype=np.int64)
    out = np.empty_like(members)
    at = np.empty(n_groups, dtype=np.int64)
    for i in range(ptr.size - 1):
        at[:] = 0
        for k in range(ptr[i], ptr[i + 1]):
            at[number[members[k]]] += 1
        for h in range(n_groups):
            place = i * n_groups + h
            out_ptr[place + 1] = out_ptr[place] + at[h]
            at[h] = out_ptr[place]
        for k in range(ptr[i], ptr[i + 1]):
            h = number[members[k]]
            out[at[h]] = members[k]
            at[h] += 1
    return out_ptr, out


@njit
def dense_rows(
    rows: np.ndarray,
    place: np.ndarray,
    ptr: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
    kind: np.ndarray,
    shift: np.ndarray,
    scale: np.ndarray,
) -> np.ndarray:
    """(rows, places) of some rows' values, each with the shift of its row's kind and by the scale of its place.

    Column ``c`` is at ``place[c]`` (-1: left out); ``kind`` (all rows), ``shift`` (kinds, places), ``scale`` (places,).
    """
    out = np.empty((rows.size, scale.size))
    empty = shift / scale
    for i in range(rows.size):
        row, h = rows[i], kind[rows[i]]
        out[i] = empty[h]
        for p in range(ptr[row], ptr[row + 1]):
            j = place[columns[p]]
            if j >= 0:
                out[i, j] = (values[p] + shift[h, j]) / scale[j]
    return out


@njit
def group_moments(
    group_ptr: np.ndarray, group_cells: np.ndarray, ptr: np.ndarray, columns: np.ndarray, data: np.ndarray, n: int
) -> np.ndarray:
    """(groups, 2, columns) sums of values and of their squares over lists of rows."""
    out = np.zeros((group_ptr.size - 1, 2, n))
    for i in range(group_ptr.size - 1):
        for k in range(group_ptr[i], group_ptr[i + 1]):
            for p in range(ptr[group_cells[k]], ptr[group_cells[k] + 1]):
                x = np.float64(data[p])
                out[i, 0, columns[p]] += x
                out[i, 1, columns[p]] += x * x
    return out


@njit
def take_columns(
    first: int,
    last: int,
    ptr: np.ndarray,
    columns: np.ndarray,
    data: np.ndarray,
    at: np.ndarray,
    fill: np.ndarray,
    rows: np.ndarray,
    values: np.ndarray,
    positions: np.ndarray,
) -> None:
    """Turn columns ``first`` ... ``last`` of CSR rows into columns; fills the last three arguments.

    ``at`` (rows,) is where each row goes on, so columns are to be asked for in order; ``fill`` (columns,) is where each
    column begins. ``positions`` says where each value lies in the rows.
    """
    for row in range(ptr.size - 1):
        k = at[row]
        while k < ptr[row + 1] and columns[k] < last:
            j = fill[columns[k] - first]
            rows[j], values[j], positions[j] = row, data[k], k
            fill[columns[k] - first] = j + 1
            k += 1
        at[row] = k
