"""The page in headless Chromium: each view does what it says, without an error and without a request."""

import csv
import json
import re
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from helpers import counts_adata, type_sets
from report.make_run import HOSTILE, make_run
from scipy import sparse

from cellprism.genesets.gmt import write_gmt
from cellprism.report import build, view
from cellprism.run import RunOptions, run
from cellprism.run.steering import steer_run
from cellprism.steering.edit import make_edit

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect
expect.set_options(timeout=60_000)  # a machine that does much else at once is slow, not wrong
pytestmark = pytest.mark.browser


def numbers(tab, column):
    return [t.replace(",", "") for t in tab.locator(f".vt-row .c-{column}").all_inner_texts()]


def test_overview_tells_shares_beside_nulls(visit, small_page):
    tab = visit(small_page)
    assert "600 synthetic cells" in tab.inner_text(".summary")
    assert "descriptive" in tab.inner_text(".cautions")
    share = tab.locator(".shares li").first
    assert share.locator("strong").inner_text() == "71%"
    assert "random directions 18%, permuted cells 1%" in share.locator(".track").get_attribute("aria-label")
    ground = "nodes => nodes.map(n => getComputedStyle(n).backgroundColor)"
    colours = tab.locator(".legend.keys .key").evaluate_all(
        ground
    )  # these features and each null have one of their own
    assert len(set(colours)) == len(colours) > 2


def test_overview_tells_what_the_recipe_tried_and_why(visit, small_page, small_run, tmp_path):
    tried = json.loads((small_run / "run.json").read_text())["landscape"]
    panel = visit(small_page).locator("[data-panel=landscape]")
    figure = panel.locator("svg.chart")
    assert panel.locator(".reasons li").count() == 2
    assert figure.get_attribute("aria-label").startswith("9 configurations that were tried; chosen: width 256, k 8")
    titles = figure.locator("g > title").all_text_contents()
    assert len(titles) == len(tried)
    assert "bits a cell 94" in titles[0]
    place = figure.locator("g > circle").get_attribute("cy")
    panel.locator(".field", has_text="up").locator("select").select_option("agreement")
    expect(figure.locator("g > circle")).not_to_have_attribute("cy", place)
    panel.locator("summary").click()
    assert panel.locator("tbody tr").count() == 9
    with panel.page.expect_download() as caught:
        panel.locator("button", has_text="CSV").click()
    caught.value.save_as(tmp_path / "l.csv")
    rows = list(csv.DictReader((tmp_path / "l.csv").read_text().splitlines()))
    assert [float(r["explained_variance"]) for r in rows] == pytest.approx([r["ev"] for r in tried])


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
    reach = re.search(r"reached by ([\d.]+)% of random directions", tab.inner_text(".feature-head"))[1]
    assert float(reach) == pytest.approx(100 * table.specific_set_reach[5], abs=0.07)
    assert table.top_regulator[5] in tab.inner_text(".feature-head")
    first = genes[genes.feature == best].sort_values("statistic", ascending=False).gene.iloc[0]
    assert tab.locator("[data-panel=genes-up] tbody tr").first.inner_text().startswith(first)
    for panel in ("cells", "by-label", "histogram", "volcano", "sets-up", "labels", "near", "together"):
        assert tab.locator(f"[data-panel={panel}]").is_visible(), panel
    assert tab.locator("[data-panel=volcano] circle").count() == (genes.feature == best).sum()


def test_card_tells_leading_genes_and_marks_a_set(visit, small_page, small_run):
    table = pd.read_parquet(small_run / "features.parquet")
    genes = pd.read_parquet(small_run / "genes.parquet")
    sets = pd.read_parquet(small_run / "gene_sets.parquet").set_index("set")
    row = table.top_set_qval.argmin()
    number, best = int(table.feature[row]), table.top_set[row]
    mine = genes[(genes.feature == number) & (genes.statistic > 0) & genes.gene.isin(sets.genes[best])]
    leading = mine.sort_values("statistic", ascending=False).gene.tolist()
    assert len(leading) >= 3
    tab = visit(small_page, f"feature={number}")
    shown = tab.locator("[data-panel=sets-up] tbody tr", has_text=best)
    assert shown.locator(".leading").get_attribute("title").split(", ") == leading
    shown.locator("button", has_text=best).click()
    expect(tab.locator("[data-panel=volcano]")).to_contain_text(f"Marked: the genes of {best}")
    strong = tab.locator("[data-panel=volcano] circle[fill-opacity='0.8'] title").all_text_contents()
    kept = genes[(genes.feature == number) & genes.gene.isin(sets.genes[best])].gene
    assert sorted(t.split(":")[0] for t in strong) == sorted(kept)
    tab.locator("[data-panel=volcano] button", has_text="show all").click()
    assert tab.locator("[data-panel=volcano] circle[fill-opacity='0.1']").count() == 0


