"""What the blocks hold is what the run folder holds."""

import json

import numpy as np
import pandas as pd
import pytest
from report.make_run import make_run
from scipy import sparse

from cellprism.errors import InputError
from cellprism.report.bundle import Packing, bundle
from cellprism.report.evidence import _under
from cellprism.report.pack import unpack
from cellprism.report.source import read_source


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run") / "run", n_cells=700, n_features=30)


@pytest.fixture(scope="module")
def blocks(run):
    return {name: unpack(block) for name, block in bundle(read_source(run)).blocks.items()}


def evidence(blocks, row):
    """Arrays of one feature, read as the page reads them."""
    bounds = blocks["overview"][1]["feature_bounds"]
    place = next(i for i in range(len(bounds) - 1) if bounds[i] <= row < bounds[i + 1])
    return blocks[f"feature-{place}"][0], row - bounds[place]


def test_activations_are_the_codes(run, blocks):
    codes = sparse.csc_array(sparse.load_npz(run / "codes.npz"))
    features = pd.read_parquet(run / "features.parquet")
    for row, number in enumerate(features.feature):
        arrays, i = evidence(blocks, row)
        column = codes[:, [number]].toarray().ravel()
        expected = np.flatnonzero(column)
        n = arrays["cell_ptr"][i + 1] - arrays["cell_ptr"][i]
        gaps, value, shift = [], 0, 0
        for byte in arrays["gap"][arrays["byte_ptr"][i] : arrays["byte_ptr"][i + 1]].tolist():
            value, shift = value | (byte & 127) << shift, shift + 7
            if byte < 128:
                gaps.append(value)
                value, shift = 0, 0
        np.testing.assert_array_equal(np.cumsum(gaps), expected)
        level = arrays["level"][arrays["cell_ptr"][i] : arrays["cell_ptr"][i + 1]]
        assert len(level) == n == len(expected)
        np.testing.assert_allclose(level / 255 * column.max(), column[expected], atol=column.max() / 255)


def test_genes_are_sorted_by_evidence_and_complete(run, blocks):
    table = pd.read_parquet(run / "genes.parquet")
    features = pd.read_parquet(run / "features.parquet").feature
    names = blocks["names"][1]["genes"]
    for row in (0, 7, 29):
        arrays, i = evidence(blocks, row)
        inside = slice(arrays["gene_ptr"][i], arrays["gene_ptr"][i + 1])
        mine = table[table.feature == features[row]].set_index("gene")
        shown = [names[g] for g in arrays["gene"][inside]]
        assert sorted(shown) == sorted(mine.index)
        np.testing.assert_allclose(arrays["gene_fc"][inside], mine.log2fc[shown], atol=2e-3)
        np.testing.assert_allclose(arrays["gene_z"][inside], mine.statistic[shown], atol=1e-2)
        np.testing.assert_allclose(arrays["gene_mlp"][inside], -mine.logpval[shown] / np.log(10), atol=1e-2)
        np.testing.assert_allclose(arrays["gene_mlq"][inside], -np.log10(mine.qval[shown]), atol=1e-2)
        assert (np.diff(np.abs(arrays["gene_z"][inside])) <= 0.011).all()


def test_sets_and_labels_are_those_of_the_feature(run, blocks):
    sets, labels = pd.read_parquet(run / "sets.parquet"), pd.read_parquet(run / "labels.parquet")
    features = pd.read_parquet(run / "features.parquet").feature
    meta = blocks["names"][1]
    arrays, i = evidence(blocks, 4)
    inside = slice(arrays["set_ptr"][i], arrays["set_ptr"][i + 1])
    mine = sets[(sets.feature == features[4]) & (sets.qval_rank.notna() | (sets.qval_ora < 0.05))]
    shown = {(meta["sets"][s], bool(up)) for s, up in zip(arrays["set"][inside], arrays["set_up"][inside], strict=True)}
    assert shown == set(zip(mine.set, mine.direction == "up", strict=True))
    inside = slice(arrays["label_ptr"][i], arrays["label_ptr"][i + 1])
    mine = labels[labels.feature == features[4]].set_index("value")
    names = [meta["labels"][j][1] for j in arrays["label"][inside]]
    np.testing.assert_allclose(arrays["label_auroc"][inside], mine.auroc[names], atol=1e-3)


def test_features_of_a_gene_are_found_from_the_gene(run, blocks):
    table = pd.read_parquet(run / "genes.parquet")
    features = pd.read_parquet(run / "features.parquet").feature
    gene = blocks["names"][1]["genes"].index("LYZ")
    bounds = blocks["overview"][1]["gene_bounds"]
    place = next(i for i in range(len(bounds) - 1) if bounds[i] <= gene < bounds[i + 1])
    arrays = blocks[f"gene-{place}"][0]
    i = gene - bounds[place]
    rows = arrays["row"][arrays["ptr"][i] : arrays["ptr"][i + 1]]
    assert set(features.to_numpy()[rows]) == set(table[table.gene == "LYZ"].feature)


