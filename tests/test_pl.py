"""Figures hold what the tables say: texts and coordinates are read back from the drawn artists."""

import dataclasses
import json
import warnings

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from report.make_run import make_run

import cellprism as prism
from cellprism import pl
from cellprism.errors import InputError
from cellprism.report.bundle import bundle
from cellprism.report.pack import unpack
from cellprism.report.source import read_source


@pytest.fixture(autouse=True)
def _quiet_figures():
    with mpl.rc_context({"backend": "agg"}):
        yield
    plt.close("all")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("pl") / "run", n_features=20)


@pytest.fixture(scope="module")
def number(run):
    return int(pd.read_parquet(run / "features.parquet").feature[3])


def drawn(ax):
    """Every point of the scatters in the axes."""
    return np.concatenate([np.asarray(c.get_offsets()) for c in ax.collections])


def texts(ax):
    return [t.get_text() for t in ax.texts]


def test_cells_draws_each_cell_once_and_the_active_ones_by_strength(run, number):
    source = read_source(run)
    ax = pl.cells(run, number)
    row = list(source.features.feature).index(number)
    level = source.codes[:, [row]].toarray().ravel()
    assert len(drawn(ax)) == source.n_cells
    values = ax.collections[1].get_array()
    assert len(values) == (level > 0).sum()
    assert (np.diff(values) >= 0).all()  # the strongest last, on top
    assert values.max() == pytest.approx(level.max())


def test_feature_map_has_a_point_a_feature_and_names(run):
    ax = pl.feature_map(run, names=5)
    assert len(drawn(ax)) == 20
    called, *numbers = [t for t in texts(ax) if t]
    features = pd.read_parquet(run / "features.parquet").set_index("feature")
    assert len(numbers) == 5
    for number in numbers:  # beside the axes stands what each number on the map is called, whole
        assert " ".join(features.name[int(number)].split()) in " ".join(called.split())
    kinds = set(pd.read_parquet(run / "features.parquet").kind)
    assert {t.get_text() for t in ax.get_legend().get_texts()} == kinds
    assert len(pl.feature_map(run, colour="stability", names=0).collections[0].get_array()) == 20


def test_volcano_colours_by_direction_and_names_the_strongest(run, number):
    genes = pd.read_parquet(run / "genes.parquet")
    mine = genes[genes.feature == number]
    ax = pl.volcano(run, number, names=4)
    counts = [len(c.get_offsets()) for c in ax.collections[:3]]
    clear = mine.qval < 0.05
    assert counts == [(~clear).sum(), (clear & (mine.log2fc > 0)).sum(), (clear & (mine.log2fc < 0)).sum()]
    assert {t for t in texts(ax) if t} == set(mine.nsmallest(4, "pval").gene)


def test_feature_card_has_its_four_parts(run, number):
    figure = pl.feature(run, number)
    name = pd.read_parquet(run / "features.parquet").set_index("feature").name[number]
    assert name in figure.get_suptitle()
    _, by, volcano, sets = figure.axes[:4]
    assert by.get_title() == "cell_type"
    assert any("CD56+ NK" in t.get_text() for t in by.get_yticklabels())
    assert volcano.get_xlabel() == "log2 fold change"
    best = pd.read_parquet(run / "sets.parquet").query("feature == @number").nsmallest(1, "qval_rank").set.iloc[0]
    assert best in [t.get_text().replace("\n", " ") for t in sets.get_yticklabels()]  # whole


def boxes(ax):
    """Where the written names lie on the page."""
    ax.figure.draw_without_rendering()
    return [t.get_window_extent() for t in ax.texts if t.get_text()]


@pytest.mark.parametrize("draw", [lambda r, n: pl.feature_map(r, names=12), lambda r, n: pl.volcano(r, n, names=10)])
def test_no_name_lies_on_another(run, number, draw):
    found = boxes(draw(run, number))
    assert len(found) >= 8
    assert not any(a.overlaps(b) for i, a in enumerate(found) for b in found[:i])