def test_card_tells_matches_in_other_seeds(visit, small_page, small_run):
    matches = pd.read_parquet(small_run / "matches.parquet")
    number = int(matches[matches.partner >= 0].feature.iloc[0])
    mine = matches[matches.feature == number]
    rows = visit(small_page, f"feature={number}").locator("[data-panel=matches] tbody tr")
    assert rows.count() == len(mine) == 2
    for i, match in enumerate(mine.itertuples()):
        said = [c.replace("−", "-") for c in rows.nth(i).locator("td").all_inner_texts()]
        assert said[0] == str(match.seed)  # the run's seeds are 0, 1, 2
        assert said[1] == ("none" if match.partner < 0 else f"#{match.partner}")
        assert float(said[2]) == pytest.approx(match.correlation, abs=0.006)


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


def test_hostile_names_are_text_in_every_other_view(visit, tmp_path):
    run = make_run(tmp_path / "run", hostile=True)
    page = build(run, other=make_run(tmp_path / "other", hostile=True, seed=3))
    number = int(pd.read_parquet(run / "features.parquet").feature[0])
    for fragment in (f"gene={HOSTILE.replace('=', '%3D')}", "view=cells", f"compare={number},{number}"):
        tab = visit(page, fragment)
        expect(tab.locator("main")).to_contain_text(HOSTILE)
        assert tab.locator("main img").count() == 0
        assert tab.evaluate("window.hacked") is None


def test_keyboard(visit, small_page):
    tab = visit(small_page)
    tab.keyboard.press("/")
    expect(tab.locator("[data-find]")).to_be_focused()
    tab.keyboard.type("nk")
    expect(tab.locator(".told")).to_contain_text(" of ")
    tab.keyboard.press("Escape")
    tab.focus(".vt")
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("ArrowDown")
    name = tab.locator(".vt-row.chosen .c-name").inner_text()
    second = tab.locator(".vt-row .c-name").nth(1).inner_text()
    assert name == second
    tab.keyboard.press("Enter")
    expect(tab.locator("h2")).to_have_text(name)
    tab.keyboard.press("ArrowLeft")
    expect(tab.locator("h2")).not_to_have_text(name)
    tab.keyboard.press("ArrowRight")
    expect(tab.locator("h2")).to_have_text(name)
    tab.keyboard.press("Escape")
    expect(tab.locator(".vt")).to_be_visible()
    assert tab.locator("[data-find]").input_value() == "nk"  # the search is as it was left


def test_links_lead_back_to_the_same_place(visit, small_page, small_run):
    number = int(pd.read_parquet(small_run / "features.parquet").feature[9])
    tab = visit(small_page, f"feature={number}")
    assert tab.url.endswith(f"#feature={number}")
    title = tab.inner_text("h2")
    tab.click("#nav >> text=Overview")
    expect(tab.locator(".shares")).to_be_visible()
    tab.go_back()
    expect(tab.locator("h2")).to_have_text(title)
    missing = visit(small_page, "feature=99999")
    assert "no live feature 99999" in missing.inner_text("main")


def test_csv_holds_what_is_shown(visit, small_page, small_run, tmp_path):
    tab = visit(small_page, "view=features")
    tab.locator(".field", has_text="kind").locator("select").select_option("local")
    tab.click("[data-sort=stability]")
    with tab.expect_download() as caught:
        tab.click("text=Download CSV")
    caught.value.save_as(tmp_path / "f.csv")
    rows = list(csv.DictReader((tmp_path / "f.csv").read_text().splitlines()))
    table = pd.read_parquet(small_run / "features.parquet")
    local = table[table.kind == "local"].sort_values("stability", ascending=False)
    assert [r["name"] for r in rows] == local.name.tolist()
    assert caught.value.suggested_filename == "features.csv"


