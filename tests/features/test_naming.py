from __future__ import annotations

import pytest

from cellprism.features.naming import Evidence, display_gene, feature_name, short_set

GENES = (("S100A8", 20.0), ("S100A9", 18.0), ("LYZ", 15.0))
NAMES = {
    "label": (Evidence("CD14+ Monocyte", "x", GENES, "", 90), "CD14+ Monocyte · S100A8/S100A9"),
    "set": (Evidence("", "heme biosynthetic process (GO:0006783)", GENES, "", 90), "heme biosynthetic process · S100A8/S100A9"),
    "genes": (Evidence("", "", GENES, "", 90), "S100A8/S100A9/LYZ"),
    "nothing": (Evidence("", "", (), "", 90), "no evidence (90 cells)"),
    "untestable": (Evidence("", "", (), "", 4, "4 active cells, fewer than 10"), "not testable (4 active cells, fewer than 10)"),
    "confound": (Evidence("", "", GENES[:1], "+depth", 90), "[+depth] S100A8"),
    "specific first": (Evidence("", "", (("RPS3", 20.0), ("GNLY", 15.0), ("MT-CO1", 14.0)), "", 9), "GNLY"),
    "all ribosomal": (Evidence("", "", (("RPS3", 20.0), ("RPL5", 15.0), ("GNLY", 4.0)), "", 9), "ribosomal genes · RPS3/RPL5"),
}  # fmt: skip


@pytest.mark.parametrize(("evidence", "name"), NAMES.values(), ids=NAMES.keys())
def test_names(evidence: Evidence, name: str) -> None:
    assert feature_name(evidence) == name


@pytest.mark.parametrize(
    ("long", "short"),
    [
        ("HALLMARK_HEME_METABOLISM", "heme metabolism"),
        ("oxygen transport (GO:0015671)", "oxygen transport"),
        ("Signaling by Interleukins R-HSA-449147", "Signaling by Interleukins"),
        ("regulation of something that has a very long name indeed", "regulation of something that has a very long …"),
    ],
)
def test_short_sets(long: str, short: str) -> None:
    assert short_set(long) == short


def test_ensembl_names_give_way_to_symbols() -> None:
    assert display_gene("ENSG00000143546", "S100A8") == "S100A8"
    assert display_gene("Hba-a1", "HBA1") == "Hba-a1"
