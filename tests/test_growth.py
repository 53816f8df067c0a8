"""Samples one after another in one process (``benchmarks/growth.py``, its short version): nothing stays behind."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from helpers import counts_adata, type_sets

import cellprism as prism
from cellprism.data.read import read_cells

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
from growth import held

ROUNDS, MIB = 12, 3.0


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory and open files are told by Linux")
def test_a_process_holds_no_more_after_many_samples(tmp_path: Path) -> None:
    """After the first rounds, which compile and load, six rounds may add 3 MiB; where each sample is kept they add 6."""
    found = []
    for i in range(ROUNDS):
        path = tmp_path / f"{i}.h5ad"
        counts_adata(600, 200, seed=i, d=12).write_h5ad(path)
        cells = read_cells(path)
        prism.tl.fit(cells, "X_emb", cfg=prism.SAEConfig(24, "topk", k=3), seeds=2, epochs=2)
        prism.tl.annotate(cells, type_sets(200), labels=["cell_type"], nulls=("permuted",))
        found.append(held())
    early, late = found[ROUNDS // 4 : ROUNDS // 2], found[-ROUNDS // 4 :]  # the least of each: pools come and go
    assert min(one["files"] for one in late) <= min(one["files"] for one in early)
    assert min(one["threads"] for one in late) <= min(one["threads"] for one in early)
    assert min(one["mib"] for one in late) - min(one["mib"] for one in early) < MIB, [one["mib"] for one in found]
