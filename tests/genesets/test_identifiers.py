import numpy as np
import pandas as pd
import pytest

from cellprism.errors import InputError
from cellprism.genesets import id_table, map_ids, map_sets, read_id_table

PAIRS = pd.DataFrame(
    {
        "ensembl": [
            "ENSG00000104267",
            "ENSG00000004939",
            "ENSG00000206172",
            "ENSG00000206172",
            None,
            "ENSG00000000001",
        ],
        "symbol": ["CA2", "SLC4A1", "HBA1", "HBA2", "NOBODY", " "],
    }
)


@pytest.mark.parametrize("name", ["ids.csv", "ids.tsv.gz", "ids.txt", "ids.parquet"])
def test_tables_of_all_kinds_are_read(tmp_path, name):
    path = tmp_path / name
    if name.endswith(".parquet"):
        PAIRS.to_parquet(path)
    else:
        PAIRS.to_csv(path, sep="," if ".csv" in name else "\t", index=False)
    assert read_id_table(path, "ensembl", "symbol") == {
        "ENSG00000104267": ["CA2"],
        "ENSG00000004939": ["SLC4A1"],
        "ENSG00000206172": ["HBA1", "HBA2"],
    }


def test_ensembl_ids_are_named_with_or_without_version():
    table = id_table(PAIRS, "ensembl", "symbol")
    mapped = map_ids(["ENSG00000104267.12", "ENSG00000206172", "ENSG99999999999", "CA2"], table)
    assert mapped.names.tolist() == ["CA2", "HBA1", "", ""]
    assert (mapped.n_mapped, mapped.n_unmapped, mapped.n_ambiguous) == (2, 2, 1)
    assert mapped.summary() == "2 of 4 genes are mapped (1 had several names)"
    back = map_ids(["HBA2", "CA2"], id_table(PAIRS, "symbol", "ensembl"))
    assert back.names.tolist() == ["ENSG00000206172", "ENSG00000104267"]


def test_orthologs_prefer_the_same_name():
    table = {"Hba-a1": ["HBA1", "HBA2"], "Il2": ["IL2RA", "IL2"], "Car2": "CA2", "Gm1": []}
    assert map_ids(["Hba-a1", "Il2", "Car2", "Gm1"], table).names.tolist() == ["HBA1", "IL2", "CA2", ""]


def test_var_is_a_table():
    var = pd.DataFrame({"human": ["HBA1", "", np.nan, "CA2"]}, index=["Hba-a1", "Gm1", "Gm2", "Car2"])
    assert id_table(var, None, "human") == {"Hba-a1": ["HBA1"], "Car2": ["CA2"]}


def test_sets_take_every_ortholog_of_a_member():
    sets = {"oxygen": ["HBA1", "HBB", "ALAS2"], "other": ["ZZZ"]}
    table = {"HBA1": ["Hba-a1", "Hba-a2"], "HBB": ["Hbb-bs", "Hbb-bt"], "ALAS2": "Alas2"}
    mapped, counts = map_sets(sets, table)
    assert mapped == {"oxygen": ["Hba-a1", "Hba-a2", "Hbb-bs", "Hbb-bt", "Alas2"]}
    assert (counts.n_mapped, counts.n_unmapped, counts.n_ambiguous) == (3, 1, 2)


def test_a_round_trip_on_real_orthologs(shared_data):
    import anndata as ad

    var = ad.read_h5ad(shared_data / "marrow_erythroid_mouse.h5ad").var
    mapped = map_ids(var.index, id_table(var, None, "human_symbol"))
    given = var["human_symbol"].astype(str)
    assert mapped.names.tolist() == given.tolist()
    assert mapped.n_unmapped == (given == "").sum() > 0
    sets, _ = map_sets({"oxygen": ["HBA1", "HBA2", "HBB"]}, id_table(var.reset_index(), "human_symbol", "index"))
    assert {"Hba-a1", "Hba-a2", "Hbb-bs", "Hbb-bt"} <= set(sets["oxygen"])


def test_unusable_tables_are_refused(tmp_path):
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "rubbish.parquet").write_bytes(b"rubbish")
    PAIRS.to_csv(tmp_path / "ids.csv", index=False)
    cases = [
        (lambda: read_id_table(tmp_path / "absent.csv", "a", "b"), "must exist"),
        (lambda: read_id_table(tmp_path / "ids.xlsx", "a", "b"), "convert it"),
        (lambda: read_id_table(tmp_path / "empty.csv", "a", "b"), "readable"),
        (lambda: read_id_table(tmp_path / "rubbish.parquet", "a", "b"), "readable"),
        (lambda: read_id_table(tmp_path / "ids.csv", "ensembl", "name"), "no column 'name'.*'symbol'"),
        (lambda: map_ids(["Car2", "Hba-a1"], {"CA2": "Car2"}), r"none of 2 \(genes: Car2, Hba-a1; table: CA2\)"),
    ]
    for call, message in cases:
        with pytest.raises(InputError, match=message):
            call()
