"""Measure the explorer in headless Chromium: size of the page, time to the first view, to a chosen feature, of a frame.

    python benchmarks/explorer.py [--demo RUN_DIR] [--output benchmarks/results/explorer.json]

Makes a run of 700 cells (or takes a real one), of 20,000 cells x 4,000 features, of 50,000 x 10,000, a table of 100,000
features, and a map of 200,000 cells; opens each page as a file. Without a graphics card the page draws
maps by hand on a canvas; WebGL in software (SwiftShader) is measured beside it. Times are medians of repeats, in milliseconds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from playwright.sync_api import Browser, CDPSession, sync_playwright
from report.make_run import make_run

from cellprism.report import build

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]
RUNS = {
    "demo-sized": {"n_cells": 700, "n_features": 128, "n_genes": 765},
    "20,000 cells x 4,000 features": {"n_cells": 20_000, "n_features": 4000, "n_genes": 5000, "active": 24, "expression": False},
    "50,000 cells x 10,000 features": {"n_cells": 50_000, "n_features": 10_000, "n_genes": 15_000, "active": 32, "rows": 100, "expression": False},
    "2,000 cells x 100,000 features": {"n_cells": 2000, "n_features": 100_000, "n_genes": 5000, "active": 200, "rows": 8, "expression": False},
    "200,000 cells x 500 features": {"n_cells": 200_000, "n_features": 500, "n_genes": 5000, "active": 16, "expression": False},
}  # fmt: skip

READY = """() => new Promise((done) => {
  const look = () => (document.documentElement.dataset.ready ? done(performance.now()) : requestAnimationFrame(look)); look(); })"""

CHOOSE = """(id) => new Promise((done) => {
  const from = performance.now(); const before = document.documentElement.dataset.ready;
  location.hash = `feature=${id}`;
  const look = () => (document.documentElement.dataset.ready !== before ? requestAnimationFrame(() => done(performance.now() - from)) : requestAnimationFrame(look)); look(); })"""

# A frame: the map is moved by the wheel's zoom, and the drawing buffer read back, which waits until it is drawn.
FRAMES = """(node) => new Promise((done) => {
  const context = document.createElement("canvas").getContext("2d"); const times = []; let i = 0; node.focus();
  const step = () => { const from = performance.now();
    node.dispatchEvent(new WheelEvent("wheel", { deltaY: i % 2 ? 40 : -40, clientX: 300, clientY: 300, bubbles: true }));
    requestAnimationFrame(() => { context.drawImage(node, 0, 0); context.getImageData(0, 0, 1, 1); times.push(performance.now() - from); ++i < 24 ? step() : done(times); }); };
  step(); })"""

SCROLL = """(node) => new Promise((done) => {
  const times = []; let i = 0; const far = node.scrollHeight - node.clientHeight;
  const step = () => { const from = performance.now(); node.scrollTop = (far * ((i * 7919) % 101)) / 100;
    requestAnimationFrame(() => { node.querySelector(".vt-row").getBoundingClientRect(); times.push(performance.now() - from); ++i < 40 ? step() : done(times); }); };
  step(); })"""

SEARCH = """() => new Promise((done) => {
  const told = document.querySelector(".told"); const before = told.textContent; const input = document.querySelector("[data-find]");
  const from = performance.now(); input.value = "lyz"; input.dispatchEvent(new Event("input"));
  const look = () => (told.textContent !== before ? done(performance.now() - from) : requestAnimationFrame(look)); look(); })"""


def milliseconds(values: list[float]) -> float:
    return round(statistics.median(values), 1)


def main_thread(clock: CDPSession) -> float:
    """Processor time of the page's main thread so far, in milliseconds: free of what else the machine does."""
    told = {m["name"]: m["value"] for m in clock.send("Performance.getMetrics")["metrics"]}
    return 1000 * told["TaskDuration"]


def measure(browser: Browser, page: Path, repeats: int) -> dict[str, object]:
    """Times of one page."""
    first = []
    for _ in range(repeats):
        tab = browser.new_page(viewport={"width": 1440, "height": 900})
        tab.goto(page.as_uri(), wait_until="commit")
        first.append(tab.evaluate(READY))
        tab.close()
    tab = browser.new_page(viewport={"width": 1440, "height": 900})
    tab.set_default_timeout(120_000)
    tab.goto(f"{page.as_uri()}#view=features")
    tab.wait_for_selector(".vt-row")
    scroll = tab.locator(".vt").evaluate(SCROLL)
    search = tab.evaluate(SEARCH)
    tab.evaluate("document.querySelector('[data-find]').value = ''")
    ids = [int(t) for t in tab.locator(".vt-row .c-feature").all_inner_texts()][:9]
    with_clock = tab.context.new_cdp_session(tab)
    with_clock.send("Performance.enable", {"timeDomain": "threadTicks"})
    chosen, busy = [], []
    for i in ids:
        before = main_thread(with_clock)
        chosen.append(tab.evaluate(CHOOSE, i))
        busy.append(main_thread(with_clock) - before)
    tab.wait_for_timeout(300)
    frames = {}
    for way in ("canvas", "webgl"):
        tab.goto(f"{page.as_uri()}?{way}#feature={ids[0]}")
        tab.wait_for_selector(f"html[data-drawn={way}]")
        frames[way] = milliseconds(tab.locator("[data-panel=cells] canvas").evaluate(FRAMES))
    tab.close()
    return {
        "page_megabytes": round(page.stat().st_size / 1e6, 2),
        "first_view_ms": milliseconds(first),
        "first_view_slowest_ms": round(max(first), 1),
        "choose_feature_ms": milliseconds(chosen),
        "choose_feature_main_thread_cpu_ms": milliseconds(busy),
        "choose_feature_slowest_ms": round(max(chosen), 1),
        "table_scroll_ms": milliseconds(scroll),
        "search_ms_with_90_ms_of_waiting_for_rest": round(search, 1),
        "map_frame_canvas_ms": frames["canvas"],
        "map_frame_webgl_in_software_ms": frames["webgl"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--demo", type=Path, help="a real run folder to measure as well")
    parser.add_argument("--only", action="append", help="names of runs to measure")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "explorer.json")
    given = parser.parse_args()
    results: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        runs: dict[str, Path | None] = {name: None for name in RUNS if not given.only or name in given.only}
        if given.demo:
            runs = {"demo": given.demo, **runs}
        for name, run in runs.items():
            made = run or make_run(Path(folder) / "run", **RUNS[name])  # type: ignore[arg-type]
            start, used = time.perf_counter(), time.process_time()
            page = build(made, Path(folder) / "page.html")
            spent = {
                "build_s": round(time.perf_counter() - start, 1),
                "build_cpu_s": round(time.process_time() - used, 1),
            }
            results[name] = spent | measure(browser, page, given.repeats)
            print(name, json.dumps(results[name]), flush=True)
            if run is None:
                shutil.rmtree(made)
        about = {
            "chromium": browser.version,
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "load_average": [round(v, 1) for v in os.getloadavg()],
            "rendering": "no graphics card; WebGL in software (SwiftShader)",
            "peak_memory_megabytes_of_building": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000),
        }
        browser.close()
    given.output.parent.mkdir(exist_ok=True)
    given.output.write_text(json.dumps({"machine": about, "runs": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