@pytest.mark.parametrize("size", [(3.0, 2.5), (9.0, 3.0)])
def test_names_that_have_no_room_are_left_out_and_said(run, size):
    _, axes = plt.subplots(1, 2 if size[0] > 4 else 1, figsize=size, squeeze=False)
    with pytest.warns(UserWarning, match="no room for the names"):
        pl.feature_map(run, ax=axes[0, 0])
    assert not [t for t in axes[0, 0].texts if "\n" in t.get_text()]
    assert len(axes[0, 0].texts) >= 8  # the numbers
    _, axes = plt.subplots(1, 2, figsize=(14, 6), layout="constrained")
    ax = pl.feature_map(run, ax=axes[0])
    assert [t for t in ax.texts if "\n" in t.get_text()]  # where a layout makes room they stand
    plt.close("all")


@pytest.mark.parametrize("layout", [None, "constrained"])
@pytest.mark.parametrize("size", [(2.5, 2.0), (4.0, 3.0), (6.0, 5.0), (12.0, 4.0), None])
@pytest.mark.parametrize("colour", ["kind", "top_set"])
def test_a_legend_is_whole_or_left_out_and_said(run, size, layout, colour):
    axes = (
        None
        if size is None
        else plt.subplots(1, 2 if size[0] > 10 else 1, figsize=size, layout=layout, squeeze=False)[1][0]
    )
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        ax = pl.feature_map(run, colour=colour, names=0, ax=None if axes is None else axes[0])
        ax.figure.draw_without_rendering()
    legend = ax.get_legend()
    assert [str(one.message)[:38] for one in said] == ([] if legend else ["in and below these axes is no room for"])
    if legend is None:
        assert size is not None
        return
    box, page = legend.get_window_extent(), ax.figure.bbox
    assert page.x0 <= box.x0 < box.x1 <= page.x1
    assert page.y0 <= box.y0 < box.y1 <= page.y1
    if size is None:
        assert not box.overlaps(ax.xaxis.label.get_window_extent())
    plt.close("all")


def test_figures_say_what_they_show(run, number):
    name = pd.read_parquet(run / "features.parquet").set_index("feature").name[number]
    for ax in (pl.cells(run, number), pl.volcano(run, number), pl.violin(run, number, "cell_type")):
        assert name in ax.get_title().replace("\n", " ")
        assert ax.get_xlabel()
        assert ax.get_ylabel()
    assert pl.feature_map(run).get_legend().get_title().get_text() == "kind"


def test_dots_are_shares_and_means_of_groups(run):
    source = read_source(run)
    numbers = [int(f) for f in source.features.feature[:4]]
    ax = pl.dotplot(run, "cell_type", numbers)
    kinds = source.cells["cell_type"].astype(str).to_numpy()
    columns = [t.get_text() for t in ax.get_xticklabels()]
    assert set(columns) == set(kinds)
    sizes = ax.collections[0].get_sizes().reshape(len(numbers), len(columns))
    for i in range(4):
        level = source.codes[:, [i]].toarray().ravel()
        np.testing.assert_allclose(sizes[i] / 90, [(level[kinds == c] > 0).mean() for c in columns], rtol=1e-6)
    assert len(pl.dotplot(run, "cell_type").get_yticks()) <= 20
    with pytest.raises(InputError, match="one of their columns"):
        pl.dotplot(run, "nothing")


def test_violins_keep_the_order_of_categories_and_say_the_share(run, number):
    source = read_source(run)
    kinds = sorted(set(source.cells["cell_type"].astype(str)))[::-1]
    source.cells["cell_type"] = pd.Categorical(source.cells["cell_type"].astype(str), kinds, ordered=True)
    labels = [t.get_text() for t in pl.violin(source, number, "cell_type").get_xticklabels()]
    assert [label.split("\n")[0] for label in labels] == kinds
    level = source.codes[:, [list(source.features.feature).index(number)]].toarray().ravel()
    share = (level[(source.cells["cell_type"] == kinds[0]).to_numpy()] > 0).mean()
    assert labels[0].endswith(f"{share:.0%}")
    card = pl.feature(source, number).axes[1]
    drawn_kinds = [t.get_text().rsplit(" (", 1)[0] for t in card.get_yticklabels()]
    assert drawn_kinds == [k for k in kinds if k in drawn_kinds]


