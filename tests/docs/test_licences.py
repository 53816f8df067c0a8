"""SECURITY.md names the licence of every required package, as the package itself states it."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import metadata, requires
from itertools import pairwise
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REQUIRED = [re.split(r"[><=\[; ]", one)[0] for one in PROJECT["dependencies"]]
TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
CELLS = [cell.strip() for cell in re.findall(r"[^|\n]+", TEXT)]
TABLE = dict(pairwise(CELLS))


def stated(package: str) -> str:
    """The licence in a package's metadata, its expression first."""
    about = metadata(package)
    classifiers = [c.rpartition(":: ")[2] for c in about.get_all("Classifier") or [] if c.startswith("License")]
    return str(about.get("License-Expression") or about.get("License") or " ".join(classifiers))


@pytest.mark.parametrize("package", REQUIRED)
def test_the_licence_of_a_package_is_told(package: str) -> None:
    told = TABLE.get(package, "")
    family = re.search(r"BSD|MIT|Apache|Python Software Foundation|PSF", told)
    assert family is not None, f"SECURITY.md tells {told!r} of {package}, which states {stated(package)[:80]!r}"
    words = {"PSF": "PSF|Python Software Foundation"}.get(family[0], family[0])
    assert re.search(words, stated(package) + " " + " ".join(metadata(package).get_all("Classifier") or []))


def needed() -> set[str]:
    """All packages that are installed with this one, and those that they need in turn."""
    found: set[str] = set()
    wanted = list(REQUIRED)
    while wanted:
        name = wanted.pop()
        if name in found:
            continue
        found.add(name)
        for one in map(Requirement, requires(name) or []):
            if one.marker is None or one.marker.evaluate({"extra": ""}):
                wanted.append(re.sub(r"[-_.]+", "-", one.name).lower())
    return found


@pytest.mark.parametrize("package", sorted(needed()))
def test_no_package_asks_for_our_source(package: str) -> None:
    licence = stated(package).splitlines()[0]
    assert not re.search(r"\b(A?GPL|GNU (Affero )?General)", licence)
    if re.search(r"MPL|Mozilla", licence):
        assert package in TEXT, f"SECURITY.md does not name {package} ({licence})"
