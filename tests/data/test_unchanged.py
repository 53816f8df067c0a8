"""What a run says it read is what it read: files that change or go meanwhile are refused, and their digest is of before."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cellprism.data.unchanged import check_unchanged, hash_files
from cellprism.errors import InputError

CHANGES: dict[str, Callable[[Path], None]] = {
    "longer": lambda p: p.write_bytes(b"other content"),
    "as long": lambda p: (p.write_bytes(b"edcba"), os.utime(p, ns=(1, 1)))[-1],
    "another file in its place": lambda p: (p.with_name("b").write_bytes(b"abcdX"), p.with_name("b").replace(p))[-1],
    "removed": lambda p: p.unlink(),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("folder", [False, True], ids=["file", "folder"])
def test_files_that_change_while_they_are_read_are_refused(change: str, folder: bool, tmp_path: Path) -> None:
    path = tmp_path / "in" / "a"
    path.parent.mkdir()
    path.write_bytes(b"abcde")
    hashed = hash_files({"data": path.parent if folder else path, "absent": tmp_path / "absent"})
    assert set(hashed) == {"data"}
    if not folder:
        assert hashed["data"].sha256 == hashlib.sha256(b"abcde").hexdigest()
    check_unchanged(hashed)
    CHANGES[change](path)
    with pytest.raises(InputError, match="must stay as they are while they are read"):
        check_unchanged(hashed)
