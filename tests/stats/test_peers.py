"""The same tests by other packages. Scanpy and statsmodels always run; the others where they are installed."""

from __future__ import annotations

import importlib.util
import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
from scipy import stats
from statsmodels.stats.contingency_tables import StratifiedTable
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportions_ztest
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from cellprism.features.differential import differential
from cellprism.stats.contrast import active_contrast, check_codes
from cellprism.stats.expression import Expression, prepare_expression
from cellprism.stats.fdr import benjamini_hochberg, two_sided_log_p
from cellprism.stats.genes import GeneResult, rank_sum, welch
from cellprism.stats.overrep_kernels import log_factorials, matched_tail

N_CELLS = 260


def needs(package: str) -> pytest.MarkDecorator:
    """Skip where a package is not installed."""
    return pytest.mark.skipif(importlib.util.find_spec(package) is None, reason=f"{package} is not installed")


@pytest.fixture(scope="module")
def cells() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Codes of five features and genes of every awkward kind."""
    rng = np.random.default_rng(5)
    codes = rng.gamma(1.0, 1.0, (N_CELLS, 5)) * (rng.random((N_CELLS, 5)) < [0.06, 0.15, 0.3, 0.5, 0.8])
    first = codes[:, 1] > 0
    genes = {f"random {i}": rng.gamma(1.0 + i, 0.5, N_CELLS) for i in range(5)}
    genes |= {f"counts {i}": np.log1p(rng.poisson(0.1 * 3**i, N_CELLS)) for i in range(5)}
    genes |= {
        "tied": rng.integers(0, 3, N_CELLS).astype(float),
        "constant": np.full(N_CELLS, 1.5),
        "empty": np.zeros(N_CELLS),
        "one cell": np.eye(N_CELLS)[7],
        "perfect marker": first * 2.0,
        "perfect noisy marker": first * (1.0 + rng.random(N_CELLS)),
        "constant among the active": np.where(first, 1.0, rng.random(N_CELLS)),
    }
    return codes, {name: values.astype(np.float32).astype(float) for name, values in genes.items()}


def _test(cells: tuple[np.ndarray, dict[str, np.ndarray]], test) -> tuple[Expression, GeneResult]:
    codes, genes = cells
    expression = prepare_expression(sp.csr_array(np.stack(list(genes.values()), axis=1)))
    return expression, test(expression, active_contrast(check_codes(codes), expression.strata, expression.sizes))


def _scanpy(cells: tuple[np.ndarray, dict[str, np.ndarray]], f: int, method: str, **options: bool) -> pd.DataFrame:
    codes, genes = cells
    group = pd.Categorical(np.where(codes[:, f] > 0, "active", "inactive"))
    adata = ad.AnnData(
        np.stack(list(genes.values()), axis=1),
        obs=pd.DataFrame({"group": group}, index=[str(i) for i in range(N_CELLS)]),
        var=pd.DataFrame(index=list(genes)),
    )
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        sc.tl.rank_genes_groups(adata, "group", groups=["active"], method=method, **options)
        return sc.get.rank_genes_groups_df(adata, "active").set_index("names").loc[list(genes)]


@pytest.mark.parametrize("f", range(5))
def test_rank_sum_is_scanpys_with_ties(cells, f: int) -> None:
    """Scanpy has no continuity correction: half a rank, in units of the standard deviation, is put back."""
    _, result = _test(cells, rank_sum)
    table = _scanpy(cells, f, "wilcoxon", tie_correct=True)
    n1 = int((cells[0][:, f] > 0).sum())
    tie = np.array([stats.tiecorrect(stats.rankdata(x)) for x in cells[1].values()])
    sd = np.sqrt(tie * n1 * (N_CELLS - n1) * (N_CELLS + 1) / 12.0)
    usable = sd > 0
    ours = result.z[f] + np.sign(result.z[f]) * 0.5 / np.where(usable, sd, np.inf)
    theirs = -np.sign(table["scores"].to_numpy()) * stats.norm.ppf(table["pvals"].to_numpy() / 2.0)
    far = usable & (result.z[f] != 0)  # within half a rank the correction leaves nothing
    np.testing.assert_allclose(ours[far], theirs[far], rtol=1e-6)
    assert (result.z[f][~usable] == 0).all()
    assert far.sum() >= 14


@pytest.mark.parametrize("f", range(5))
def test_welch_is_scanpys_and_statsmodels(cells, f: int) -> None:
    _, result = _test(cells, welch)
    table = _scanpy(cells, f, "t-test")
    log_p = two_sided_log_p(result.z[f])
    active = cells[0][:, f] > 0
    compared = 0
    for g, (name, x) in enumerate(cells[1].items()):
        if np.ptp(x[active]) == 0 and np.ptp(x[~active]) == 0:
            continue  # no variance on either side: p = 1 there, the best hit or nothing here
        np.testing.assert_allclose(log_p[g], np.log(table["pvals"].iloc[g]), rtol=1e-6, atol=1e-6, err_msg=name)
        pair = CompareMeans(DescrStatsW(x[active]), DescrStatsW(x[~active]))
        t, p, _ = pair.ttest_ind(usevar="unequal")
        np.testing.assert_allclose(log_p[g], np.log(p), rtol=1e-6, atol=1e-6, err_msg=name)
        assert np.sign(result.z[f, g]) == np.sign(t)
        compared += 1
    assert compared >= 13


def test_q_values_are_statsmodels() -> None:
    p = np.random.default_rng(0).random(500) ** 3
    np.testing.assert_allclose(benjamini_hochberg(p), multipletests(p, method="fdr_bh")[1], rtol=1e-12)


def test_difference_of_active_shares_is_statsmodels() -> None:
    rng = np.random.default_rng(1)
    codes = rng.random((300, 4)) * (rng.random((300, 4)) < 0.3)
    second = rng.random(300) < 0.4
    table = differential(codes, np.where(second, "b", "a")).table
    for f in range(4):
        hits = [(codes[second, f] > 0).sum(), (codes[~second, f] > 0).sum()]
        z, p = proportions_ztest(hits, [second.sum(), (~second).sum()])
        np.testing.assert_allclose(table["statistic_fraction"].iloc[f], z, rtol=1e-9)
        np.testing.assert_allclose(table["pval_fraction"].iloc[f], p, rtol=1e-9)


def test_matched_overlap_has_the_moments_of_the_stratified_table() -> None:
    """Cochran, Mantel and Haenszel's test holds an overlap against the same mean and variance."""
    marked, drawn, sizes = np.array([4, 9, 0, 3]), np.array([10, 3, 7, 20]), np.array([60, 50, 70, 40])
    tail = np.array([matched_tail(k, marked, drawn, sizes, log_factorials(70)) for k in range(1, 17)])
    mean, square = tail.sum(), ((2 * np.arange(1, 17) - 1) * tail).sum()
    hits = np.array([2, 1, 0, 3])
    tables = np.array(
        [[[h, m - h], [k - h, n - m - k + h]] for h, m, k, n in zip(hits, marked, drawn, sizes, strict=True)]
    )
    keep = marked > 0
    theirs = StratifiedTable(tables[keep].transpose(1, 2, 0).astype(float)).test_null_odds(correction=False)
    np.testing.assert_allclose((hits.sum() - mean) ** 2 / (square - mean**2), theirs.statistic, rtol=1e-9)


