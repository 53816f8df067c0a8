"""Every public function has an example in its docstring, and all examples run on small cells."""

from __future__ import annotations

import doctest
import importlib
import inspect
import types
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import page_workspace as workspace
import pytest

import cellprism as prism


def public() -> dict[str, Any]:
    """Public names with their values; of a room that imports none itself, those that it lists by file."""
    found = {}
    for name in prism.__all__:
        value = getattr(prism, name)
        found[name] = value
        found |= {f"{name}.{n}": getattr(value, n) for n in getattr(value, "__all__", ())}
        for file, names in getattr(value, "PUBLIC", {}).items():
            module = importlib.import_module(f"{value.__name__}.{file}")
            found |= {f"{name}.{file}.{n}": getattr(module, n) for n in names}
    return found


def documented() -> dict[str, Any]:
    """Public functions, and classes to work with among the package's own names, each by one of its names."""
    found: dict[int, tuple[str, Any]] = {}
    for name, value in public().items():
        own_class = inspect.isclass(value) and "." not in name and not issubclass(value, Exception)
        if inspect.isfunction(value) or own_class:
            found.setdefault(id(value), (name, value))
    return dict(found.values())


FUNCTIONS = documented()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("examples")
    workspace.make_files(folder)
    workspace.make_run(folder / "RUN", folder)
    return folder, workspace.example_names(folder)


def test_every_public_function_has_an_example() -> None:
    assert len(FUNCTIONS) > 130
    assert not [name for name, function in FUNCTIONS.items() if ">>>" not in (function.__doc__ or "")]


def test_every_room_says_what_is_public() -> None:
    for name in prism.__all__:
        room = getattr(prism, name)
        if isinstance(room, types.ModuleType):
            assert hasattr(room, "__all__") != hasattr(room, "PUBLIC"), name
            for file, names in getattr(room, "PUBLIC", {}).items():
                assert set(names) <= set(importlib.import_module(f"{room.__name__}.{file}").__all__), (name, file)


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
