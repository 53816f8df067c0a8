"""The glossary has one entry a term, and a term for every column of words in the feature table."""

from __future__ import annotations

from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "glossary.md"


def terms() -> list[str]:
    rows = [line.split("|") for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    assert all(len(row) == 4 and row[2].strip() for row in rows)
    return [row[1].strip() for row in rows if row[1].strip() != "word"]


def test_each_term_is_explained_once() -> None:
    words = [word.strip() for term in terms() for word in term.replace("(", ",").replace(")", "").split(",")]
    assert len(words) > 50
    assert sorted(words) == sorted(set(words))


@pytest.mark.parametrize(
    "word",
    [
        "feature", "code", "activation", "dictionary", "reading", "kind", "programme", "recipe", "name", "gene set", "stratum",
        "donor", "null", "rival", "ceiling", "stability", "confound", "testable", "contrast",
    ],
)  # fmt: skip
def test_words_of_the_tables_are_explained(word: str) -> None:
    assert any(word in term for term in terms())
