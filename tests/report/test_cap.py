"""One file stays within its limit, or says what to do instead."""

import pytest

from cellprism.report import build
from cellprism.report.cap import TIGHTER, one_file
from cellprism.report.source import read_source


@pytest.fixture(scope="module")
def source(small_run):
    return read_source(small_run)


def test_a_small_run_is_packed_whole(source):
    made = one_file(source, None, "out")
    assert made.told == ""
    assert 'id="block-overview"' in made.text


def test_a_larger_page_keeps_less_and_says_so(source):
    whole = len(one_file(source, None, "out").text.encode())
    made = one_file(source, None, "out", limit=whole - 1)
    assert len(made.text.encode()) < whole
    assert f"the {TIGHTER[1].gene_rows} strongest genes" in made.told
    assert "cellprism serve" in made.told


def test_what_does_not_fit_is_to_be_served(small_run, tmp_path, source):
    said = []
    path = build(small_run, tmp_path / "r.html", max_megabytes=0.1, say=said.append, name="my run")
    text = path.read_text()
    assert len(said) == 1
    assert said[0].endswith("cellprism serve my run")
    assert "cellprism serve my run" in text
    assert "600 synthetic cells" in text
    assert "<script" not in text
    assert path.stat().st_size < 100_000


def test_activations_that_cannot_fit_are_not_packed_first(source, monkeypatch):
    def refuse(*_args, **_options):
        raise AssertionError("packed in vain")

    monkeypatch.setattr("cellprism.report.cap.bundle", refuse)
    assert "cellprism serve out" in one_file(source, None, "out", limit=1000).told
