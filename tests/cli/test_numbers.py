"""Every option that is a number: what it cannot be is refused before the work, under the name that the command line has for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import typer
from cli_runner import call
from helpers import counts_adata
from report.make_run import make_run

from cellprism.cli import app
from cellprism.ranges import LARGEST, range_of

COMMANDS = {
    "run": ("cells.h5ad", "--embed", "pca", "-o", "{out}"),
    "fit": ("z.npy", "-o", "{out}"),
    "annotate": ("codes.npz", "cells.h5ad", "-o", "{out}"),
    "evaluate": ("run",),
    "export": ("run", "--gmt", "{out}.gmt"),
    "match": ("run", "run", "-o", "{out}.csv"),
    "steer": ("run", "--feature", "1", "--to", "1", "-o", "{out}"),
    "serve": ("run",),
    "sweep": ("small", "-o", "{out}"),
    "simulate small": ("-o", "{out}.h5ad"),
    "simulate large": ("-o", "{out}.h5ad"),
    "benchmark small": ("-o", "{out}"),
    "benchmark reduced": ("-o", "{out}"),
    "benchmark paper": ("-o", "{out}"),
    "benchmark planted": ("cells.h5ad", "-o", "{out}"),
}
"""The least that each is called with."""


def numbers(group: Any, before: str = "") -> Iterator[tuple[str, str, bool]]:
    """Command, option, and whether it takes fractions."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from numbers(command, f"{before}{name} ")
            continue
        for parameter in command.params:
            about = getattr(parameter, "type_descriptor", None)
            kind = str(about.annotation if about is not None else parameter.type)
            if parameter.param_type_name == "option" and any(word in kind.lower() for word in ("int", "float")):
                yield before + name, max(parameter.opts, key=len), "float" in kind.lower()


def outside(command: str, option: str, fraction: bool) -> Iterator[str]:
    """Numbers out of each bound of an option."""
    kind = range_of(option[2:].replace("-", "_"), command.rpartition(" ")[2])
    assert kind is not None, f"{option} of {command} has no range in cellprism.ranges"
    if kind.least is not None or kind.above is not None:
        yield "-7"
    if kind.least == 1:
        yield "0"
    for bound in (kind.above, kind.below):
        if bound is not None:
            yield f"{bound:g}"
    if kind.most is not None:
        yield f"{kind.most * 2:g}" if fraction else str(kind.most + 1)
    if fraction:
        if kind.most is not None or kind.below is not None:
            yield "1e300"
    else:
        yield str(LARGEST + 1)


NUMBERS = list(numbers(typer.main.get_command(app)))
CASES = [
    *(
        (command, option, value)
        for command, option, fraction in NUMBERS
        for value in outside(command, option, fraction)
    ),
    *((command, option, word) for command, option, fraction in NUMBERS if fraction for word in ("nan", "inf")),
]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    cells = counts_adata(40, 20)
    cells.write_h5ad(folder / "cells.h5ad")
    np.save(folder / "z.npy", cells.obsm["X_emb"])
    sp.save_npz(
        folder / "codes.npz", sp.random_array((40, 5), density=0.4, format="csr", random_state=np.random.default_rng(0))
    )
    make_run(folder / "run")
    return folder


def test_every_command_with_numbers_is_tried() -> None:
    assert {command for command, _, _ in NUMBERS} == set(COMMANDS)
    assert len(NUMBERS) > 80


@pytest.mark.parametrize(("command", "option", "value"), CASES, ids=lambda v: str(v))
def test_refused_by_name(
    command: str,
    option: str,
    value: str,
    inputs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(inputs)
    given = [a.replace("{out}", str(tmp_path / "out")) for a in COMMANDS[command]]
    if option in given:
        at = given.index(option)
        del given[at : at + 2]
    done = call(capsys, *command.split(), *given, option, value)
    assert done.code == 2, done
    assert option in done.err
    assert "Traceback" not in done.err
    assert list(tmp_path.iterdir()) == []
