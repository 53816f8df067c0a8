"""How commands end: by signals, with a broken standard error, at a full disk; and what names do to the terminal."""

from __future__ import annotations

import errno
import io
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_runner import call

from cellprism.cli.common import console, say
from cellprism.cli.ending import end_well, plain
from cellprism.folder import staged

SLOW = [
    sys.executable,
    "-m",
    "cellprism",
    "fit",
    "z.npy",
    "--width",
    "64",
    "--k",
    "8",
    "--epochs",
    "1000000",
    "-o",
    "out",
]


@pytest.fixture
def embedding(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "z.npy", rng.normal(size=(2000, 12)).astype(np.float32))
    return tmp_path


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda s: s.name)
def test_a_signal_ends_with_a_line_that_says_what_is_kept(embedding: Path, number: signal.Signals) -> None:
    before = signal.signal(
        number, signal.SIG_DFL
    )  # what runs the tests may ignore it (`nohup`, `&`), and a child inherits that
    try:
        work = subprocess.Popen(SLOW, cwd=embedding, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(number, before)
    assert work.stderr is not None
    assert "dimensions" in work.stderr.readline()  # at work
    work.send_signal(number)
    try:
        _, told = work.communicate(timeout=120)
    finally:
        work.kill()
    assert work.returncode == 128 + number
    assert re.fullmatch(r"Interrupted\. (Nothing was written\.|What was written is kept in .*)\n", told), told
    assert not (embedding / "out").exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize("stream", ["2>/dev/full", "2>&1 | head -c 1 >/dev/null", "2>&- >&- <&-"])
def test_a_broken_standard_error_does_not_end_the_work(embedding: Path, stream: str) -> None:
    line = " ".join(SLOW).replace("1000000", "2")
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {line} {stream}"], cwd=embedding, check=False)
    assert (embedding / "out" / "sae.safetensors").is_file()
    assert stream.startswith("2>&1") or done.returncode == 0


class _Gone(io.StringIO):
    def write(self, _: str) -> int:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def test_a_reader_of_the_steps_that_is_gone_does_not_end_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = _Gone()
    monkeypatch.setattr(sys, "stderr", gone)
    for step in ("one", "two"):
        say(step)
    assert sys.stderr is not gone  # given up
    sys.stderr.close()


def test_what_the_machine_refuses_is_told_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def full() -> None:
        with staged(tmp_path / "out") as folder:
            (folder / "half").write_text("x")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / "table"))

    with pytest.raises(SystemExit) as ended:
        end_well(full)
    assert ended.value.code == 1
    told = capsys.readouterr().err
    assert told.startswith("Error: No space left on device: ")
    assert "What was written is kept in" in told


def test_a_folder_that_is_gone_is_told_with_what_to_do(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    done = subprocess.run(
        ["bash", "-c", f'cd "$1" && rmdir "$1" && exec {sys.executable} -m cellprism report run', "_", str(gone)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert "the folder that this was started in is gone. Go to another (cd)" in done.stderr


def test_defects_keep_their_traceback() -> None:
    def defect() -> None:
        raise KeyError("defect")

    with pytest.raises(KeyError):
        end_well(defect)


@pytest.mark.parametrize("name", ["Mono [/CD16-]", "[acyl-carrier-protein] S-malonyltransferase", ":smile:", "[red]x"])
def test_names_are_shown_as_they_are(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    from rich.table import Table

    table = Table(title=name)
    table.add_column(name)
    table.add_row(name)
    console().print(table)
    console().print(name)
    assert capsys.readouterr().out.count(name) >= 4
    say(name)
    assert name in capsys.readouterr().err


def test_escape_sequences_in_names_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "\x1b]0;title\x07\x1b[2Jname\r\x9b"
    console().print(hostile)
    say(hostile)
    shown = capsys.readouterr()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", shown.out + shown.err)
    assert plain("a\tb\nc") == "a\tb\nc"


@pytest.mark.parametrize("make", ["page", "match", "encode", "gmt"])
def test_files_that_exist_are_not_replaced_unasked(
    tmp_path: Path, demo, make: str, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = tmp_path / {"page": "notes.txt", "match": "t.csv", "encode": "c.npz", "gmt": "s.gmt"}[make]
    taken.write_text("mine")
    arguments = {
        "page": ("report", demo.path, "-o", taken),
        "match": ("match", demo.path, demo.path, "-o", taken),
        "encode": ("encode", demo.path, demo.path / "embedding.npy", "-o", taken),
        "gmt": ("export", demo.path, "--gmt", taken),
    }[make]
    done = call(capsys, *arguments)
    assert (done.code, taken.read_text()) == (2, "mine")
    done = call(capsys, *arguments, "--overwrite")
    assert done.code == 0, done.err
    assert taken.read_bytes() != b"mine"
    assert [p.name for p in tmp_path.iterdir()] == [taken.name]


def test_a_simulation_is_replaced_only_by_a_finished_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cells.h5ad"
    path.write_text("mine")
    for wrong in (("--n-cells", 10, "--held-out", 50), ("--seed", -1)):
        assert call(capsys, "simulate", "small", *wrong, "--overwrite", "-o", path).code == 2
        assert path.read_text() == "mine"
    folder = tmp_path / "other.zarr"
    folder.mkdir()
    (folder / "thing").write_text("mine")
    assert call(capsys, "simulate", "small", "--n-cells", 20, "--held-out", 2, "--overwrite", "-o", folder).code == 2
    assert (folder / "thing").read_text() == "mine"
