"""Run folders of every format that was ever written are still read, and mean the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from cli_runner import call

import cellprism
from cellprism.folder import RunFolder, verify

KEPT = sorted(p for p in Path(__file__).parent.iterdir() if p.name.startswith("run-"))


def test_each_format_has_one() -> None:
    from cellprism.folder import FORMAT_VERSION

    assert [p.name for p in KEPT] == [f"run-{v}" for v in range(1, FORMAT_VERSION + 1)]


@pytest.mark.parametrize("kept", KEPT, ids=lambda p: p.name)
def test_it_is_read_and_means_the_same(kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run"
    shutil.copytree(kept, path)
    assert verify(path)[1] == []
    folder = RunFolder.open(path)
    folder.check()
    again = cellprism.load(path).encode(folder.embedding)
    np.testing.assert_array_equal(again.indices, folder.codes.indices)
    np.testing.assert_allclose(again.data, folder.codes.data, rtol=1e-5)
    assert cellprism.embed.load(path / "model").name == "pca"
    for arguments in (
        ("report", path),
        ("match", path, kept, "-o", tmp_path / "match.csv"),
        ("export", path, "--network", tmp_path / "network.csv", "--level", 1),
        ("verify", path),
    ):
        done = call(capsys, *arguments)
        assert done.code == 0, (arguments, done.err)
