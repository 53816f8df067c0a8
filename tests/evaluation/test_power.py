import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.proportion import proportion_confint

from cellprism.errors import InputError
from cellprism.evaluation.found import judged, share_interval, share_of_ceiling
from cellprism.evaluation.power import interval, power_curve, power_table, sentences
from cellprism.evaluation.result import COLUMNS
from cellprism.evaluation.spike_in import evaluation_rows, spike_in


def recovery(hits: dict[float, tuple[int, int]], method: str = "cellprism", share: float = 0.1) -> pd.DataFrame:
    """Ten programmes a fold, of which so many are readable and found."""
    rows = []
    for fold, (readable, found) in hits.items():
        rows += [
            {
                "method": method,
                "variable": f"programme {i}",
                "round": 0,
                "n_genes": 30,
                "share": share,
                "fold": fold,
                "confined": False,
                "readable": i < readable,
                "found": i < found,
                "best_abs_r": 0.4 if i < found else 0.1,
                "probe_abs_r": 0.5,
                "best_abs_r_visible": 0.4 if i < found else 0.1,
                "probe_abs_r_visible": 0.5,
            }
            for i in range(10)
        ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (1, 1), (3, 10), (10, 10), (40, 97)])
def test_intervals_are_wilsons(hits, n):
    assert interval(hits, n) == pytest.approx(proportion_confint(hits, n, method="wilson"), abs=1e-9)
    assert np.isnan(interval(0, 0)).all()


def test_power_by_hand():
    table = power_table(pd.concat([recovery({2: (5, 2), 4: (10, 9)}), recovery({2: (5, 0)}, "random")]))
    assert table[["method", "fold", "n", "n_readable", "n_found"]].to_numpy().tolist() == [
        ["cellprism", 2, 10, 5, 2],
        ["cellprism", 4, 10, 10, 9],
        ["random", 2, 10, 5, 0],
    ]
    assert table["power"].tolist() == [0.2, 0.9, 0]


@pytest.mark.parametrize(
    ("hits", "said"),
    [
        ({2: (9, 8), 4: (10, 9)}, "is found if it raises its genes twofold (8 of 10 planted"),
        # Found at a smaller fold, but not at a larger one: not from there on.
        ({2: (9, 8), 4: (9, 7), 8: (10, 10)}, "is found if it raises its genes eightfold (10 of 10 planted"),
        ({1.5: (2, 0), 6: (9, 7)}, "is not reliably found even if it raises its genes 6-fold (7 of 10 planted"),
        ({6: (9, 7)}, "the embedding holds 9 of them"),
        ({0.25: (9, 9), 0.5: (8, 8), 0.8: (1, 0)}, "is found if it lowers its genes to 50 % of their mean (8 of 10"),
        ({3: (8, 8)}, "95 % interval 49 to 94 %"),
    ],
)
def test_sentences(hits, said):
    [sentence] = sentences(power_table(recovery(hits)))
    assert sentence.startswith("In your cells a programme of 30 genes in 10 % of the cells ")
    assert said in sentence


def test_a_sentence_a_kind_of_programme():
    both = pd.concat([recovery({2: (9, 9)}), recovery({0.5: (9, 9)}), recovery({2: (9, 9)}, share=0.3)])
    assert len(sentences(power_table(both))) == 3
    with pytest.raises(InputError, match="random"):
        sentences(power_table(both), "random")


def test_the_curve_has_a_panel_a_kind_and_a_line_a_dictionary():
    parts = [recovery({2: (9, 3), 4: (9, 9)}, m, s) for m in ("cellprism", "random", "probe") for s in (0.1, 0.3)]
    figure = power_curve(power_table(pd.concat(parts)))
    assert [ax.get_title() for ax in figure.axes] == ["30 genes, 10 % of cells", "30 genes, 30 % of cells"]
    assert [line.get_label() for line in figure.axes[0].lines] == ["random", "cellprism", "readable"]
    assert figure.axes[0].lines[1].get_ydata().tolist() == [0.3, 0.9]
    assert figure.axes[0].lines[2].get_ydata().tolist() == [0.9, 0.9]


