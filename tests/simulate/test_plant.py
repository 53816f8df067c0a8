import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from cellprism.errors import CellsLeftOut, InputError
from cellprism.simulate import Programme, plant
from cellprism.simulate.plant import cluster_regions

CELLS = 6_000
ROW = np.array([10, 30, 60], dtype=np.float32)  # a tenth, three and six tenths of the cell's 100 molecules


def alike(n: int = CELLS) -> sp.csr_array:
    """Cells that are all the same, so that every expected count can be worked out by hand."""
    return sp.csr_array(np.tile(ROW, (n, 1)))


def two_regions(n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Counts of two regions, the second of which lacks gene 0."""
    counts = np.full((n, 40), 3.0)
    counts[n // 2 :, 0] = 0
    return counts, np.repeat(["a", "b"], n // 2)


@pytest.mark.parametrize(
    ("folds", "depth", "on", "variance"),
    [
        # Threefold: Poisson(2 * 100 * 0.1) more of the first gene, and so on: the cell triples.
        ((3.0,), "grown", [30, 90, 180], [20, 60, 120]),
        # Thinned back to 100 molecules: binomial of p = 1/3 of what is there.
        # Variance p (1 - p) mean + p^2 (Poisson part).
        ((3.0,), "kept", [10, 30, 60], [2 / 9 * 30 + 20 / 9, 2 / 9 * 90 + 60 / 9, 2 / 9 * 180 + 120 / 9]),
        # Halved: binomial of p = 1/2, of which nothing is thinned further.
        ((0.5,), "grown", [5, 15, 30], [2.5, 7.5, 15]),
        ((0.5,), "kept", [5, 15, 30], [2.5, 7.5, 15]),
        # Factors of programmes that share genes multiply.
        ((2.0, 3.0), "grown", [60, 180, 360], [50, 150, 300]),
        ((4.0, 0.5), "grown", [20, 60, 120], [10, 30, 60]),
        ((1.0,), "kept", [10, 30, 60], [0, 0, 0]),
    ],
)
def test_counts_by_hand(folds, depth, on, variance):
    programmes = [Programme(3, 1.0, fold) for fold in folds]
    made = plant(alike(), programmes, regions=np.zeros(CELLS), spread=0, depth=depth, seed=1).counts.toarray()
    error = np.sqrt(np.maximum(variance, 1e-12) / np.array(CELLS))
    assert (np.abs(made.mean(axis=0) - on) <= 4.5 * error + 1e-9).all()
    # The standard error of a variance of near normal counts is variance * sqrt(2 / n).
    assert np.allclose(made.var(axis=0), variance, rtol=6 * np.sqrt(2 / CELLS), atol=1e-9)


def test_depth_is_kept_in_expectation_and_says_nothing_of_the_programme():
    rng = np.random.default_rng(0)
    counts = rng.poisson(2.0, size=(4_000, 50))
    programmes = [Programme(20, 0.5, 4.0)]
    totals = {}
    for depth in ("kept", "grown"):
        made = plant(counts, programmes, regions=np.zeros(4_000), depth=depth)
        on = made.activity[:, 0] > 0
        after = np.asarray(made.counts.sum(axis=1)).ravel()
        totals[depth] = (after[on].mean(), after[~on].mean())
    assert totals["kept"][0] == pytest.approx(totals["kept"][1], abs=4 * 10 / np.sqrt(2_000) * 1.5)
    assert totals["grown"][0] > 1.8 * totals["grown"][1]


@pytest.mark.parametrize("depth", ["kept", "grown"])
def test_poisson_counts_stay_poisson(depth):
    rng = np.random.default_rng(3)
    counts = rng.poisson(np.linspace(1, 6, 60), size=(8_000, 60))
    made = plant(counts, [Programme(30, 1.0, 3.0)], regions=np.zeros(8_000), spread=0, depth=depth).counts.toarray()
    dispersion = made.var(axis=0) / made.mean(axis=0)
    # Kept by means: the factor of a cell's thinning follows its own total, which adds a little to the variance.
    assert dispersion == pytest.approx(np.ones(60), abs=6 * np.sqrt(2 / 8_000) + 0.06)


def test_a_fold_is_against_the_region_of_the_cell():
    counts, regions = two_regions(8_000)
    made = plant(counts, [Programme(40, 1.0, 2.0)], regions=regions, spread=0, depth="grown", min_detected=0.1)
    after = made.counts.toarray()
    assert after[4_000:, 0].max() == 0  # never shown there, so nothing to raise
    assert after[:4_000, 0].mean() == pytest.approx(6, abs=4.5 * np.sqrt(3 / 4_000))
    assert after[4_000:, 1:].mean() == pytest.approx(6, abs=4.5 * np.sqrt(3 / (39 * 4_000)))


def test_activity_is_the_truth():
    counts, regions = two_regions()
    made = plant(counts, [Programme(5, 0.1), Programme(5, 0.25, confined=("b",))], regions=regions, spread=0.5)
    assert made.programmes["n_on"].tolist() == [40, 100]
    assert (made.activity > 0).sum(axis=0).tolist() == [40, 100]
    assert not made.activity[:200, 1].any()
    assert made.programmes["regions"].tolist() == ["", "b"]
    assert made.programmes["confined"].tolist() == [False, True]
    on = made.activity[made.activity > 0]
    assert 0.5 <= on.min() < 0.6 < 1.4 < on.max() <= 1.5
    off = ~made.activity.any(axis=1)
    assert (made.counts.toarray()[off] == counts[off]).all()
    assert [len(genes) for genes in made.genes] == [5, 5]


def test_random_confinement_leaves_regions_out_and_fits_the_cells():
    regions = np.repeat(["a", "b", "c", "d"], [600, 200, 100, 100])
    counts = np.full((1_000, 30), 2.0)
    for seed in range(20):
        made = plant(counts, [Programme(5, 0.2, confined=True)], regions=regions, seed=seed)
        allowed = set(made.programmes["regions"][0].split("|"))
        assert 1 <= len(allowed) < 4
        assert (made.possible[:, 0] == np.isin(regions, list(allowed))).all()
        assert set(regions[made.activity[:, 0] > 0]) <= allowed
        assert np.isin(regions, list(allowed)).sum() >= 0.2 * 1_000 / 0.5 - 1


@pytest.mark.parametrize("depth", ["kept", "grown"])
def test_nothing_is_planted_in_cells_without_a_region(depth):
    """Nor do they count for the share of the cells that a programme is on in, or for the means that it raises."""
    counts, regions = two_regions(600)
    gone = np.arange(600) % 3 == 0
    gaps = np.where(gone, None, regions.astype(object))
    programmes = [Programme(5, 0.5, 3.0), Programme(5, 0.2, 3.0, confined=True)]
    with pytest.warns(CellsLeftOut, match="200 of 600 cells without a region: nothing is planted there"):
        made = plant(counts, programmes, regions=gaps, depth=depth, seed=3)
    np.testing.assert_array_equal(made.counts.toarray()[gone], counts[gone])
    assert not made.possible[gone].any()
    assert made.programmes["n_on"].tolist() == [200, 80]
    without = plant(counts[~gone], programmes, regions=regions[~gone], depth=depth, seed=3)
    np.testing.assert_array_equal(made.activity[~gone], without.activity)
    assert [g.tolist() for g in made.genes] == [g.tolist() for g in without.genes]


def test_regions_are_found_where_none_are_given():
    rng = np.random.default_rng(0)
    kind = np.repeat([0, 1], 200)
    rate = np.where((np.arange(60) % 2)[None, :] == kind[:, None], 8.0, 0.5)
    counts = rng.poisson(rate)
    found = cluster_regions(counts, 2)
    assert len(set(zip(found, kind, strict=True))) == 2
    assert set(cluster_regions(counts[:60])) == {"region 0"}
    assert (cluster_regions(counts, 2) == found).all()


def test_same_seed_same_bytes_and_nothing_given_is_changed():
    counts = sp.csr_array(two_regions()[0], dtype=np.float32)
    before = counts.copy()
    programmes = [Programme(10, 0.2, 3.0, confined=True), Programme(10, 0.2, 0.5)]
    first, again = (plant(counts, programmes, regions=two_regions()[1], seed=7) for _ in range(2))
    assert first.counts.data.tobytes() == again.counts.data.tobytes()
    assert first.counts.indices.tobytes() == again.counts.indices.tobytes()
    assert first.activity.tobytes() == again.activity.tobytes()
    other = plant(counts, programmes, regions=two_regions()[1], seed=8)
    assert (other.counts != first.counts).nnz > 0
    assert (counts != before).nnz == 0


FORMS = {
    "dense": np.asarray,
    "integers": lambda X: X.astype(np.int64),
    "csc": sp.csc_array,
    "csr matrix": sp.csr_matrix,
    "doubles": lambda X: X.astype(np.float64),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_counts_gives_the_same(form):
    counts, regions = two_regions()
    counts = counts.astype(np.float32)
    expected = plant(sp.csr_array(counts), [Programme(5)], regions=regions)
    made = plant(FORMS[form](counts), [Programme(5)], regions=regions)
    assert (made.counts != expected.counts).nnz == 0


GOOD = two_regions()[0]
NAMES = two_regions()[1]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: plant(GOOD + 0.5, [Programme()]), "raw counts"),
        (lambda: plant(np.log1p(GOOD), [Programme()]), "raw counts"),
        (lambda: plant(GOOD - 5, [Programme()]), "negative"),
        (lambda: plant(np.where(GOOD > 2, np.nan, GOOD), [Programme()]), "finite"),
        (lambda: plant(np.zeros((5, 4)), [Programme()]), "zero"),
        (lambda: plant(GOOD[0], [Programme()]), "matrix"),
        (lambda: plant(np.array([["a", "b"]]), [Programme()]), "numbers"),
        (lambda: plant(GOOD, []), "no programme"),
        (lambda: plant(GOOD, [Programme()], regions=NAMES[:10]), "label a cell"),
        (lambda: plant(GOOD, [Programme()], regions=[None] * len(GOOD)), "no cell with one"),
        (lambda: plant(GOOD, [Programme()], depth="lost"), "kept or grown"),
        (lambda: plant(GOOD, [Programme()], spread=1), "spread"),
        (lambda: plant(GOOD, [Programme()], min_detected=1.5), "min_detected"),
        (lambda: plant(GOOD, [Programme(41)], regions=NAMES), "genes that its cells express"),
        (lambda: plant(GOOD, [Programme(5, confined=("z",))], regions=NAMES), "region must exist"),
        (lambda: plant(GOOD, [Programme(5, 0.6, confined=("a",))], regions=NAMES), "hold the cells"),
        (lambda: plant(GOOD, [Programme(5, 0.6, confined=True)], regions=NAMES), "absent from"),
        (lambda: plant(GOOD, [Programme(5, confined=True)], regions=np.zeros(len(GOOD))), "absent from"),
        (lambda: Programme(0), "`n_genes` must be at least 1"),
        (lambda: Programme(2.5), "must be a whole number"),
        (lambda: Programme(share=0), "share"),
        (lambda: Programme(share=1.2), "share"),
        (lambda: Programme(share=float("nan")), "share"),
        (lambda: Programme(fold=0), "fold"),
        (lambda: Programme(fold=float("inf")), "fold"),
        (lambda: Programme(fold=float("nan")), "fold"),
        (lambda: Programme(confined=()), "regions"),
    ],
)
def test_bad_input_says_so(call, words):
    with pytest.raises(InputError, match=words):
        call()


@settings(max_examples=60, deadline=None)
@given(
    n_genes=st.integers(1, 12),
    share=st.floats(0.01, 0.3),
    fold=st.floats(0.05, 20),
    confined=st.booleans(),
    n=st.integers(1, 5),
    spread=st.floats(0, 0.99),
    depth=st.sampled_from(["kept", "grown"]),
    seed=st.integers(0, 2**31 - 1),
)
def test_what_holds_for_every_option(n_genes, share, fold, confined, n, spread, depth, seed):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rng.gamma(1, 2, size=30), size=(120, 30)).astype(np.float32)
    counts[:, :12] += 1
    regions = rng.permutation(np.repeat(["a", "b", "c"], 40))
    programmes = [Programme(n_genes, share, fold, confined)] * n
    made = plant(counts, programmes, regions=regions, spread=spread, depth=depth, seed=seed)
    after = made.counts.toarray()
    assert after.shape == counts.shape
    assert made.counts.dtype == np.float32
    assert (after >= 0).all()
    assert (after == np.rint(after)).all()
    assert made.counts.has_sorted_indices
    assert (made.counts.data > 0).all()
    assert ((made.activity > 0).sum(axis=0) == max(1, round(share * 120))).all()
    off = ~made.activity.any(axis=1)
    assert (after[off] == counts[off]).all()
    untouched = np.setdiff1d(np.arange(30), np.concatenate(made.genes))
    assert (after[:, untouched] <= counts[:, untouched]).all()  # of other genes molecules are lost at most
    if depth == "grown" or fold <= 1:
        assert (after[:, untouched] == counts[:, untouched]).all()
    if confined:
        assert all(name for name in made.programmes["regions"])
