"""Which features are active in which cell, of topk and batchtopk: bars that are guessed, and lists that are cut exactly."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from cellprism.numba_cache import FASTMATH, compiled
from cellprism.sae.steps.coded.barrier import meet
from cellprism.sae.steps.coded.collect import collect
from cellprism.sae.steps.shared.epochs import Batches, Objective, Weights, shift
from cellprism.sae.steps.shared.largest import keep_largest
from cellprism.sae.steps.shared.vectors import LANES, ROWS

__all__ = ["Bars", "Entries", "Selection", "Team", "Tile", "room", "select", "share_of_cells"]

_LEAST_TILE = 16
_GUESS, _DARED, _THRESHOLD = 0, 1, 2  # places in the bars' state


class Team(NamedTuple):
    """Threads that share an epoch."""

    thread: int
    threads: int
    counter: Any
    """What they meet at."""


class Selection(NamedTuple):
    """What stays active."""

    k: int
    whole: bool
    """The k a cell are counted over the whole batch."""
    momentum: float
    """Of batchtopk's threshold."""


class Entries(NamedTuple):
    """Active codes of a batch's cells, a list a cell, and the cells, seen by all threads."""

    feature: Any
    """(batch, most)."""
    value: Any
    by_code: Any
    """(batch, most) products of residuals and decoder rows."""
    count: Any
    """(batch,) length of each list."""
    x: Any
    """(batch, r) the cells."""
    xs: Any
    """(batch, r) as the encoder sees them."""


class Bars(NamedTuple):
    """Where the search for active features starts."""

    state: Any
    """(3,) the bar that batchtopk's last batch suggests, the share of a cell's last k-th largest value that topk dares to
    start from, batchtopk's threshold."""
    memory: Any
    """(cells,) k-th largest value of each cell when it was last seen."""
    missed: Any
    """(threads,) cells that the bar left with fewer than k."""


class Tile(NamedTuple):
    """Room of one thread for some cells at a time."""

    turned: Any
    """(r, LANES)."""
    shift: Any
    """(r,)."""
    out: Any
    """(ROWS, LANES) pre-activations."""
    bar: Any
    """(LANES,)."""
    scratch: Any
    """(batch * most,) where entries of the whole batch are compared."""
    nowhere: Any
    """What goes with them."""


@compiled()
def room(r: int, entries: Entries, whole: bool) -> Tile:
    """Room for a thread that selects."""
    turned, out = np.zeros((r, LANES), np.float32), np.empty((ROWS, LANES), np.float32)
    scratch = np.empty(entries.value.size if whole else 1, np.float32)
    return Tile(
        turned,
        np.empty(r, np.float32),
        out,
        np.full(LANES, np.inf, np.float32),
        scratch,
        np.empty(scratch.size, np.int32),
    )


