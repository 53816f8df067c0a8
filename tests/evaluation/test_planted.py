import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellprism.cli.benchmark import SIMULATED
from cellprism.embed.pca import PCAModel
from cellprism.errors import InputError
from cellprism.evaluation.planted import over_grid, planted
from cellprism.recovery import PRESETS
from cellprism.recovery.benchmark import RECOVERY_COLUMNS
from cellprism.sae import SAEConfig
from cellprism.simulate import Programme

GENES = [f"G{i}" for i in range(150)]
SMALL = SAEConfig(16, k=4)
READING = SAEConfig(6, "jumprelu", init="geometry", pre_bias="none")  # fixed: the recipe's choice is not tested here
PCA = {"embed_options": {"n_components": 8}}
QUICK = {"methods": ["random", "probe"], "recipe": SMALL, "options": {"cellprism": {"epochs": 5}}, **PCA}


def cells(n: int = 400, seed: int = 0) -> np.ndarray:
    """Counts of two kinds of cells."""
    rng = np.random.default_rng(seed)
    rate = rng.gamma(4, 0.5, size=(2, len(GENES)))
    return rng.poisson(rate[rng.integers(2, size=n)])


@pytest.fixture(scope="module")
def huge():
    lines = []
    programmes = [Programme(25, share, 8.0, confined) for share in (0.15, 0.3) for confined in (False, ("b",))]
    regions = np.repeat(["a", "b"], 450)
    found = planted(
        cells(900), GENES, programmes, regions=regions, methods=["random", "pca", "nmf", "gene", "probe"], per_round=2,
        report=lines.append, embed_options={"n_components": 6}, recipe=READING,
    )  # fmt: skip
    assert len(lines) == 2 * (2 + 6)
    return found


def test_what_is_planted_at_a_huge_fold_is_found(huge):
    own = huge.recovery[huge.recovery["method"] == "cellprism"]
    assert (own["probe_abs_r"] > 0.9).all()
    assert own["readable"].all()
    assert own["found"].all()
    table = huge.summary.groupby("method")["share_of_ceiling"].mean()
    assert table["cellprism"] > 0.9
    assert table["probe"] == pytest.approx(1, abs=0.02)
    assert table["random"] < table["cellprism"]
    assert huge.recovery.loc[huge.recovery["method"] == "probe", "found"].all()


def test_tables_are_those_of_the_other_benchmarks_and_more(huge):
    assert list(huge.recovery.columns[: len(RECOVERY_COLUMNS)]) == RECOVERY_COLUMNS
    assert len(huge.recovery) == 6 * 4
    assert len(huge.summary) == 6 * 2
    assert set(huge.summary["kind"]) == {"sae", "null", "embedding", "data", "ceiling"}
    assert huge.recovery.groupby("method")["share"].apply(list).map(tuple).nunique() == 1
    both = huge.recovery[~huge.recovery["confined"]]
    assert both["best_abs_r"].to_numpy() == pytest.approx(both["best_abs_r_visible"].to_numpy(), abs=1e-5)
    assert both["probe_abs_r"].to_numpy() == pytest.approx(both["probe_abs_r_visible"].to_numpy(), abs=1e-5)


def test_rivals_have_as_many_candidates_as_the_dictionary(huge):
    width = huge.summary.pivot(index="round", columns="method", values="n_features")
    assert (width["random"] == width["cellprism"]).all()
    assert (width["nmf"] <= width["cellprism"]).all()
    assert (width["gene"] == len(GENES)).all()  # whoever looks for one looks at all


def test_nothing_is_found_where_nothing_is_planted():
    # Confined too: among all cells a feature of the region follows such a programme, among those of the region none.
    programmes = [Programme(20, 0.15, 1.0, confined=i % 2 == 1) for i in range(40)]
    regions = np.repeat(["a", "b", "c"], 300)
    found = planted(cells(900), GENES, programmes, regions=regions, per_round=20, held_out=0.5, **QUICK).recovery
    assert not found["readable"].any()
    assert not found["found"].any()
    for _, part in found[found["method"] != "probe"].groupby("method"):
        beyond = part["best_abs_r_visible"] - part["null_best_abs_r_visible"]
        assert abs(beyond.mean()) < 4 * beyond.std() / np.sqrt(len(beyond))


def test_a_stopped_call_goes_on_and_ends_the_same(tmp_path, monkeypatch):
    programmes = over_grid(6)
    whole = planted(cells(), GENES, programmes, per_round=2, **QUICK)

    class StoppedError(Exception):
        pass

    def stop(line: str) -> None:
        if line.startswith("round 3"):
            raise StoppedError

    with pytest.raises(StoppedError):
        planted(cells(), GENES, programmes, per_round=2, folder=tmp_path, report=stop, **QUICK)
    lines: list[str] = []
    again = planted(cells(), GENES, programmes, per_round=2, folder=tmp_path, report=lines.append, **QUICK)
    assert sum(line.startswith("cellprism:") for line in lines) == 1  # the other two rounds were taken over
    pd.testing.assert_frame_equal(again.recovery, whole.recovery)
    pd.testing.assert_frame_equal(again.summary.drop(columns="seconds"), whole.summary.drop(columns="seconds"))
    with pytest.raises(InputError, match="goes on only with"):
        planted(cells(), GENES, programmes, per_round=2, folder=tmp_path, seed=1, **QUICK)
    with pytest.raises(InputError, match="goes on only with"):
        planted(cells(seed=1), GENES, programmes, per_round=2, folder=tmp_path, **QUICK)
    with pytest.raises(InputError, match="goes on only with"):
        planted(cells(), GENES[::-1], programmes, per_round=2, folder=tmp_path, **QUICK)
    with pytest.raises(InputError, match="goes on only with"):
        planted(cells(), GENES, programmes, per_round=2, folder=tmp_path, regions=["a", "b"] * 200, **QUICK)


