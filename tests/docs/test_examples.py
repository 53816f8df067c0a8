"""Every public function has an example in its docstring, and all examples run on small cells."""

from __future__ import annotations

import doctest
import inspect
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import page_workspace as workspace
import pytest

import cellprism as prism


def functions() -> dict[str, Callable[..., Any]]:
    """Public functions by one of their names."""
    found: dict[int, tuple[str, Callable[..., Any]]] = {}
    for name in prism.__all__:
        value = getattr(prism, name)
        inner = {f"{name}.{n}": getattr(value, n) for n in getattr(value, "__all__", ())}
        for shown, one in (inner if isinstance(value, types.ModuleType) else {name: value}).items():
            if inspect.isfunction(one):
                found.setdefault(id(one), (shown, one))
    return dict(found.values())


FUNCTIONS = functions()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("examples")
    workspace.make_files(folder)
    workspace.make_run(folder / "RUN", folder)
    return folder, workspace.example_names(folder)


def test_every_public_function_has_an_example() -> None:
    assert len(FUNCTIONS) > 80
    assert not [name for name, function in FUNCTIONS.items() if ">>>" not in (function.__doc__ or "")]


def test_few_examples_are_skipped_and_each_says_why() -> None:
    skipped = {name: f.__doc__ or "" for name, f in FUNCTIONS.items() if "+SKIP" in (f.__doc__ or "")}
    assert len(skipped) <= 10, list(skipped)
    assert all("Not run by the tests: it " in doc for doc in skipped.values())


COMPILES = {"pl.terms"}  # UMAP, for half a minute; its own test draws the same


@pytest.mark.filterwarnings("ignore::cellprism.errors.CellsLeftOut")
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name in COMPILES else name for name in FUNCTIONS],
)
def test_examples_run(
    name: str, made: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, given = made
    for source in folder.iterdir():
        (tmp_path / source.name).symlink_to(source)
    if name in ("report.build",):  # writes into the run
        (tmp_path / "RUN").unlink()
        workspace.copy(folder / "RUN", tmp_path / "RUN")
    monkeypatch.chdir(tmp_path)
    names = given | {"adata": given["adata"].copy()}
    test = doctest.DocTestParser().get_doctest(inspect.getdoc(FUNCTIONS[name]) or "", names, name, None, None)
    said: list[str] = []
    with mpl.rc_context({"backend": "agg"}):
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
        runner.run(test, out=said.append)
        plt.close("all")
    assert runner.failures == 0, "".join(said)