def test_share_of_ceiling_by_hand():
    table = pd.DataFrame({"best_abs_r": [0.2, 0.6, np.nan], "probe_abs_r": [0.4, 0.8, 0.9]})
    assert share_of_ceiling(table) == pytest.approx(0.8 / 1.2)
    assert np.isnan(share_of_ceiling(table.assign(probe_abs_r=0.0)))
    low, high = share_interval(table)
    assert 0.5 <= low <= 0.8 / 1.2 <= high <= 0.75
    assert share_interval(table) == share_interval(table)
    halves = pd.DataFrame({"best_abs_r": [0.1, 0.2, 0.4], "probe_abs_r": [0.2, 0.4, 0.8]})
    assert share_interval(halves) == pytest.approx((0.5, 0.5))
    assert np.isnan(share_interval(table.assign(probe_abs_r=0.0))).all()


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    inside = 0
    for seed in range(300):
        ceiling = rng.uniform(0.4, 0.9, size=40)
        table = pd.DataFrame({"best_abs_r": ceiling * rng.uniform(0.6, 1, size=40), "probe_abs_r": ceiling})
        low, high = share_interval(table, seed=seed)
        inside += low <= 0.8 <= high
    assert 0.90 <= inside / 300 <= 0.98  # 95 %, of 300


@pytest.mark.parametrize(
    ("best", "probe", "null", "readable", "found"),
    [
        (0.40, 0.50, 0.1, True, True),
        (0.39, 0.50, 0.1, True, False),
        (0.49, 0.49, 0.1, False, False),
        (0.80, 0.90, 0.85, True, False),  # no better than with the activity of other cells
        (np.nan, np.nan, np.nan, False, False),
    ],
)
def test_readable_and_found_by_hand(best, probe, null, readable, found):
    scored = pd.DataFrame(
        {
            "variable": ["programme 0"],
            "best_abs_r_visible": best,
            "probe_abs_r_visible": probe,
            "null_best_abs_r_visible": null,
        }
    )
    about = {"programme": "programme 0", "n_genes": 30, "share": 0.1, "fold": 2.0, "confined": True, "n_on": 9}
    row = judged(scored, pd.DataFrame([about])).iloc[0]
    assert (bool(row["readable"]), bool(row["found"])) == (readable, found)
    assert row["n_on"] == 9


def test_rows_of_an_evaluation():
    both = pd.concat([recovery({2: (5, 2), 4: (10, 9)}), recovery({2: (5, 0), 4: (10, 1)}, "random")])
    rows = evaluation_rows(both)
    assert tuple(rows.columns) == COLUMNS
    assert set(rows["dictionary"]) == {"dictionary", "random"}
    assert (rows["k"] == 1).all()
    at = rows.set_index(["measure", "target", "dictionary"])
    found = at.loc[("planted_found", "readable", "dictionary")]
    assert found["value"] == pytest.approx(11 / 15)
    assert (found["low"], found["high"]) == pytest.approx(proportion_confint(11, 15, method="wilson"))
    power = at.loc[("planted_power", "30 genes, 10 % of cells, 4-fold", "random")]
    assert (power["value"], power["ceiling"]) == (0.1, 1.0)
    share = at.loc[("planted_share", "mean", "dictionary")]
    assert share["value"] == pytest.approx((11 * 0.4 + 9 * 0.1) / 10)
    assert share["low"] < share["value"] < share["high"]
    each = rows[(rows["measure"] == "planted_abs_r") & (rows["dictionary"] == "random")]
    assert len(each) == 20
    assert (each["ceiling"] == 0.5).all()


def test_spike_ins_are_rows_of_an_evaluation():
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.gamma(4, 0.5, size=120), size=(400, 120))
    genes = [f"G{i}" for i in range(120)]
    options = {"embed_options": {"n_components": 5}, "methods": ["random"], "recipe": {"width": 10, "k": 3}}
    first, again = (spike_in(counts, genes, n=2, seed=3, **options) for _ in range(2))
    pd.testing.assert_frame_equal(first, again)
    assert tuple(first.columns) == COLUMNS
    assert set(first["dictionary"]) == {"dictionary", "random"}
    assert set(first["measure"]) == {"planted_abs_r", "planted_share", "planted_found", "planted_power"}
    assert (first["measure"] == "planted_abs_r").sum() == 4
    assert all(said.startswith("In your cells a programme of 30 genes") for said in first.attrs["said"])