def test_panels_and_heat_map(run):
    numbers = [int(f) for f in pd.read_parquet(run / "features.parquet").feature[:5]]
    assert sum(bool(ax.get_title()) for ax in pl.panels(run, numbers).axes) == 5
    ax = pl.heatmap(run, numbers, genes=3)
    genes = pd.read_parquet(run / "genes.parquet")
    values = np.ma.filled(ax.images[0].get_array(), np.nan)
    assert values.shape[0] == 5
    first = genes[(genes.feature == numbers[0]) & (genes.log2fc > 0)].nlargest(1, "statistic")
    assert values[0, 0] == pytest.approx(first.log2fc.iloc[0], rel=1e-5)
    with pytest.raises(InputError, match="Panels need features"):
        pl.panels(run, [])


def test_a_protein_with_the_name_of_its_gene_has_a_column_of_its_own(run):
    source, number = read_source(run), int(pd.read_parquet(run / "features.parquet").feature[0])
    up = source.genes[(source.genes.feature == number) & (source.genes.log2fc > 0)].nlargest(3, "statistic")
    protein = up.assign(modality="protein", log2fc=up.log2fc / 7, statistic=up.statistic * 2)
    source = dataclasses.replace(source, genes=pd.concat([source.genes, protein], ignore_index=True))
    ax = pl.heatmap(source, [number], genes=6)
    drawn = dict(
        zip(
            [t.get_text() for t in ax.get_xticklabels()], np.ma.filled(ax.images[0].get_array(), np.nan)[0], strict=True
        )
    )
    for gene, fold in zip(up.gene, up.log2fc, strict=True):
        assert drawn[gene] == pytest.approx(fold)
        assert drawn[f"{gene} (protein)"] == pytest.approx(fold / 7)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (np.array([10, 9, 2]), ["2", "9", "10"]),
        (pd.Categorical([1.0, 2.0, 2.5], categories=[2.5, 1.0, 2.0]), ["2.5", "1", "2"]),
        (np.array(["None", "nan", "a"], dtype=object), ["None", "a", "nan"]),
        (pd.array([True, None, False], dtype="boolean"), ["False", "True"]),
    ],
)
def test_every_group_is_drawn_in_its_order(run, number, values, wanted):
    source = read_source(run)
    source.cells["asked"] = pd.Series(values).take(np.arange(len(source.cells)) % 3).reset_index(drop=True)
    assert [t.get_text() for t in pl.dotplot(source, "asked", [number]).get_xticklabels()] == wanted
    shares = [t.get_text().split("\n") for t in pl.violin(source, number, "asked").get_xticklabels()]
    assert [name for name, _ in shares] == wanted
    assert all(share != "nan%" for _, share in shares)


LONG = (
    "[+depth] CD14+ Monocytes and FCGR3A+ Monocytes, in part: Interferon alpha/beta response · ISG15/RSAD2 (like #{})"
)


@pytest.mark.parametrize("draw", [lambda s: pl.dotplot(s, "cell_type"), pl.heatmap, pl.modules])
def test_long_names_of_rows_do_not_lie_on_each_other(run, draw):
    source = read_source(run)
    source.features["name"] = [LONG.format(i) for i in range(source.n_features)]
    ax = draw(source)
    ax.figure.draw_without_rendering()
    rows = [t.get_window_extent() for t in ax.get_yticklabels() if t.get_text()]
    assert len(rows) > 2
    assert not any(a.overlaps(b) for i, a in enumerate(rows) for b in rows[:i])
    assert ax.get_xlabel()