def test_stability_stands_beside_its_error_and_chance(visit, small_page, small_run):
    first = pd.read_parquet(small_run / "features.parquet").iloc[0]
    tab = visit(small_page, f"view=feature&feature={first.feature}")
    shown = tab.locator(".facts div", has=tab.locator("dt", has_text="stability")).locator("dd").inner_text()
    assert shown == f"{first.stability:.2f} ± 0.03 (by chance 0.11)"
    tab = visit(small_page, "view=overview")
    assert (
        tab.locator(".tiles div", has=tab.locator("dt", has_text="stable by chance")).locator("dd").inner_text() == "0"
    )


def test_csv_does_not_carry_formulas(visit, tmp_path):
    run = make_run(tmp_path / "run", n_cells=60, n_features=6)
    table = pd.read_parquet(run / "features.parquet")
    table["name"] = ["=HYPERLINK(1)", "+1", "@x", 'a "quoted", name', "-y", "plain"]
    table.to_parquet(run / "features.parquet")
    tab = visit(build(run), "view=features")
    with tab.expect_download() as caught:
        tab.click("text=Download CSV")
    caught.value.save_as(tmp_path / "f.csv")
    names = {r["name"] for r in csv.DictReader((tmp_path / "f.csv").read_text().splitlines())}
    assert names == {"'=HYPERLINK(1)", "'+1", "'@x", 'a "quoted", name', "'-y", "plain"}


def test_figures_are_saved(visit, small_page, small_run, tmp_path):
    number = int(pd.read_parquet(small_run / "features.parquet").feature[5])
    tab = visit(small_page, f"feature={number}")
    for panel in ("cells", "by-label", "histogram", "volcano", "heat"):
        for kind in ("svg", "png"):
            with tab.expect_download() as caught:
                tab.locator(f"[data-panel={panel}] button", has_text=kind.upper()).click()
            path = tmp_path / f"{panel}.{kind}"
            caught.value.save_as(path)
            if kind == "svg":
                assert ET.parse(path).getroot().tag.endswith("svg"), panel
                assert "var(" not in path.read_text(), panel
                assert "class=" not in path.read_text(), panel
            else:
                assert path.read_bytes().startswith(b"\x89PNG"), panel
                assert path.stat().st_size > 2000, panel