def test_seeds_differ_and_the_same_seed_gives_the_same():
    first, again, other = (planted(cells(), GENES, over_grid(3), seed=s, **QUICK).recovery for s in (0, 0, 1))
    pd.testing.assert_frame_equal(first, again)
    assert not np.allclose(first["probe_abs_r"], other["probe_abs_r"])


def test_models_that_encode_can_be_put_to_the_test():
    seen = {}

    def embed(train, seed):
        seen["cells"], seen["columns"], seen["total"] = train.n_obs, list(train.obs), float(train.X.sum())
        return PCAModel.fit(train, n_components=5, seed=seed)

    obs = pd.DataFrame({"batch": ["x", "y"] * 200})
    options = {k: v for k, v in QUICK.items() if k != "embed_options"}
    planted(cells(), GENES, over_grid(2), embed=embed, obs=obs, **options)
    whole = seen["total"]
    assert seen["cells"] == 280
    assert seen["columns"] == ["batch"]
    planted(cells(), GENES, over_grid(2), embed=embed, thinned=True, **options)
    assert seen["total"] == pytest.approx(whole / 2, rel=0.03)
    small = {"latent": 4, "epochs": 3}
    found = planted(cells(), GENES, over_grid(2), embed="autoencoder", **options | {"embed_options": small})
    assert found.summary["ceiling_mean_abs_r"].notna().all()


def test_the_folder_reads_as_a_benchmark(huge, tmp_path):
    huge.save(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"recovery.parquet", "summary.parquet", "power.parquet", "run.json", "figures", "index.html"}
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "recovery.parquet"), huge.recovery)
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"power.png", "recovery.png"}
    about = json.loads((tmp_path / "run.json").read_text())
    assert about["preset"] == "planted"
    assert about["said"] == huge.said
    assert huge.said[0] in (tmp_path / "index.html").read_text()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"genes": GENES[1:]}, "name every column"),
        ({"genes": ["G0"] * 150}, "own name"),
        ({"programmes": []}, "at least"),
        ({"per_round": 0}, "at least"),
        ({"held_out": 0.2}, "leaves 100 cells out"),
        ({"held_out": 1.0}, "less than 1"),
        ({"obs": pd.DataFrame(index=range(3))}, "row a cell"),
        ({"methods": ["tsne"]}, "tsne"),
        ({"embed": "umap"}, "umap"),
        ({"embed_options": {"depth": 3}}, "depth"),
        ({"seed": -1}, "seed"),
        ({"counts": cells() + 0.5}, "counts"),
        ({"depth": "none"}, "kept or grown"),
        ({"regions": ["a"]}, "1 values for 400 cells"),
        ({"regions": [None] * 400}, "no cell with one"),
        ({"recipe": {"wdth": 3}}, "wdth"),
    ],
)
def test_bad_input_says_so(changes, words):
    arguments = {"counts": cells(), "genes": GENES, "programmes": over_grid(1), **QUICK} | changes
    with pytest.raises(InputError, match=words):
        planted(**arguments)


@pytest.mark.parametrize("gap", [None, np.nan, ""])
def test_cells_without_a_region_are_left_out_and_counted(gap):
    """As if they were not there: in the counts, in the columns that a model is told, and in what is held out."""
    X, regions = cells(500), np.array(["a", "b"], dtype=object)[np.arange(500) % 2]
    gone = np.arange(500) % 5 == 0
    told = pd.DataFrame({"batch": np.where(np.arange(500) % 3, "x", "y")})
    lines = []
    asked = {"genes": GENES, "programmes": [Programme(10, 0.2, 6.0, True)], **QUICK}
    found = planted(X, regions=np.where(gone, gap, regions), obs=told, report=lines.append, **asked)
    without = planted(X[~gone], regions=regions[~gone], obs=told[~gone], **asked)
    pd.testing.assert_frame_equal(found.recovery, without.recovery)
    assert found.about["regions"] == {"a": 200, "b": 200}
    assert found.about["notes"] == lines[:1] == ["100 of 500 cells without a region: left out"]


@given(
    n=st.integers(1, 80),
    n_genes=st.lists(st.integers(1, 50), min_size=1, max_size=2, unique=True),
    shares=st.lists(st.floats(0.01, 1), min_size=1, max_size=4, unique=True),
    folds=st.lists(st.floats(0.1, 9), min_size=1, max_size=5, unique=True),
)
def test_a_grid_is_gone_through_evenly_and_half_is_confined(n, n_genes, shares, folds):
    programmes = over_grid(n, n_genes=n_genes, shares=shares, folds=folds)
    points = pd.Series([(p.n_genes, p.share, p.fold) for p in programmes]).value_counts()
    size = len(n_genes) * len(shares) * len(folds)
    assert len(programmes) == n
    assert points.max() - points.min() <= 1
    assert len(points) == min(n, size)
    assert abs(sum(p.confined is True for p in programmes) - n / 2) <= size / 2 + 1
    if n >= 2 * size:  # each point is planted both ways
        assert {(p.n_genes, p.share, p.fold, p.confined) for p in programmes[: 2 * size]} >= {
            (*point, confined) for point in points.index for confined in (True, False)
        }


def test_no_grid_no_programmes():
    with pytest.raises(InputError, match="`n` must be at least 1"):
        over_grid(0)
    with pytest.raises(InputError, match="a point"):
        over_grid(9, shares=())


def test_the_command_line_knows_the_presets():
    assert tuple(PRESETS) == SIMULATED
