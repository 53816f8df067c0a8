"""The site builds without a warning, and its reference has every public name, every option and every column."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from page_blocks import ROOT

import cellprism
from cellprism.cli import command_line
from cellprism.folder.columns import FILES

DOCS = ROOT / "docs"
NEEDED = ("sphinx", "myst_nb", "sphinx_book_theme", "sphinx_copybutton", "sphinx_design")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]


@pytest.fixture(scope="module")
def reference() -> object:
    spec = importlib.util.spec_from_file_location("reference", DOCS / "extensions" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(bool(MISSING), reason=f"the extra docs is not installed: {', '.join(MISSING)}")
def test_it_builds_without_a_warning(tmp_path: Path) -> None:
    # Notebooks are run by test_notebooks.py; `nox -s docs` builds the site with their output.
    settings = os.environ | {"CELLPRISM_DOCS_EXECUTION": "off"}
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d", str(tmp_path / "d")]
    done = subprocess.run([*command, str(DOCS), str(tmp_path / "html")], env=settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    pages = {str(p.relative_to(tmp_path / "html")) for p in (tmp_path / "html").rglob("*.html")}
    assert {"index.html", "install.html", "learn/trust.html", "reference/generated/commands.html"} <= pages
    written = (tmp_path / "html" / "reference" / "generated" / "api-tl.html").read_text(encoding="utf-8")
    assert 'id="cellprism.tl.steer"' in written


def test_every_public_name_is_in_the_reference(reference: object) -> None:
    pages = reference.api_pages()  # type: ignore[attr-defined]
    rooms = reference.public_rooms()  # type: ignore[attr-defined]
    for name in cellprism.__all__:
        assert name in rooms or f" cellprism.{name}\n" in pages["cellprism"], name
    for room, module in rooms.items():
        for name in getattr(module, "__all__", ()):
            assert f" cellprism.{room}.{name}\n" in pages[room], (room, name)
    listed = (DOCS / "reference" / "index.md").read_text(encoding="utf-8")
    assert all(f"generated/api-{page}\n" in listed for page in pages)


def test_every_option_is_on_the_page_of_commands(reference: object) -> None:
    page = reference.command_page()  # type: ignore[attr-defined]

    def check(command: object, title: str) -> None:
        inner = getattr(command, "commands", None)
        for name, one in (inner or {}).items():
            check(one, f"{title} {name}")
        if inner is None:
            section = page.partition(f"# {title}\n")[2].partition("\n#")[0]
            for parameter in command.params:  # type: ignore[attr-defined]
                assert all(f"`{option}`" in section for option in parameter.opts), (title, parameter.opts)

    for name, command in command_line().commands.items():
        check(command, f"cellprism {name}")


def test_every_column_is_on_the_page_of_files(reference: object) -> None:
    page = reference.file_page()  # type: ignore[attr-defined]
    for name, described in FILES.items():
        section = page.partition(f"## `{name}`\n")[2].partition("\n## ")[0]
        assert all(f"| `{column}` |" in section for column in described.columns), name