@compiled()
def share_of_cells(team: Team, batch: int, n: int) -> tuple[int, int, int]:
    """Which of a batch's n cells are this thread's, and how many it takes at a time."""
    tile = LANES
    while tile > _LEAST_TILE and tile * team.threads > batch:
        tile //= 2
    tiles = -(-n // tile)
    lo, hi = tiles * team.thread // team.threads * tile, tiles * (team.thread + 1) // team.threads * tile
    return lo, min(hi, n), tile


@compiled(fastmath=FASTMATH)
def _collect_one(xs: Any, q: int, b: int, W: Any, c: Any, k: int, feature: Any, value: Any, count: Any) -> None:
    """All positive entries of one cell (at most as many as fit: then the k largest so far)."""
    most = feature.shape[1]
    r = W.shape[1]
    n = 0
    bar = np.float32(0)
    x = np.empty(r, np.float32)
    for i in range(r):
        x[i] = xs[i, q]
    for j in range(W.shape[0]):
        s = c[j]
        for i in range(r):
            s += W[j, i] * x[i]
        if s > bar:
            feature[b, n] = j
            value[b, n] = s
            n += 1
            if n == most and most < W.shape[0]:
                keep_largest(value[b], feature[b], n, k)
                n = k
                bar = value[b, 0]
                for t in range(1, k):
                    bar = min(bar, value[b, t])
    count[b] = n


@compiled()
def _fetch(
    cells: Batches, first: int, a: int, size: int, of: Weights, objective: Objective, to: Entries, tile: Tile
) -> None:
    """Cells ``a`` ... ``a + size`` of the batch that starts at ``first``, without entries yet."""
    x, order, turned, added = cells.x, cells.order, tile.turned, tile.shift
    mine, xs, count = to.x, to.xs, to.count
    shift(of.biases.decoder.value, of.biases.input.value, objective, added)
    for q in range(size):
        row = order[first + a + q]
        for i in range(x.shape[1]):
            v = x[row, i]
            mine[a + q, i] = v
            v += added[i]
            xs[a + q, i] = v
            turned[i, q] = v
        count[a + q] = 0
    tile.bar[size:] = np.inf


@compiled()
def _cut_to_k(rows: Any, a: int, of: Weights, k: int, entries: Entries, bars: Bars, tile: Tile) -> int:
    """Leave each cell its k largest, searched for again where the bar was too high; how often that was."""
    feature, value, count, memory = entries.feature, entries.value, entries.count, bars.memory
    missed = 0
    for q in range(len(rows)):
        cell, row = a + q, rows[q]
        if count[cell] < k and memory[row] > 0:
            _collect_one(tile.turned, q, cell, of.encoder.value, of.encoder_bias.value, k, feature, value, count)
            missed += 1
        if count[cell] > k:
            keep_largest(value[cell], feature[cell], count[cell], k)
            count[cell] = k
        least = np.float32(0)
        if count[cell] == k:
            least = value[cell, 0]
            for e in range(1, k):
                least = min(least, value[cell, e])
        memory[row] = least
    return missed


@compiled()
def _lowest_kept(of: Entries, n: int, wanted: int, tile: Tile) -> Any:
    """The ``wanted``-th largest of all entries; their least where there are as many, 0 where there are fewer."""
    value, count, scratch = of.value, of.count, tile.scratch
    total = 0
    for b in range(n):
        for t in range(count[b]):
            scratch[total] = value[b, t]
            total += 1
    if total < wanted:
        return np.float32(0)
    if total > wanted:
        keep_largest(scratch, tile.nowhere, total, wanted)
    least = scratch[0]
    for t in range(1, wanted):
        least = min(least, scratch[t])
    return least


@compiled()
def _cut_below(lo: int, hi: int, of: Entries, lowest: Any) -> None:
    """Leave the entries of some cells that are no less than the lowest kept."""
    feature, value, count = of.feature, of.value, of.count
    for cell in range(lo, hi):
        m = 0
        for e in range(count[cell]):
            if value[cell, e] >= lowest:
                value[cell, m], feature[cell, m] = value[cell, e], feature[cell, e]
                m += 1
        count[cell] = m


@compiled()
def _over_bars(
    team: Team, cells: Batches, first: int, n: int, of: Weights, objective: Objective, selection: Selection,
    entries: Entries, bars: Bars, state: Any, bar: Any, tile: Tile,
) -> None:  # fmt: skip
    """Fetch this thread's cells and list their entries over ``bar`` for batchtopk, the k largest for topk."""
    lo, hi, at_a_time = share_of_cells(team, cells.size, n)
    dared, W, c, k = np.float32(state[_DARED]), of.encoder.value, of.encoder_bias.value, selection.k
    over, memory = tile.bar, bars.memory
    for a in range(lo, hi, at_a_time):
        size = min(at_a_time, hi - a)
        rows = cells.order[first + a : first + a + size]
        _fetch(cells, first, a, size, of, objective, entries, tile)
        for q in range(size):
            over[q] = bar if selection.whole else dared * memory[rows[q]]
        collect(tile.turned, a, W, c, k, tile.out, over, entries.feature, entries.value, entries.count)
        if not selection.whole:
            bars.missed[team.thread] += _cut_to_k(rows, a, of, k, entries, bars, tile)


@compiled()
def select(
    team: Team, cells: Batches, t: int, n: int, of: Weights, objective: Objective, selection: Selection,
    entries: Entries, bars: Bars, state: Any, tile: Tile,
) -> None:  # fmt: skip
    """Active codes of this thread's cells in step ``t``; ``state`` is its own copy of the bars'.

    Batchtopk's lists of all cells are cut together: the threads meet for it, and each comes to the same bar. Where the one
    that was guessed leaves too few entries, all search again without.
    """
    bar, first = np.float32(state[_GUESS]), t * cells.size
    for _again in range(2):
        _over_bars(team, cells, first, n, of, objective, selection, entries, bars, state, bar, tile)
        if not selection.whole:
            return
        meet(team.counter, team.threads)
        wanted = min(selection.k * n, n * len(of.encoder.value))
        lowest = _lowest_kept(entries, n, wanted, tile)
        enough = entries.count[:n].sum()
        meet(team.counter, team.threads)  # all have counted before any list is changed
        if enough >= wanted or bar <= 0:
            lo, hi, _ = share_of_cells(team, cells.size, n)
            _cut_below(lo, hi, entries, lowest)
            state[_GUESS] = np.float32(0.8) * lowest
            old, share = state[_THRESHOLD], np.float32(selection.momentum)
            state[_THRESHOLD] = lowest if old < 0 else selection.momentum * old + (np.float32(1) - share) * lowest
            return
        bar = np.float32(0)
