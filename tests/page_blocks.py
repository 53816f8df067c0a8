"""Code in Markdown: fenced blocks, the comment before a block that says why it is not run, and cells of notebooks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]

_FENCE = re.compile(
    r"(?:<!-- (?P<mark>[^>]*?) -->\n)?(?P<indent> *)```(?P<language>\{code-cell\} ipython3|\w+)\n(?P<code>.*?)\n(?P=indent)```",
    re.DOTALL,
)


class Block(NamedTuple):
    """A fenced block."""

    path: Path
    line: int
    language: str
    code: str
    not_run: str
    """The reason in ``<!-- not run: reason -->`` before the block; empty where it is run."""

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}"


def blocks(path: Path) -> list[Block]:
    """Fenced blocks of a file in order."""
    text = path.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        mark = match["mark"] or ""
        code = re.sub(rf"^{match['indent']}", "", match["code"], flags=re.MULTILINE)
        line = text.count("\n", 0, match.start("code")) + 1
        found.append(Block(path, line, match["language"], code, mark.removeprefix("not run: ") if mark else ""))
    return found


def cells(path: Path) -> list[Block]:
    """Code cells of a notebook, without their options."""
    found = [b for b in blocks(path) if b.language.startswith("{code-cell}")]
    return [b._replace(code=re.sub(r"\A(:[\w-]+:.*\n)+\n?", "", b.code)) for b in found]
