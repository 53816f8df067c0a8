"""The guided fuzzer (``benchmarks/fuzz_guided.py``): its short version, and the same readers where nothing can lead it."""

from __future__ import annotations

import random
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
from fuzz_guided import TARGETS, led, reader

PIECES = [
    b"\t",
    b"\n",
    b"\r",
    b",",
    b'"',
    b"\x00",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"nan",
    b"1e999",
    b"-",
    b"[Term]",
    b"{",
    b"}",
    b"null",
]
"""What readers trip over, put anywhere."""


def changed(whole: bytes, rng: random.Random) -> bytes:
    """A file with up to six places cut out, doubled, filled with another byte or with a piece."""
    data = bytearray(whole)
    for _ in range(rng.randint(1, 6)):
        start = rng.randint(0, len(data))
        end = min(len(data), start + rng.choice((0, 1, 2, 8, 64)))
        data[start:end] = rng.choice((b"", bytes(data[start:end]) * 2, bytes([rng.randrange(256)]), rng.choice(PIECES)))
    return bytes(data)


@pytest.mark.parametrize("target", TARGETS)
def test_changed_files_are_read_or_refused_in_one_message(target: str, tmp_path: Path) -> None:
    whole, read = reader(target, tmp_path)
    rng = random.Random(target)
    for _ in range(150):
        read(changed(whole, rng))


@pytest.mark.skipif(find_spec("atheris") is None, reason="the guided fuzzer needs atheris, which no extra has")
def test_led_by_the_lines_that_it_reaches() -> None:
    found = led("gmt", 500, seed=1)
    assert found["executions"] >= 500
    assert found["reached"] > found["reached_at_first"]