def test_figures_of_names_with_control_characters_are_saved(visit, tmp_path):
    run = make_run(tmp_path / "run", n_cells=60, n_features=6)
    genes, features = (pd.read_parquet(run / f"{name}.parquet") for name in ("genes", "features"))
    odd = {name: f"\x01{name}\x0b\x1f\uffff" for name in genes["symbol"].unique()}
    genes.assign(symbol=genes["symbol"].map(odd), gene=genes["gene"].map(odd)).to_parquet(run / "genes.parquet")
    tab = visit(build(run), f"feature={int(features.feature[0])}")
    for kind in ("svg", "png"):
        with tab.expect_download() as caught:
            tab.locator("[data-panel=volcano] button", has_text=kind.upper()).click()
        caught.value.save_as(tmp_path / f"volcano.{kind}")
    written = "".join(ET.parse(tmp_path / "volcano.svg").getroot().itertext())
    assert "\ufffd" in written
    assert not set(written) & {"\x01", "\x0b", "\x1f", "\uffff"}
    assert (tmp_path / "volcano.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["__proto__", "constructor", "toString", "hasOwnProperty"])
def test_a_link_to_no_view_shows_the_overview(visit, small_page, name):
    tab = visit(small_page, f"view={name}")
    assert tab.locator("[data-panel=landscape]").count() == 1
    assert "undefined" not in tab.inner_text("main")


def test_map_click_shows_the_feature_and_is_linked(visit, small_page):
    tab = visit(small_page, "view=map")
    canvas = tab.locator(".map .main canvas")
    box = canvas.bounding_box()
    ring = tab.locator(".overlay .ring")
    found = False
    for x in np.linspace(0.1, 0.9, 12):
        for y in np.linspace(0.1, 0.9, 12):
            canvas.click(position={"x": x * box["width"], "y": y * box["height"]})
            if "chosen=" in tab.url:
                found = True
                break
        if found:
            break
    assert found
    expect(ring).to_have_count(1)
    expect(tab.locator(".side h3")).to_be_visible()
    chosen = re.search(r"chosen=(\d+)", tab.url)[1]
    assert f"#{chosen}" in tab.inner_text(".side")
    tab.locator(".side button.primary").click()
    expect(tab.locator(".feature h2")).to_be_visible()
    assert tab.url.endswith(f"#feature={chosen}")


def test_map_colours_and_layouts(visit, small_page):
    tab = visit(small_page, "view=map&layout=set&colour=stability")
    assert tab.locator(".map-key .ribbon").is_visible()
    tab.locator(".field", has_text="colour").locator("select").select_option("top_label")
    assert tab.locator(".map-key li").count() >= 3
    tab.locator(".field", has_text="near by").locator("select").select_option("map")
    assert "layout=map" in tab.url
    expect(tab.locator(".overlay .name").nth(3)).to_be_attached()  # they are drawn after the points


def test_map_is_coloured_by_groups_of_sets(visit, small_page, small_run):
    table = pd.read_parquet(small_run / "features.parquet")
    sets = pd.read_parquet(small_run / "gene_sets.parquet").set_index("set")
    group = table.top_set[table.top_set_qval < 0.05].map(sets.collection).value_counts()
    tab = visit(small_page, "view=map&colour=set_collection")
    said = tab.locator(".map-key li", has_text="immune processes").inner_text()
    assert said.split()[-1] == str(group["immune processes"])
    tab.locator(".field", has_text="colour").locator("select").select_option("set_theme")
    assert tab.locator(".map-key li", has_text="like ").count() >= 2


def test_maps_are_saved_as_svg_with_names_and_legend(visit, small_page, tmp_path):
    tab = visit(small_page, "view=map&colour=kind")
    names = tab.locator(".overlay .name").all_text_contents()
    with tab.expect_download() as caught:
        tab.locator("button", has_text="SVG").click()
    caught.value.save_as(tmp_path / "map.svg")
    root = ET.parse(tmp_path / "map.svg").getroot()
    texts = [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")]
    assert set(names) <= set(texts)
    assert {"local", "regional", "global"} <= set(texts)
    circles = list(root.iter("{http://www.w3.org/2000/svg}circle"))
    assert len(circles) == 48 + 3 + 1  # features, the legend's marks, the ring of the chosen one
    assert "var(" not in (tmp_path / "map.svg").read_text()


def test_a_map_of_many_cells_is_a_picture_inside_an_svg(visit, large_page, tmp_path):
    tab = visit(large_page, "view=cells")
    with tab.expect_download() as caught:
        tab.locator("button", has_text="SVG").click()
    caught.value.save_as(tmp_path / "cells.svg")
    root = ET.parse(tmp_path / "cells.svg").getroot()
    space = "{http://www.w3.org/2000/svg}"
    picture = root.find(f".//{space}image")
    assert picture.get("href").startswith("data:image/png")
    assert "CD19+ B" in [t.text for t in root.iter(f"{space}text")]


def pixels(tab, selector):
    """Distinct colours on a canvas."""
    script = """(node) => { const c = Object.assign(document.createElement("canvas"), { width: node.width, height: node.height }).getContext("2d"); c.drawImage(node, 0, 0); const d = c.getImageData(0, 0, node.width, node.height).data;
      const seen = new Set(); for (let i = 0; i < d.length; i += 4) if (d[i + 3] > 200) seen.add((d[i] << 16) | (d[i+1] << 8) | d[i+2]);
      return seen.size; }"""
    return tab.locator(selector).first.evaluate(script)


@pytest.mark.parametrize(("query", "drawn"), [("", "canvas"), ("?webgl", "webgl"), ("?canvas", "canvas")])
def test_maps_are_drawn_with_and_without_a_graphics_card(visit, small_page, small_run, query, drawn):
    number = int(pd.read_parquet(small_run / "features.parquet").feature[5])
    tab = visit(small_page, f"feature={number}", query=query)
    expect(tab.locator("html")).to_have_attribute("data-drawn", drawn)
    assert pixels(tab, "[data-panel=cells] canvas") > 5  # grey, and several strengths


def drag_around(tab, selector):
    """A lasso around the left half of a map."""
    box = tab.locator(selector).bounding_box()
    corners = [(0.02, 0.98), (0.5, 0.98), (0.5, 0.5), (0.5, 0.02), (0.3, 0.02), (0.02, 0.4)]
    at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    tab.mouse.move(*at[0])
    tab.mouse.down()
    for point in at[1:]:
        tab.mouse.move(*point, steps=4)
    tab.mouse.up()


def test_lasso_tells_what_sets_cells_apart(visit, small_page):
    tab = visit(small_page, "view=cells")
    tab.wait_for_timeout(200)
    drag_around(tab, ".cells canvas")
    expect(tab.locator("[data-panel=contrast] tbody tr").first).to_be_visible()
    assert "cells: drawn around" in tab.inner_text("[data-panel=contrast] h3")
    values = [
        float(v) for v in tab.locator("[data-panel=contrast] table").first.locator("td:nth-child(2)").all_inner_texts()
    ]
    assert values == sorted(values, reverse=True)
    tab.locator("[data-panel=contrast] button", has_text="Clear").click()
    expect(tab.locator("[data-panel=contrast]")).to_have_count(0)


def test_cells_of_a_label_have_the_auroc_of_scikit_learn(visit, small_page, small_run):
    from sklearn.metrics import roc_auc_score

    features = pd.read_parquet(small_run / "features.parquet")
    cells = pd.read_parquet(small_run / "cells.parquet")
    codes = sparse.csc_array(sparse.load_npz(small_run / "codes.npz"))[:, features.feature.to_numpy()].toarray()
    chosen = (cells.cell_type == "CD19+ B").to_numpy()
    expected = max(roc_auc_score(chosen, codes[:, i]) for i in range(codes.shape[1]))
    tab = visit(small_page, "view=cells&by=cell_type")
    tab.locator("button.pill", has_text="CD19+ B").click()
    first = tab.locator("[data-panel=contrast] tbody tr").first
    expect(first).to_be_visible()
    assert float(first.locator("td").nth(1).inner_text()) == pytest.approx(expected, abs=0.003)
    assert "of=CD19" in tab.url


def test_gene_is_typed_and_chosen(visit, small_page, small_run):
    genes = pd.read_parquet(small_run / "genes.parquet")
    tab = visit(small_page, "view=gene&gene=")
    tab.fill(".chooser input", "cd79")
    expect(tab.locator(".choices li")).to_have_count(2)
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("Enter")
    expect(tab.locator("h2")).to_have_text("CD79A")
    mine = genes[genes.gene == "CD79A"]
    rows = tab.locator("[data-panel=gene-table] tbody tr")
    assert rows.count() == min(14, len(mine))
    assert rows.first.locator("td").nth(2).inner_text() == f"{mine.statistic[mine.statistic.abs().idxmax()]:.1f}"
    assert tab.locator("[data-panel=expression] canvas").is_visible()
    assert tab.url.endswith("#gene=CD79A")
    tab.fill(".chooser input", "nothing like it")
    assert not tab.locator(".choices").is_visible()


def test_compare_two_features(visit, small_page, small_run):
    features = pd.read_parquet(small_run / "features.parquet")
    codes = sparse.csc_array(sparse.load_npz(small_run / "codes.npz"))
    a, b = (int(features.feature[i]) for i in (2, 3))
    x, y = (codes[:, [i]].toarray().ravel() for i in (a, b))
    tab = visit(small_page, f"compare={a},{b}")
    said = tab.inner_text("[data-panel=overlap]")
    assert f"{((x > 0) & (y > 0)).sum()} (" in said
    cosine = float(re.search(r"cosine of activations\s+([\d.]+)", said)[1])
    assert cosine == pytest.approx(x @ y / np.linalg.norm(x) / np.linalg.norm(y), abs=0.02)
    tab.locator(".chooser input").nth(1).fill(f"#{features.feature[7]}")
    tab.locator(".chooser").nth(1).locator(".choices li").first.click()
    expect(tab.locator(f"[data-panel=half-{features.feature[7]}]")).to_be_visible()


def test_compare_opens_with_the_best_feature_and_the_one_most_like_it(visit, small_page):
    begin = visit(small_page).locator("[data-panel=best] li button").first.inner_text()
    halves = visit(small_page, "compare=").locator("[data-panel^=half-]")
    expect(halves).to_have_count(2)
    first, second = (halves.nth(i).get_attribute("data-panel").removeprefix("half-") for i in (0, 1))
    assert halves.first.locator("h3").inner_text() == begin
    near = visit(small_page, f"feature={first}").locator("[data-panel=near] li button").first.inner_text()
    assert halves.nth(1).locator("h3").inner_text() == near
    assert first != second


def test_compare_two_models(visit, small_run, tmp_path):
    other = make_run(tmp_path / "other")
    table = pd.read_parquet(other / "features.parquet")
    table["name"] = "twin of " + table["name"]
    table.to_parquet(other / "features.parquet")
    tab = visit(build(small_run, tmp_path / "two.html", other=other), "compare=,")
    expect(tab.locator("[data-panel^=half-]")).to_have_count(2)  # the closest partners
    assert "yes, r 1.00" in tab.inner_text("[data-panel=overlap]")
    panel = tab.locator("[data-panel=models]")
    assert "100%" in panel.locator(".note").inner_text()  # the same codes: every feature finds its twin
    assert "shared" in panel.locator(".tiles").inner_text()
    panel.locator("select").nth(0).select_option("other")
    assert panel.locator("tbody button").first.inner_text().startswith("twin of ")
    panel.locator("select").nth(0).select_option("")
    panel.locator("tbody button").first.click()
    expect(tab.locator("[data-panel=half-other]")).to_be_visible()
    assert "yes, r 1.00" in tab.inner_text("[data-panel=overlap]")
    assert tab.inner_text("[data-panel=half-other] h3").startswith("twin of ")


def test_terms_are_mapped_counted_and_probed(visit, small_page, small_run):
    sets = pd.read_parquet(small_run / "sets.parquet")
    q = sets[["qval_rank", "qval_ora"]].min(axis=1)
    up = sets[(sets.direction == "up") & (q < 0.05)]
    tab = visit(small_page, "view=terms")
    assert f"{up.feature.nunique()} of " in tab.inner_text("output.told")
    first = tab.locator("[data-panel=term-list] tbody tr").first.locator("td").all_inner_texts()
    assert int(first[-1]) == up.drop_duplicates(["feature", "set"])["set"].value_counts().max()
    tab.locator("input.find").fill("regulatory t")
    mine = up[up["set"].str.contains("regulatory T")]
    expect(tab.locator("output.told")).to_contain_text(
        f"{mine.feature.nunique()} of {up.feature.nunique()} features have one of the 1 gene sets"
    )
    assert "word=regulatory" in tab.url


def test_steering_is_on_the_card(visit, tmp_path):
    run = make_run(tmp_path / "run", n_cells=80, n_features=6)
    number = int(pd.read_parquet(run / "features.parquet").feature[1])
    (run / "steered").mkdir()
    genes = pd.DataFrame(
        {
            "gene": ["LYZ", "CD14"],
            "symbol": ["LYZ", "CD14"],
            "log2fc": [1.5, -0.25],
            "qval": [1e-9, 0.2],
            "null_pval": [0.01, 0.5],
        }
    )
    genes.to_parquet(run / "steered" / "steering.parquet")
    content = {
        "summary": {"features": [number], "edit": {"kind": "set", "amount": 3.0}, "cells": 40},
        "doses": [{"dose": d, "value": 3 * d, "strength": d} for d in (0, 0.5, 1)],
        "neighbours": [{"column": "cell_type", "value": "CD34+", "change": 0.2}],
    }
    (run / "steered" / "steering.json").write_text(json.dumps(content))
    tab = visit(build(run), f"feature={number}")
    said = tab.inner_text("[data-panel=steering-0]")
    assert "LYZ" in said
    assert "CD34+ +20 points" in said
    assert "set to 3, in 40 cells" in said
    assert tab.locator("[data-panel=steering-0] svg circle").count() == 3


def test_real_steering_is_on_the_card(visit, tmp_path):
    counts_adata(200, 40).write_h5ad(tmp_path / "cells.h5ad")
    write_gmt(type_sets(40), tmp_path / "sets.gmt")
    options = RunOptions(
        data=tmp_path / "cells.h5ad",
        output=tmp_path / "run",
        gene_sets=(str(tmp_path / "sets.gmt"),),
        embed="pca",
        components=5,
        labels=("cell_type",),
        width=12,
        k=3,
        seeds=1,
        epochs=30,
    )
    folder = run(options)
    number = int(folder.features.sort_values("n_active").feature.iloc[-1])
    found = steer_run(folder, number, make_edit(to_quantile=0.9))
    found.save(folder.path / "steered")
    tab = visit(build(folder.path), f"feature={number}")
    panel = tab.locator("[data-panel=steering-0]")
    assert panel.locator("svg circle").count() == len(found.doses)
    assert "raised to the 0.9 quantile of active cells" in panel.inner_text()
    strongest = found.genes.loc[found.genes.log2fc.abs().idxmax()]
    first = panel.locator("table").first.locator("tbody tr").first.inner_text().replace("−", "-").split()
    assert (first[0], float(first[1])) == (strongest.gene, pytest.approx(strongest.log2fc, abs=0.006))
    assert "95% of random moves" in panel.inner_text()


VIEWS = [
    "view=overview",
    "view=map",
    "view=features",
    "feature={f}",
    "view=cells&by=cell_type&of=CD34%2B",
    "gene=LYZ",
    "compare={f},{g}",
]


def through_views(tab, numbers):
    """Each view in turn, in one tab, as links lead to it."""
    for fragment in VIEWS:
        turn = tab.evaluate("document.documentElement.dataset.ready")
        tab.evaluate("(to) => (location.hash = to)", fragment.format(f=numbers[0], g=numbers[1]))
        expect(tab.locator("html")).not_to_have_attribute("data-ready", turn)
        yield fragment


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_narrow_screen_does_not_overflow(visit, small_page, small_run, scheme):
    tab = visit(small_page, "view=none", width=390, height=844, scheme=scheme)
    assert tab.evaluate("document.documentElement.dataset.theme") == scheme
    for fragment in through_views(tab, pd.read_parquet(small_run / "features.parquet").feature):
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390, fragment


def test_controls_and_figures_have_names(visit, small_page, small_run):
    nameless = """() => [...document.querySelectorAll("button, input, select, a, [role=img], [role=grid]")]
        .filter((n) => !n.getAttribute("aria-label") && !n.textContent.trim() && !n.closest("label")).map((n) => n.outerHTML)"""
    tab = visit(small_page, "view=none")
    for fragment in through_views(tab, pd.read_parquet(small_run / "features.parquet").feature):
        assert tab.evaluate(nameless) == [], fragment
        assert tab.locator("h1, [aria-level='1']").count() == 1, fragment


def test_every_control_is_reached_by_tab(visit, small_page):
    tab = visit(small_page, "view=features")
    tab.wait_for_selector(".vt-row")
    wanted = tab.locator("a[href], button, input, select, .vt").evaluate_all(
        "(all) => all.filter((n) => n.offsetParent).length"
    )
    seen = set()
    for _ in range(wanted + 3):
        tab.keyboard.press("Tab")
        seen.add(
            tab.evaluate(
                "(() => { const n = document.activeElement; n.dataset.seen ??= String(Math.random()); return n.tagName + n.dataset.seen; })()"
            )
        )
    tab.locator("[data-sort=stability]").focus()
    tab.keyboard.press("Enter")
    expect(tab.locator("[role=columnheader][aria-sort=descending]")).to_have_text("stability")
    assert len(seen) >= wanted


def test_on_a_narrow_screen_the_card_is_read_in_order(visit, small_page, small_run):
    number = int(pd.read_parquet(small_run / "features.parquet").feature[5])
    tab = visit(small_page, f"feature={number}", width=390, height=844)
    order = tab.locator(".card .panel").evaluate_all("(all) => all.map((n) => n.dataset.panel)")
    assert order[:5] == ["cells", "by-label", "histogram", "volcano", "genes-up"]
    assert tab.locator(".card .stack").count() == 1
    tab.set_viewport_size({"width": 1440, "height": 900})
    expect(tab.locator(".card .stack")).to_have_count(2)


def contrast_ratio(a, b):
    def luminance(colour):
        rgb = np.array([int(v) for v in re.findall(r"\d+", colour)[:3]]) / 255
        return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]

    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(visit, small_page, scheme):
    tab = visit(small_page, scheme=scheme)
    ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    for selector in (".summary", "#nav a", ".tiles dt", ".note", "button.link"):
        colour = tab.locator(selector).first.evaluate("(n) => getComputedStyle(n).color")
        assert contrast_ratio(colour, ground) >= 4.5, selector


def test_theme_is_switched_and_kept(visit, small_page):
    tab = visit(small_page)
    tab.keyboard.press("d")
    assert tab.evaluate("document.documentElement.dataset.theme") == "dark"
    tab.reload()
    tab.wait_for_selector("html[data-ready]")
    assert tab.evaluate("document.documentElement.dataset.theme") == "dark"


def test_prints_without_controls(visit, small_page, small_run):
    tab = visit(small_page, f"feature={pd.read_parquet(small_run / 'features.parquet').feature[0]}")
    tab.emulate_media(media="print")
    assert not tab.locator(".top").is_visible()
    assert tab.locator("[data-panel=volcano] svg").is_visible()


def test_served_page_reads_its_blocks(visit, served):
    tab = visit(served, "view=features")
    tab.locator(".vt-row").first.click()
    expect(tab.locator("[data-panel=volcano] svg")).to_be_visible()


def test_runs_inside_a_notebook_frame(visit, small_run, tmp_path):
    path = tmp_path / "notebook.html"
    path.write_text(f"<!doctype html><html data-ready>{view(small_run)._repr_html_()}</html>")
    frame = visit(path).frame_locator("iframe")
    frame.locator("#nav >> text=Features").click()
    frame.locator(".vt-row").first.click()
    expect(frame.locator("[data-panel=volcano] svg")).to_be_visible()


def test_large_run_through_every_view(visit, large_page):
    tab = visit(large_page, "view=features")
    assert tab.inner_text(".told") == "4,000 features"
    assert tab.locator(".vt-row").count() < 60  # only what is in sight
    tab.locator(".vt").evaluate("(n) => (n.scrollTop = n.scrollHeight)")
    expect(tab.locator('.vt-row[aria-rowindex="4001"]')).to_be_visible()
    tab.fill("[data-find]", "cytotoxicity gnly")
    expect(tab.locator(".told")).to_contain_text(" of 4,000")
    tab.locator(".vt-row").first.click()
    expect(tab.locator("[data-panel=volcano] svg")).to_be_visible()
    tab.click("#nav >> text=Map")
    expect(tab.locator(".map canvas").first).to_be_visible()
    tab.click("#nav >> text=Cells")
    drag_around(tab, ".cells canvas")
    expect(tab.locator("[data-panel=contrast] tbody tr").first).to_be_visible()
    tab.click("#nav >> text=Genes")
    tab.fill(".chooser input", "LYZ")
    tab.keyboard.press("Enter")
    expect(tab.locator("[data-panel=gene-table] tbody tr").first).to_be_visible()
    tab.click("#nav >> text=Compare")
    for i, wanted in enumerate(("lyz", "cd19")):
        tab.locator(".chooser input").nth(i).fill(wanted)
        tab.locator(".chooser").nth(i).locator(".choices li").first.click()
        expect(tab.locator(".chooser input").nth(i)).not_to_have_value(wanted)
    expect(tab.locator("[data-panel=overlap]")).to_be_visible()


def test_large_run_is_sorted_filtered_saved_linked_and_turned_dark(visit, large_page, tmp_path):
    table = pd.read_parquet(large_page.parent / "features.parquet")
    tab = visit(large_page, "view=features")
    tab.click("[data-sort=n_active]")
    assert int(numbers(tab, "n_active")[0]) == table.n_active.max()
    tab.locator(".field", has_text="kind").locator("select").select_option("regional")
    assert tab.inner_text(".told") == f"{(table.kind == 'regional').sum():,} of 4,000 features"
    with tab.expect_download() as caught:
        tab.click("text=Download CSV")
    caught.value.save_as(tmp_path / "f.csv")
    rows = list(csv.DictReader((tmp_path / "f.csv").read_text().splitlines()))
    assert len(rows) == (table.kind == "regional").sum()
    tab.focus(".vt")
    tab.keyboard.press("End")
    tab.keyboard.press("Enter")
    expect(tab.locator("[data-panel=volcano] svg")).to_be_visible()
    assert tab.url.endswith(f"#feature={rows[-1]['feature']}")
    tab.keyboard.press("d")
    assert tab.evaluate("document.documentElement.dataset.theme") == "dark"
    tab.set_viewport_size({"width": 390, "height": 844})
    for _ in through_views(tab, table.feature):
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_demo_through_every_view(visit, demo, width, scheme):
    features = demo.features
    best = int(features.sort_values("top_set_qval").feature.iloc[0])
    tab = visit(demo.path / "report.html", "view=none", width=width, scheme=scheme)
    for fragment in through_views(tab, [best, int(features.feature.iloc[-1])]):
        assert tab.evaluate("document.documentElement.scrollWidth") <= width, fragment
        assert tab.locator("main [role=alert]").count() == 0, fragment
        if fragment.startswith("feature"):
            assert tab.locator("[data-panel=matches] tbody tr").count() == 2
            assert tab.locator("[data-panel=sets-up] .leading").count() > 0