# --- packages that the project does not install ------------------------------------------------------------------


def _lists(seed: int = 2) -> tuple[list[str], list[str], dict[str, list[str]]]:
    """Background, a list of 30 genes, and 12 sets of which three overlap with it."""
    rng = np.random.default_rng(seed)
    genes = [f"G{i}" for i in range(400)]
    chosen = genes[:30]
    sets = {f"S{i}": list(rng.choice(genes, 15, replace=False)) for i in range(9)}
    sets |= {f"T{i}": list(rng.choice(genes[: 60 * (i + 1)], 15, replace=False)) for i in range(3)}
    return genes, chosen, sets


def _ours(genes: list[str], chosen: list[str], members: list[str]) -> float:
    k = len(set(chosen) & set(members))
    one = np.array([len(set(members))]), np.array([len(chosen)]), np.array([len(genes)])
    return float(matched_tail(k, *one, log_factorials(len(genes))))


@needs("gseapy")
def test_one_bin_is_gseapys_hypergeometric_test(tmp_path) -> None:
    import gseapy

    genes, chosen, sets = _lists()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = gseapy.enrich(gene_list=chosen, gene_sets=sets, background=genes, outdir=None, no_plot=True).res2d
    assert len(table) >= 8
    for row in table.to_dict("records"):
        np.testing.assert_allclose(_ours(genes, chosen, sets[row["Term"]]), row["P-value"], rtol=1e-9)
    hit = {row["Term"] for row in table.to_dict("records")}
    q = benjamini_hochberg(np.array([_ours(genes, chosen, sets[name]) for name in table["Term"]]))
    np.testing.assert_allclose(q, table["Adjusted P-value"].to_numpy(dtype=float), rtol=1e-9)
    assert {"T0"} <= hit


