"""The tests under the lowest and newest versions, the site, and the release checklist: ``nox -s lowest newest docs release``."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import nox

nox.options.sessions = ["lowest", "newest"]
PROJECT = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]


def lowest_versions() -> list[str]:
    """Each requirement of the package at its lower bound."""
    found = []
    for requirement in PROJECT["dependencies"]:
        name, bound = re.match(r"([A-Za-z0-9._-]+)[^>]*>=([0-9.]+)", requirement).groups()  # type: ignore[union-attr]
        found.append(f"{name}=={bound}")  # 1.26 is 1.26.0: the first of its line, where ~= would take the last
    return found


@nox.session(python="3.11")
def lowest(session: nox.Session) -> None:
    """The oldest Python with the oldest versions of all requirements."""
    session.install("-e", ".[test]", *lowest_versions())
    # what they need in turn is of today, and says of the old ones that they use what is deprecated
    session.run("pytest", "-q", "-W", "default", *session.posargs)


@nox.session(python=["3.11", "3.12", "3.13"])
def newest(session: nox.Session) -> None:
    """Each Python with the newest versions that it gets."""
    session.install("--upgrade", "--upgrade-strategy", "eager", "-e", ".[test]")
    session.run("pytest", "-q", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The site in ``docs/_build/html``, notebooks executed, warnings as errors."""
    session.install("-c", "constraints.txt", "-e", ".[docs,scvi]")
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html", *session.posargs)


@nox.session
def release(session: nox.Session) -> None:
    """What must hold before a version is published; see ``release.py`` for each step."""
    session.install("build", "twine")
    session.run("python", "release.py", *session.posargs)
