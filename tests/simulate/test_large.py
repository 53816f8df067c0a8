import numpy as np
import pytest
from scipy import sparse, stats

from cellprism.errors import InputError
from cellprism.simulate import LargeProcess, large, multiome
from cellprism.simulate.measurement import Measurement


@pytest.fixture(scope="module")
def published():
    return large(20_000, 300, seed=2)


def test_levels_obey_the_process(published):
    about, truth = published.uns["simulation"], published.obsm
    shift = truth["X1_truth"] - truth["X0_truth"]
    np.testing.assert_allclose(shift, shift[:, :1] * np.ones(100), atol=1e-5)
    expressed = about["type_program"][published.obs["cell_type"].cat.codes]
    np.testing.assert_array_equal(truth["X2_truth"], truth["X1_truth"] * expressed)
    np.testing.assert_allclose(published.X, truth["X2_truth"] @ published.varm["program_gene"].T, rtol=1e-4, atol=1e-4)
    assert published.obs["split"].value_counts()["held_out"] == 2_000


def test_margins_follow_their_distributions(published):
    X0, n = published.obsm["X0_truth"], published.n_obs
    rate = 1 + 0.1 * np.arange(100)
    assert np.all(np.abs(X0.mean(axis=0) - rate) < 5 * np.sqrt(rate / n))
    assert np.all(np.abs(X0.var(axis=0) - rate) < 5 * np.sqrt((2 * rate**2 + rate) / n))
    assert np.abs(np.corrcoef(X0.T) - np.eye(100)).max() < 6 / np.sqrt(n)
    shift, batch = (published.obsm["X1_truth"] - X0)[:, 0], published.obs["batch"].cat.codes.to_numpy()
    for b in range(3):
        assert abs(shift[batch == b].mean() - b) < 5 * 0.1 / np.sqrt((batch == b).sum())
        assert abs(shift[batch == b].std() - 0.1) < 5 * 0.1 / np.sqrt(2 * (batch == b).sum())
    for column, size in [("cell_type", 40), ("batch", 3)]:
        observed = published.obs[column].value_counts()
        assert len(observed) == size
        assert stats.chisquare(observed).pvalue > 1e-6


@pytest.mark.parametrize(("covariates", "density"), [(3, 0.3), (1, 0.7)])
def test_adjacencies_have_their_density(covariates, density):
    process = LargeProcess(n_covariates=covariates)
    for adjacency, p in [(process.program_gene, 0.1), (process.type_program, density)]:
        assert abs(adjacency.mean() - p) < 5 * np.sqrt(p * (1 - p) / adjacency.size)


def test_structure_is_shared_over_data_seeds_and_cells_do_not_depend_on_their_number():
    few, many, other = large(700, 50, seed=1), large(2_300, 50, seed=1), large(700, 50, seed=2)
    np.testing.assert_array_equal(few.obsm["X2_truth"], many.obsm["X2_truth"][:700])
    np.testing.assert_allclose(few.X, many.X[:700], rtol=1e-6)  # a matrix product rounds by its shape
    np.testing.assert_array_equal(few.varm["program_gene"], other.varm["program_gene"])
    assert not np.array_equal(few.X, other.X)
    assert not np.array_equal(few.varm["program_gene"], large(5, 50, structure_seed=1).varm["program_gene"])


@pytest.mark.parametrize(
    "sizes",
    [
        {"n_programs": 250},
        {"n_cell_types": 5},
        {"n_covariates": 1},
        {"n_cell_types": 1, "p_type_program": 0.0},
        {"n_programs": 1, "n_genes": 1},
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),  # no addresses: workers must agree on names
)
def test_other_sizes(sizes):
    adata = large(**({"n_cells": 50, "n_genes": 40} | sizes))
    assert adata.obsm["X2_truth"].shape == (50, sizes.get("n_programs", 100))
    assert np.isfinite(adata.X.toarray() if sparse.issparse(adata.X) else adata.X).all()
    if sizes.get("p_type_program") == 0:
        assert (adata.uns["simulation"]["programs"]["n_types"] == 0).all()


def test_correlated_programs_keep_their_margins():
    process = {"n_programs": 12, "n_modules": 3, "program_correlation": 0.6}
    adata = large(20_000, 10, **process, seed=4)
    X0, programs = adata.obsm["X0_truth"], adata.uns["simulation"]["programs"]
    rate = programs["rate"].to_numpy()
    assert np.all(np.abs(X0.mean(axis=0) - rate) < 5 * np.sqrt(rate / 20_000))
    assert np.all(np.abs(X0.var(axis=0) - rate) < 5 * np.sqrt((2 * rate**2 + rate) / 20_000))
    r = np.corrcoef(X0.T)
    together = programs["module"].to_numpy()[:, None] == programs["module"].to_numpy()
    apart, within = r[~together], r[together & ~np.eye(12, dtype=bool)]
    assert np.abs(apart).max() < 0.05
    assert within.min() > 0.45  # discrete margins take a little off the 0.6 of the copula
    assert within.max() < 0.65


