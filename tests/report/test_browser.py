"""The page in headless Chromium: each view does what it says, without an error and without a request."""

import shutil

import pandas as pd
import pytest
from report.make_run import HOSTILE, make_run

from cellprism.report import build

sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync.expect
pytestmark = pytest.mark.browser
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]


@pytest.fixture(scope="session")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with sync.sync_playwright() as play:
        started = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def visit(browser):
    """Open a page at a fragment; at the end nothing may have been said on the console or asked of any network."""
    troubles, opened = [], []

    def open_page(path, fragment="", *, width=1440, height=900, scheme="light"):
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, accept_downloads=True
        )
        tab = context.new_page()
        opened.append(context)
        tab.on("console", lambda m: troubles.append(m.text) if m.type in ("error", "warning") else None)
        tab.on("pageerror", lambda e: troubles.append(str(e)))
        own = path if str(path).startswith("http") else path.as_uri()
        base = own.split("#")[0]
        tab.on("request", lambda r: None if r.url.startswith((base, "data:", "blob:")) else troubles.append(r.url))
        tab.goto(f"{own}#{fragment}")
        tab.wait_for_selector("html[data-ready]")
        return tab

    yield open_page
    for context in opened:
        context.close()
    assert troubles == []


def numbers(tab, column):
    return [t.replace(",", "") for t in tab.locator(f".vt-row .c-{column}").all_inner_texts()]


def test_overview_tells_shares_beside_nulls(visit, small_page):
    tab = visit(small_page)
    assert "600 synthetic cells" in tab.inner_text(".summary")
    assert "descriptive" in tab.inner_text(".cautions")
    share = tab.locator(".shares li").first
    assert share.locator("strong").inner_text() == "71%"
    assert "random directions 18%, permuted cells 1%" in share.locator(".track").get_attribute("aria-label")
    assert tab.locator("[data-panel=landscape] svg circle").count() >= 9


def test_table_sorts_searches_filters(visit, small_page, small_run):
    table = pd.read_parquet(small_run / "features.parquet")
    tab = visit(small_page, "view=features")
    tab.click("[data-sort=n_active]")
    assert int(numbers(tab, "n_active")[0]) == table.n_active.max()
    tab.click("[data-sort=n_active]")
    assert int(numbers(tab, "n_active")[0]) == table.n_active.min()
    tab.fill("[data-find]", "lyz")
    expect(tab.locator(".told")).to_contain_text(" of ")
    text = table[["name", "top_genes", "top_set", "top_label"]].fillna("").agg(" ".join, axis=1).str.lower()
    assert tab.inner_text(".told") == f"{text.str.contains('lyz').sum()} of 48 features"
    tab.click("text=Clear")
    tab.locator(".field", has_text="kind").locator("select").select_option("regional")
    assert tab.inner_text(".told") == f"{(table.kind == 'regional').sum()} of 48 features"


def test_card_shows_the_evidence(visit, small_page, small_run):
    table = pd.read_parquet(small_run / "features.parquet")
    genes = pd.read_parquet(small_run / "genes.parquet")
    best = int(table.feature[5])
    tab = visit(small_page, f"feature={best}")
    assert tab.inner_text("h2") == table.name[5]
    first = genes[genes.feature == best].sort_values("statistic", ascending=False).gene.iloc[0]
    assert tab.locator("[data-panel=genes-up] tbody tr").first.inner_text().startswith(first)
    for panel in ("cells", "by-label", "histogram", "volcano", "sets-up", "labels", "near", "together"):
        assert tab.locator(f"[data-panel={panel}]").is_visible(), panel
    assert tab.locator("[data-panel=volcano] circle").count() == (genes.feature == best).sum()


def test_hostile_names_are_text(visit, tmp_path):
    run = make_run(tmp_path / "run", hostile=True)
    tab = visit(build(run), "view=features")
    tab.fill("[data-find]", "onerror")
    expect(tab.locator(".told")).to_contain_text(" of ")
    assert HOSTILE in tab.locator(".vt-row").first.inner_text()
    tab.locator(".vt-row").first.click()
    tab.wait_for_selector("[data-panel=labels]")
    assert HOSTILE in tab.inner_text("main")
    tab.go_back()
    tab.click("#nav >> text=Map")
    tab.wait_for_selector(".map canvas")
    tab.click("#nav >> text=Overview")
    assert tab.locator("main img").count() == 0
    assert tab.evaluate("window.hacked") is None
