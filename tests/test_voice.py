"""--quiet, --verbose and --json of every command, and the log of its steps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cli_runner import call

from cellprism.cli import command_line
from cellprism.cli.voice import voiced

FIT = ("--width", 8, "--k", 2, "--epochs", 3)


@pytest.fixture
def embedding(tmp_path: Path) -> Path:
    np.save(tmp_path / "z.npy", np.random.default_rng(0).normal(size=(80, 4)).astype(np.float32))
    return tmp_path / "z.npy"


def test_every_command_has_them() -> None:
    def leaves(command: object) -> list[object]:
        inner = getattr(command, "commands", {})
        return [leaf for one in inner.values() for leaf in leaves(one)] if inner else [command]

    for leaf in leaves(voiced(command_line())):
        names = [name for one in leaf.params for name in one.opts]
        assert len(names) == len(set(names))
        assert {"--quiet", "--verbose", "--json"} <= set(names)


def test_quiet_shows_the_result_alone(embedding: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loud = call(capsys, "fit", embedding, *FIT, "-o", tmp_path / "loud")
    quiet = call(capsys, "fit", embedding, *FIT, "-o", tmp_path / "quiet", "--quiet")
    assert "80 cells" in loud.err
    assert quiet.err == ""
    assert quiet.out.split(": ")[0] == loud.out.split(": ")[0] != ""


def test_verbose_says_when(embedding: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert " s  80 cells" in call(capsys, "fit", embedding, *FIT, "-o", tmp_path / "out", "--verbose").err


def test_json_is_all_that_is_printed(embedding: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    done = call(capsys, "fit", embedding, *FIT, "-o", out, "--json")
    steps = [json.loads(line) for line in done.err.splitlines()]
    assert [set(step) for step in steps] == [{"time", "seconds", "step"}] * len(steps)
    assert steps
    result = json.loads(done.out)
    assert result["command"] == "fit"
    assert result["run"] == json.loads((out / "run.json").read_text())
    assert [json.loads(line)["step"] for line in (out / "run.log").read_text().splitlines()] == [
        s["step"] for s in steps
    ]
    refused = call(capsys, "fit", embedding, *FIT, "-o", out, "--json")
    told = json.loads(refused.err)
    assert (told["exit"], refused.code, refused.out) == (2, 2, "")
    assert told["remedy"]


def test_one_way_at_a_time(embedding: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = call(capsys, "fit", embedding, "-o", tmp_path / "out", "--quiet", "--json")
    assert done.code == 2
    assert "--quiet and --json" in done.err
