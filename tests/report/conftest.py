"""Runs, pages and the browser that the tests of the explorer share."""

import shutil
import socket
import threading
import time
from pathlib import Path

import pytest
from report.make_run import make_run

from cellprism.report import build, make_app

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]


@pytest.fixture(scope="session")
def small_run(tmp_path_factory) -> Path:
    return make_run(tmp_path_factory.mktemp("small") / "run")


@pytest.fixture(scope="session")
def small_page(small_run) -> Path:
    return build(small_run)


@pytest.fixture(scope="session")
def large_page(tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("large") / "run"
    make_run(run, n_cells=20_000, n_features=4000, n_genes=5000, active=24, rows=30, expression=False)
    return build(run)


@pytest.fixture(scope="session")
def browser():
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
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

    def open_page(path, fragment="", *, width=1440, height=900, scheme="light", query=""):
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, accept_downloads=True
        )
        tab = context.new_page()
        tab.set_default_timeout(60_000)
        opened.append(context)
        own = path if isinstance(path, str) else path.as_uri()
        # Software WebGL says of itself that it is slow; that is no trouble of the page.
        told = ("error", "warning")
        tab.on("console", lambda m: troubles.append(m.text) if m.type in told and "GPU stall" not in m.text else None)
        tab.on("pageerror", lambda e: troubles.append(str(e)))
        tab.on("request", lambda r: None if r.url.startswith((own, "data:", "blob:")) else troubles.append(r.url))
        tab.goto(f"{own}{query}#{fragment}")
        tab.wait_for_selector("html[data-ready]")
        return tab

    yield open_page
    for context in opened:
        context.close()
    assert troubles == []


@pytest.fixture
def served(small_run):
    """Address of a server of the small run."""
    import uvicorn

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(make_app(small_run), host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}/"
    server.should_exit = True
    thread.join(10)