def test_long_names_of_points_do_not_lie_on_each_other(run):
    rng = np.random.default_rng(0)
    codes = (rng.random((200, 20)) < 0.5) * rng.gamma(2, 1, (200, 20))
    codes[100:, :12] *= 3
    found = prism.differential(codes, np.repeat(["ctrl", "stim"], 100))
    found.table["name"] = [LONG.format(i) for i in range(20)]
    for ax in (pl.differential(found), pl.feature_map(run, names=20)):
        placed = boxes(ax)
        assert len(placed) >= 11
        assert not any(a.overlaps(b) for i, a in enumerate(placed) for b in placed[:i])


def test_groups_stand_in_their_own_order_and_cells_without_one_in_none(run, number):
    source = read_source(run)
    stages = ["early", "mid", "late"]
    known = np.array([*stages, None], dtype=object)[np.arange(source.n_cells) % 4]
    source.cells["stage"] = pd.Categorical(known, stages, ordered=True)
    assert [t.get_text().split("\n")[0] for t in pl.violin(source, number, "stage").get_xticklabels()] == stages
    assert [t.get_text() for t in pl.dotplot(source, "stage").get_xticklabels()] == stages
    card = pl.feature(source, number, by="stage").axes[1]
    assert [t.get_text().rsplit(" (", 1)[0] for t in card.get_yticklabels()] == stages
    columns = unpack(bundle(source).blocks["cells"])[1]["columns"]
    assert next(c["names"] for c in columns if c["name"] == "stage") == ["–", *stages]
    with pytest.raises(InputError, match="one of their columns"):
        pl.feature(source, number, by="nothing")


def test_comparisons_are_drawn_from_all_forms(tmp_path):
    rng = np.random.default_rng(0)
    codes = (rng.random((200, 12)) < 0.5) * rng.gamma(2, 1, (200, 12))
    condition = np.repeat(["ctrl", "stim"], 100)
    codes[100:, 3] *= 4
    found = prism.differential(codes, condition)
    ax = pl.differential(found, names=3)
    assert ax.get_title() == "stim against ctrl"
    assert sum(len(c.get_offsets()) for c in ax.collections[:3]) == 12
    assert texts(ax)[0] == "feature 3"
    found.table.to_parquet(tmp_path / "differential.parquet")
    (tmp_path / "run.json").write_text(json.dumps(found.info))
    np.testing.assert_allclose(drawn(pl.differential(tmp_path)), drawn(ax))
    with pytest.raises(InputError, match="no differential"):
        pl.differential(tmp_path / "none")


def test_a_notebook_shows_a_figure_once(run, number):
    before = plt.get_fignums()
    with plt.ion():
        pl.feature(run, number)
    assert plt.get_fignums() == before
    pl.feature(run, number)
    assert len(plt.get_fignums()) == len(before) + 1
    assert dir(pl) == sorted(pl.__all__)


def test_landscape_rings_the_choice(run):
    rows = json.loads((run / "run.json").read_text())["landscape"]
    ax = pl.landscape(run)
    assert [line.get_label() for line in ax.lines] == ["width 64", "width 128", "width 256"]
    chosen = next(r for r in rows if r["chosen"])
    np.testing.assert_allclose(drawn(ax), [[chosen["ev"], chosen["stability"]]])
    assert len(pl.landscape(pd.DataFrame(rows), x="k", y="stability", by="none").lines) == 1
    partly = [{**row, "stability": row["stability"] if row["chosen"] else None} for row in rows]
    assert pl.landscape(partly, "ev").get_ylabel() == "agreement"
    with pytest.raises(InputError, match="no nothing"):
        pl.landscape(rows, x="nothing")


