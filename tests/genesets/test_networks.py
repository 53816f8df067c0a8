import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import linregress

from cellprism.errors import InputError
from cellprism.genesets import fetch_network, load, read_network, regulator_activity, signed_sets

TABLE = pd.DataFrame(
    {
        "source": ["GATA1", "GATA1", "GATA1", "SPI1", "SPI1", "GATA1", "NONE"],
        "target": ["HBB", "KLF1", "SPI1", "LYZ", "CSF1R", "ALAS2", "X"],
        "weight": [1.0, 2.0, -3.0, 1.0, 1.0, 0.5, 0.0],
    }
)


def test_networks_split_by_sign_and_strength():
    network = read_network(TABLE)
    assert len(network) == 6  # a weight of 0 says nothing
    assert signed_sets(network, "CollecTRI") == {
        "GATA1 induced (CollecTRI)": ["KLF1", "HBB", "ALAS2"],
        "GATA1 repressed (CollecTRI)": ["SPI1"],
        "SPI1 induced (CollecTRI)": ["LYZ", "CSF1R"],
    }
    assert signed_sets(network, top=2) == {
        "GATA1 induced": ["KLF1"],
        "GATA1 repressed": ["SPI1"],
        "SPI1 induced": ["LYZ", "CSF1R"],
    }


def test_networks_are_read_from_files_of_other_names(tmp_path):
    other = TABLE.rename(columns={"source": "tf", "target": "gene", "weight": "mor"})
    other.to_csv(tmp_path / "net.csv.gz", index=False)
    read = read_network(tmp_path / "net.csv.gz", "tf", "gene", "mor")
    pd.testing.assert_frame_equal(read, read_network(TABLE))


BAD = {
    "absent column": (TABLE.drop(columns="weight"), "no column 'weight'"),
    "no number": (TABLE.assign(weight=["1", "up", "1", "1", "1", "1", "1"]), "1 that are not.*'KLF1'"),
    "infinite": (TABLE.assign(weight=np.inf), "7 that are not"),
    "two weights": (pd.concat([TABLE, TABLE[:1].assign(weight=-1.0)]), "two for 'GATA1' on 'HBB'"),
    "only zeros": (TABLE.assign(weight=0), "must hold an effect"),
}


@pytest.mark.parametrize(("table", "message"), BAD.values(), ids=BAD)
def test_bad_networks_are_refused(table, message):
    with pytest.raises(InputError, match=message):
        read_network(table)


def test_fetched_networks_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("CELLPRISM_CACHE", str(tmp_path))
    calls: list[str] = []

    def progeny(organism):
        calls.append(organism)
        return TABLE.assign(padj=0.01)

    monkeypatch.setitem(sys.modules, "decoupler", SimpleNamespace(op=SimpleNamespace(progeny=progeny)))
    first = fetch_network("progeny")
    pd.testing.assert_frame_equal(fetch_network("progeny"), first)
    assert load("progeny")["SPI1 induced (PROGENy)"] == ["LYZ", "CSF1R"]
    assert calls == ["human"]


def test_offline_and_without_the_package_the_remedy_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("CELLPRISM_CACHE", str(tmp_path))

    def refuse(organism):
        raise ConnectionError("no route")

    monkeypatch.setitem(sys.modules, "decoupler", SimpleNamespace(op=SimpleNamespace(collectri=refuse)))
    with pytest.raises(InputError, match="run once with a network"):
        fetch_network("collectri")
    monkeypatch.setitem(sys.modules, "decoupler", None)
    with pytest.raises(InputError, match=r"pip install 'cellprism\[genesets\]'"):
        fetch_network("collectri")
    with pytest.raises(InputError, match="choose from collectri, progeny"):
        fetch_network("dorothea")
    assert not list(tmp_path.iterdir())


def test_activity_equals_regression_on_the_weights():
    pytest.importorskip("decoupler")
    rng = np.random.default_rng(0)
    symbols = np.array([f"G{i}" for i in range(60)] + ["", ""], dtype=object)
    network = read_network(
        pd.DataFrame(
            {
                "source": np.repeat(["A", "B", "few"], [12, 8, 2]),
                "target": [f"G{i}" for i in [*range(12), *range(6, 14), 0, 1]],
                "weight": rng.choice([-1.0, 1.0, 2.0], 22),
            }
        )
    )
    statistics = rng.normal(size=(3, 62))
    table = regulator_activity(statistics, symbols, network, min_size=5)
    assert table[["feature", "source"]].to_numpy().tolist() == [[f, s] for f in range(3) for s in ("A", "B")]
    for row in table.itertuples():
        effects = network[network["source"] == row.source].set_index("target")["weight"]
        weights = np.array([effects.get(symbol, 0.0) for symbol in symbols[:60]])
        fit = linregress(weights, statistics[row.feature, :60])
        assert row.score == pytest.approx(fit.slope / fit.stderr, rel=1e-6)
    assert table["qval"].between(0, 1).all()


def test_activity_needs_targets_and_matching_shapes():
    network = read_network(TABLE)
    with pytest.raises(InputError, match="0 at most"):
        regulator_activity(np.zeros((2, 3)), np.array(["x", "y", "z"], dtype=object), network)
    with pytest.raises(InputError, match="2 for 3 genes"):
        regulator_activity(np.zeros((2, 3)), np.array(["HBB", "KLF1"], dtype=object), network)
