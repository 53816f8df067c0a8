"""The file itself, before any browser opens it."""

import base64
import hashlib
import re

from report.make_run import HOSTILE, make_run

from cellprism.report import build
from cellprism.report.bundle import bundle
from cellprism.report.page import page
from cellprism.report.source import read_source


def test_is_one_file_that_asks_for_nothing(small_page):
    text = small_page.read_text()
    markup = re.sub(r"<(script|style)\b[^>]*>.*?</\1>", "", text, flags=re.DOTALL)
    assert not re.search(r"\b(?:src|href|srcset|action)\s*=\s*[\"']?+(?!#)", markup)
    assert "@import" not in text
    assert "url(" not in re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1]
    assert not re.search(r"\son\w+\s*=", markup)


def test_policy_names_exactly_the_scripts_and_the_style(small_page):
    text = small_page.read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)[1]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert "connect-src 'none'" in policy
    for tag in ("script", "style"):
        for body in re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL):
            digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in policy


def test_names_in_the_bare_page_are_text(tmp_path):
    run = make_run(tmp_path / "run", n_cells=60, n_features=6, hostile=True)
    (run / "run.json").write_text('{"summary": "</script><img src=x> {{script}}"}')
    text = build(run).read_text()
    assert "&lt;/script&gt;&lt;img src=x&gt; {{script}}" in text
    assert HOSTILE not in text


def test_writes_where_told_and_twice_the_same(small_run, tmp_path):
    first, second = build(small_run, tmp_path / "a.html"), build(small_run, tmp_path / "b.html")
    assert first == tmp_path / "a.html"
    assert first.read_bytes() == second.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.html", "b.html"]


def test_served_page_has_no_data_and_fetches_from_its_own_place(small_run):
    text = page(bundle(read_source(small_run)), served_from="data/")
    assert 'data-blocks="data/"' in text
    assert "connect-src 'self'" in text
    assert 'id="block-' not in text