def test_neighbours_are_others_and_cosines_are_right(run, blocks):
    arrays, i = evidence(blocks, 3)
    codes = sparse.csc_array(sparse.load_npz(run / "codes.npz"))
    numbers = pd.read_parquet(run / "features.parquet").feature.to_numpy()
    dense = codes[:, numbers].toarray()
    unit = dense / np.linalg.norm(dense, axis=0)
    cosine = unit.T @ unit[:, 3]
    cosine[3] = -1
    k = len(arrays["together"]) // (len(arrays["cell_ptr"]) - 1)
    shown = arrays["together"][i * k : (i + 1) * k]
    shown = shown[shown >= 0]
    np.testing.assert_allclose(cosine[shown], np.sort(cosine)[::-1][: len(shown)], atol=1e-5)


def test_large_tables_are_thinned_and_the_page_says_so(run):
    source = read_source(run)
    blocks = bundle(source, packing=Packing(max_bytes=100)).blocks
    meta = unpack(blocks["overview"])[1]
    assert meta["gene_rows"] == 40
    assert not meta["gene_rows_cut"]  # no feature here has more than 40 genes
    source.genes.loc[:, "feature"] = source.features.feature[0]
    meta = unpack(bundle(source, packing=Packing(max_bytes=100)).blocks["overview"])[1]
    assert meta["gene_rows_cut"]


ABSENT = {
    "no genes": ["genes.parquet"],
    "no sets": ["sets.parquet"],
    "no labels": ["labels.parquet"],
    "no embedding": ["embedding.npy"],
    "no run.json": ["run.json"],
    "nothing but the codes": ["genes.parquet", "sets.parquet", "labels.parquet", "embedding.npy", "run.json"],
}


@pytest.mark.parametrize("names", ABSENT.values(), ids=ABSENT.keys())
def test_absent_tables_do_not_break_the_page(tmp_path, names):
    run = make_run(tmp_path / "run", n_cells=60, n_features=6)
    for name in names:
        (run / name).unlink()
    made = bundle(read_source(run))
    assert unpack(made.blocks["overview"])[1]["n_features"] == 6
    assert made.summary


def test_missing_columns_and_numbers_do_not_break_the_page(tmp_path):
    run = make_run(tmp_path / "run", n_cells=60, n_features=6)
    features = pd.read_parquet(run / "features.parquet")
    features["top_set_qval"] = np.nan
    features["top_set"] = None
    features["top_genes"] = [["A", "B"]] * 6
    features.drop(columns=["confound", "kind"]).to_parquet(run / "features.parquet")
    info = json.loads((run / "run.json").read_text())
    info["metrics"]["explained_variance"] = float("nan")
    (run / "run.json").write_text(json.dumps(info))
    blocks = bundle(read_source(run)).blocks
    assert unpack(blocks["overview"])[1]["metrics"]["explained_variance"] is None
    assert unpack(blocks["features"])[1]["top_genes"] == ["A, B"]


def test_no_live_feature(tmp_path):
    run = make_run(tmp_path / "run", n_cells=60, n_features=6)
    pd.read_parquet(run / "features.parquet").iloc[:0].to_parquet(run / "features.parquet")
    assert unpack(bundle(read_source(run)).blocks["overview"])[1]["n_features"] == 0


def test_refuses_what_is_no_run_folder(tmp_path):
    with pytest.raises(InputError, match=r"features\.parquet, cells\.parquet, codes\.npz"):
        read_source(tmp_path)


def test_refuses_a_folder_that_mixes_two_runs(tmp_path):
    run = make_run(tmp_path / "run", n_cells=60, n_features=6)
    pd.read_parquet(run / "cells.parquet").iloc[:-1].to_parquet(run / "cells.parquet")
    with pytest.raises(InputError, match="60 and 59 rows"):
        read_source(run)
    make_run(run, n_cells=60, n_features=6)
    features = pd.read_parquet(run / "features.parquet")
    features.loc[0, "feature"] = 999
    features.to_parquet(run / "features.parquet")
    with pytest.raises(InputError, match="feature 999 of"):
        read_source(run)


def test_sets_that_say_the_same_stand_under_the_better_one() -> None:
    sets = pd.DataFrame({"set": ["a", "b", "c"], "redundant_with": ["", "a", "gone"]})
    assert _under(sets, ["a", "b", "c"]).tolist() == [-1, 0, -1]
    assert _under(sets[["set"]], ["a", "b", "c"]).tolist() == [-1, -1, -1]