@needs("decoupler")
@pytest.mark.filterwarnings("ignore")
def test_one_bin_is_decouplers_fisher_test() -> None:
    import decoupler as dc

    genes, chosen, sets = _lists()
    scores = pd.DataFrame([np.arange(400.0, 0.0, -1.0)], index=["f"], columns=genes)
    net = pd.DataFrame([(name, g) for name, members in sets.items() for g in members], columns=["source", "target"])
    # n_up is the rank above which a gene is in the list
    _, q = dc.mt.ora(data=scores, net=net, tmin=1, n_up=400 - 30, n_bm=0, n_bg=400, ha_corr=0)
    names = q.columns.tolist()
    # decoupler's Fisher test is two-sided
    two_sided = []
    for name in names:
        k, m = len(set(chosen) & set(sets[name])), 15
        two_sided.append(stats.fisher_exact([[k, m - k], [30 - k, 400 - m - 30 + k]]).pvalue)
    np.testing.assert_allclose(q.to_numpy()[0], benjamini_hochberg(np.array(two_sided)), rtol=1e-5)
    for name, p in zip(names, two_sided, strict=True):
        k = len(set(chosen) & set(sets[name]))
        if k > 15 * 30 / 400:
            assert _ours(genes, chosen, sets[name]) <= p + 1e-12


@needs("goatools")
def test_one_bin_is_goatools_fisher_test() -> None:
    from goatools.pvalcalc import FisherFactory

    genes, chosen, sets = _lists()
    calculator = FisherFactory(pvalcalc="fisher_scipy_stats").pval_obj
    for members in sets.values():
        k = len(set(chosen) & set(members))
        theirs = calculator.calc_pvalue(k, len(chosen), len(set(members)), len(genes))
        table = [[k, 15 - k], [30 - k, 400 - 15 - 30 + k]]
        np.testing.assert_allclose(stats.fisher_exact(table).pvalue, theirs, rtol=1e-9)  # two-sided
        np.testing.assert_allclose(
            _ours(genes, chosen, members), stats.fisher_exact(table, alternative="greater").pvalue, rtol=1e-9
        )


@needs("illico")
def test_rank_sum_is_illicos(cells) -> None:
    from illico import asymptotic_wilcoxon

    _, result = _test(cells, rank_sum)
    codes, genes = cells
    for f in range(5):
        adata = ad.AnnData(
            np.stack(list(genes.values()), axis=1),
            obs=pd.DataFrame(
                {"group": np.where(codes[:, f] > 0, "active", "inactive")}, index=map(str, range(N_CELLS))
            ),
            var=pd.DataFrame(index=list(genes)),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = asymptotic_wilcoxon(
                adata, group_keys="group", reference="inactive", is_log1p=True, use_continuity=True, tie_correct=True
            )
        theirs = table.xs("active")["p_value"].reindex(list(genes)).to_numpy()
        varies = [np.ptp(x) > 0 for x in genes.values()]
        np.testing.assert_allclose(np.exp(two_sided_log_p(result.z[f]))[varies], theirs[varies], rtol=1e-6)