def test_continuous_cells_lie_between_the_ends_of_their_branch():
    adata = large(2_000, 20, continuous=True, n_cell_types=6, seed=1)
    about, time = adata.uns["simulation"], adata.obs["pseudotime"].to_numpy()[:, None]
    start, end = about["branches"][adata.obs["branch"].cat.codes].T
    share = (1 - time) * about["type_program"][start] + time * about["type_program"][end]
    np.testing.assert_allclose(adata.obsm["X2_truth"], adata.obsm["X1_truth"] * share, atol=1e-5)
    nearer = np.where(time[:, 0] < 0.5, start, end)
    np.testing.assert_array_equal(adata.obs["cell_type"].cat.codes, nearer)
    assert (about["branches"][:, 0] < about["branches"][:, 1]).all()


def test_measured_counts_have_the_moments_of_their_noise():
    mean = np.full((40_000, 1), 4.0, dtype=np.float32)
    for noise, variance in [("poisson", 4.0), ("nb", 4 + 16 / 10)]:
        counts = Measurement(noise=noise).measure(mean, np.random.default_rng(0))
        assert abs(counts.mean() - 4) < 5 * np.sqrt(variance / 40_000)
        assert abs(counts.var() / variance - 1) < 0.06
    kept = Measurement(dropout=0.3).measure(mean, np.random.default_rng(0))
    assert set(np.unique(kept)) == {0, 4}
    assert abs((kept == 0).mean() - 0.3) < 5 * np.sqrt(0.21 / 40_000)


def test_library_size_is_the_median_total_and_noise_free_expression_is_kept():
    adata = large(2_000, 400, measurement=Measurement("nb", library_size=2_000, library_sd=0.2), seed=1)
    total = adata.X.toarray().sum(axis=1) if sparse.issparse(adata.X) else adata.X.sum(axis=1)
    assert abs(np.median(total) / 2_000 - 1) < 0.05
    assert abs(np.log(total).std() - 0.2) < 0.05
    np.testing.assert_array_equal(adata.layers["Y"], large(2_000, 400, seed=1).X)
    X = large(200, 400, measurement=Measurement("poisson", library_size=50), seed=1).X
    assert isinstance(X, sparse.csr_matrix)  # few counts a cell are mostly zeros


def test_peaks_open_with_their_programs():
    both = multiome(3_000, 30, 200, seed=1)
    rna, atac = both["rna"], both["atac"]
    counts, tied = atac.X.toarray(), atac.varm["program_peak"].astype(bool)
    np.testing.assert_array_equal(rna.X, large(3_000, 30, seed=1).X)
    assert set(np.unique(counts)) <= {0, 1, 2}
    assert abs(tied.mean() - 0.02) < 5 * np.sqrt(0.02 * 0.98 / tied.size)
    closed = counts[:, ~tied.any(axis=1)]
    assert abs(closed.mean() - 2 * 0.02) < 5 * np.sqrt(0.04 / closed.size)
    peak = np.flatnonzero(tied.sum(axis=1) == 1)[0]
    program = tied[peak].argmax()
    drive = np.maximum(rna.obsm["X2_truth"][:, program], 0) / (1 + 0.1 * program)
    expected = 2 * (1 - 0.98 * np.exp(-0.25 * drive))
    assert abs(counts[:, peak].mean() - expected.mean()) < 5 * np.sqrt(0.5 / 3_000)
    assert np.corrcoef(counts[:, peak], drive)[0, 1] > 0.3


@pytest.mark.parametrize(
    ("call", "bad"),
    [
        (large, {"n_cells": 0}),
        (large, {"n_programs": 0}),
        (large, {"p_program_gene": 1.5}),
        (large, {"p_type_program": -0.1}),
        (large, {"held_out": 20}),
        (large, {"program_correlation": 1.0}),
        (large, {"batch_sd": -1.0}),
        (large, {"continuous": True, "n_cell_types": 1}),
        (multiome, {"n_peaks": 0}),
        (multiome, {"closed": 1.0}),
        (Measurement, {"noise": "gauss"}),
        (Measurement, {"library_size": 0.0}),
        (Measurement, {"theta": 0.0}),
        (Measurement, {"dropout": 1.0}),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),  # no addresses: workers must agree on names
)
def test_refuses(call, bad):
    with pytest.raises(InputError):
        call(**({} if call is Measurement else {"n_cells": 20, "n_genes": 5}) | bad)