def test_steering_reads_a_folder(tmp_path):
    genes = pd.DataFrame({"gene": ["A", "B", "C"], "symbol": ["a", "", "c"], "log2fc": [0.1, -2.0, 1.0]})
    genes.to_parquet(tmp_path / "steering.parquet")
    doses = [{"dose": d, "value": 2 * d, "strength": d**2} for d in (0, 0.5, 1)]
    nulls = [{"kind": k, "strength": s} for k in ("pairs", "covariance") for s in (0.1, 0.2, 0.3)]
    content = {"summary": {"strength": 1.0}, "doses": doses, "nulls": nulls}
    (tmp_path / "steering.json").write_text(json.dumps(content))
    left, middle, right = pl.steering(tmp_path, genes=2).axes
    assert [t.get_text() for t in left.get_yticklabels()] == ["B", "C"]
    np.testing.assert_allclose(middle.lines[0].get_xydata(), [[0, 0], [1, 0.25], [2, 1]])
    assert [t.get_text() for t in right.get_xticklabels()] == ["covariance", "pairs"]
    with pytest.raises(InputError, match=r"no steering\.parquet"):
        pl.steering(tmp_path / "none")


def test_recovery_orders_methods_by_their_mean(tmp_path):
    table = pd.DataFrame(
        {
            "method": ["pca-data", "cellprism", "cellprism", "topk"] * 2,
            "level": ["X2"] * 4 + ["Y"] * 4,
            "share_over_0.95": [0.1, 0.8, 0.9, 0.3, 0, 0, 0, 0],
        }
    )
    table.to_parquet(tmp_path / "summary.parquet")
    for given in (table, tmp_path, tmp_path / "summary.parquet"):
        ax = pl.recovery(given)
        assert [t.get_text() for t in ax.get_yticklabels()] == ["pca-data", "topk", "cellprism"]
        np.testing.assert_allclose([b.get_width() for b in ax.patches], [0.1, 0.3, 0.85])
    with pytest.raises(InputError, match="no method"):
        pl.recovery(table.drop(columns="method"))


def test_terms_are_probed_and_counted(run):
    source = read_source(run)
    sets = source.sets
    up = sets[(sets["direction"] == "up") & (sets[["qval_rank", "qval_ora"]].min(axis=1) < 0.05)]
    first, probe, counts = pl.terms(run, word="cell").axes
    assert len(drawn(first)) == up["feature"].nunique()
    hit = up[up["set"].str.contains("cell", case=False)]["feature"].nunique()
    assert f"of {up['feature'].nunique()} features" in probe.get_title()
    assert f" {hit} of" in probe.get_title()
    assert sum(bar.get_height() for bar in counts.patches) == up["feature"].nunique()
    assert len(pl.terms(run).axes) == 2
    with pytest.raises(InputError, match="features with some"):
        pl.terms(run, level=1e-300)


def test_modules_are_framed_in_their_order(run):
    ax = pl.modules(run)
    assert " modules of " in ax.get_title()
    columns = pl.modules(run, within="cell_type").get_title()
    assert columns != ""
    with pytest.raises(InputError, match="column of theirs"):
        pl.modules(run, within="nothing")


def test_draws_into_given_axes(run, number):
    ax = plt.subplots()[1]
    assert pl.volcano(run, number, ax=ax) is ax


REFUSED = {
    "dead feature": (lambda run: pl.cells(run, 10_000), "named by its number"),
    "unknown column": (lambda run: pl.feature_map(run, colour="nothing"), "coloured by a column"),
    "no run folder": (lambda run: pl.cells(run / "none", 0), "finished run folder"),
}


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refuses(run, call, message):
    with pytest.raises(InputError, match=message):
        call(run)


def test_without_a_map_or_embedding_says_so(tmp_path):
    run = make_run(tmp_path / "run", n_cells=60, n_features=6)
    (run / "embedding.npy").unlink()
    cells = pd.read_parquet(run / "cells.parquet")
    cells.drop(columns=["x", "y"]).to_parquet(run / "cells.parquet")
    number = int(pd.read_parquet(run / "features.parquet").feature[0])
    with pytest.raises(InputError, match="need a 2-D map"):
        pl.cells(run, number)
    with pytest.raises(InputError, match="needs the embedding"):
        pl.feature_map(run)
    assert len(pl.feature(run, number, by="donor").axes) == 4
