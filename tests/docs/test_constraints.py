"""The tested versions: every required package has one, and the requirements allow it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TEXT = (ROOT / "constraints.txt").read_text(encoding="utf-8")
TESTED = {
    re.sub(r"[-_.]+", "-", name).lower(): version
    for name, version in re.findall(r"^([\w.-]+)==([^\s;#]+)", TEXT, re.MULTILINE)
}
WANTED = [
    *PROJECT["dependencies"],
    *(one for extra in ("test", "docs", "dask") for one in PROJECT["optional-dependencies"][extra]),
]


@pytest.mark.parametrize("wanted", sorted(set(WANTED)))
def test_a_tested_version_is_one_that_is_allowed(wanted: str) -> None:
    asked = Requirement(wanted)
    version = TESTED[re.sub(r"[-_.]+", "-", asked.name).lower()]
    assert asked.specifier.contains(version), f"{wanted}, but {version} was tested"
