"""Each rule of names, on made evidence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cellprism.features.naming import (
    Evidence,
    Gene,
    GeneSet,
    Label,
    OffLabel,
    display_gene,
    feature_names,
    short_set,
    shown_sets,
)

NAMES = ("S100A8", "S100A9", "LYZ", "FCN1", "CD14", "VCAN", "CST3", "TYROBP")
GENES = tuple(Gene(name, 30.0 - i, 20.0 - i) for i, name in enumerate(NAMES))


def label(value: str, core: float = 0.9, column: str = "type", **more: Any) -> Label:
    given = {"prevalence": 0.2, "activation_share": core, "core_recall": 0.4, "active_recall": 0.9, "f1": 0.8} | more
    return Label(column, value, core_precision=core, **({"genes": NAMES, "markers": NAMES} | given))


def gene_set(name: str, genes: tuple[str, ...] = NAMES[:4], q: float = 1e-4, **more: Any) -> GeneSet:
    return GeneSet(name, q, **({"effect": 0.8, "genes": genes} | more))


def name(**more: Any) -> str:
    return feature_names([Evidence(**({"feature": 0, "n_active": 90, "n_cells": 1_000, "genes": GENES} | more))])[0]


def off(value: str, share: float = 0.9, column: str = "type") -> OffLabel:
    return OffLabel(column, value, prevalence=0.15, active_recall=0.05, off_share=share)


LOW = (Gene("CD79A", 12.0, 9.0), Gene("MS4A1", 11.0, 8.0))
STRONG = (Gene("ISG15", 40.0, 30.0), Gene("RPS3", 39.0, 30.0), Gene("IFI6", 38.0, 30.0), Gene("MX1", 37.0, -2.0))

RULES = {
    "a label leads": ({"labels": (label("Monocyte"),)}, "Monocyte · S100A8/S100A9"),
    "not with half of the way": ({"labels": (label("Monocyte", 0.55),)}, "S100A8/S100A9/LYZ (mostly Monocyte)"),
    "nor where it only leads": ({"labels": (label("Monocyte", 0.4),)}, "S100A8/S100A9/LYZ (enriched in Monocyte)"),
    "in part": ({"labels": (label("Monocyte", active_recall=0.2),)}, "Monocyte, in part · S100A8/S100A9"),
    "not against its genes": ({"labels": (label("B", genes=NAMES[:2], markers=()),)}, "S100A8/S100A9/LYZ"),
    "the purest of a column": (
        {"labels": (label("Monocyte", 0.7, core_recall=0.1), label("Dendritic", 0.8, prevalence=0.1))},
        "Dendritic · S100A8/S100A9",
    ),
    "two of a column whose cells it does not tell apart": (
        {"labels": (label("CD4 T", 0.6, prevalence=0.3), label("CD8 T", 0.35, prevalence=0.15))},
        "CD4 T and CD8 T · S100A8/S100A9",
    ),
    "both, in part": (
        {"labels": (label("CD4 T", 0.6, active_recall=0.3), label("CD8 T", 0.35, prevalence=0.15))},
        "CD4 T and CD8 T, in part · S100A8/S100A9",
    ),
    "not two where a third has as many core cells": (
        {"labels": (label("CD4 T", 0.6), label("CD8 T", 0.2), label("NK", 0.15))},
        "S100A8/S100A9/LYZ (mostly CD4 T)",
    ),
    "nor where one of the two has other genes": (
        {"labels": (label("CD4 T", 0.6), label("B", 0.35, genes=NAMES[:1]))},
        "S100A8/S100A9/LYZ (mostly CD4 T)",
    ),
    "nor two that leave too much": (
        {"labels": (label("CD4 T", 0.55), label("CD8 T", 0.2))},
        "S100A8/S100A9/LYZ (mostly CD4 T)",
    ),
    "not a label that it does not tell from other cells": (
        {"labels": (label("CD4 T", 0.7, prevalence=0.1, detected=False),)},
        "S100A8/S100A9/LYZ",
    ),
    "a category that says nothing by itself has its column": (
        {"labels": (label("True", column="doublet"),)},
        "doublet True · S100A8/S100A9",
    ),
    "also in another spelling, and in a note": (
        {"labels": (label("no", 0.55, column="treated"),)},
        "S100A8/S100A9/LYZ (mostly treated no)",
    ),
    "two columns of the same categories are told once": (
        {"labels": (label("Monocyte"), label("Monocyte", column="coarse"), label("CD14+", column="fine"))},
        "Monocyte (CD14+) · S100A8/S100A9",
    ),
    "a bare number has its column": ({"labels": (label("13", column="cluster"),)}, "cluster 13 · S100A8/S100A9"),
    "no note of a share that is about that of all cells": (
        {"labels": (label("stim", 0.62, prevalence=0.53),)},
        "S100A8/S100A9/LYZ",
    ),
    "all but a label": (
        {"n_active": 700, "off": (off("B"),), "down": LOW},
        "broad (70% of cells): all but B · S100A8/S100A9 (low: CD79A/MS4A1)",
    ),
    "all but two, with what the cells do": (
        {
            "n_active": 600,
            "off": (off("B", 0.5), off("T", 0.45)),
            "down": LOW,
            "sets": (gene_set("Chemotaxis"),),
        },
        "broad (60% of cells): all but B and T: Chemotaxis · S100A8/S100A9 (low: CD79A/MS4A1)",
    ),
    "not all but three": (
        {"n_active": 600, "off": (off("B", 0.4), off("T", 0.3), off("NK", 0.3)), "down": LOW},
        "broad (60% of cells): S100A8/S100A9/LYZ",
    ),
    "nor where other cells are off too": (
        {"n_active": 600, "off": (off("B", 0.4),), "down": LOW},
        "broad (60% of cells): S100A8/S100A9/LYZ",
    ),
    "nor without a gene of those cells": (
        {"n_active": 700, "off": (off("B"),)},
        "broad (70% of cells): S100A8/S100A9/LYZ",
    ),
    "a label before what is off": (
        {"n_active": 480, "labels": (label("ctrl", 1.0, prevalence=0.5),), "off": (off("stim"),), "down": STRONG},
        "ctrl · S100A8/S100A9 (low: ISG15/IFI6)",
    ),
    "low genes of many active cells where they are the stronger evidence": (
        {"n_active": 480, "down": STRONG},
        "S100A8/S100A9/LYZ (low: ISG15/IFI6)",
    ),
    "not of few": ({"n_active": 300, "down": STRONG}, "S100A8/S100A9/LYZ"),
    "nor where the other side is the weaker one": ({"n_active": 480, "down": LOW}, "S100A8/S100A9/LYZ"),
    "low genes alone": ({"n_active": 600, "genes": (), "down": LOW}, "broad (60% of cells): low in CD79A/MS4A1"),
    "no set behind a broad feature": (
        {"n_active": 600, "sets": (gene_set("one", NAMES[:3]), gene_set("two", NAMES[3:6], 5e-4))},
        "broad (60% of cells): S100A8/S100A9/LYZ",
    ),
    "a cell type of a broad feature needs more of its cells there": (
        {"n_active": 600, "sets": (gene_set("T cell", process=False, home_lift=0.4),)},
        "broad (60% of cells): S100A8/S100A9/LYZ",
    ),
    "one of each column": (
        {"labels": (label("Monocyte"), label("stim", 1.0, "condition", prevalence=0.5))},
        "Monocyte (stim) · S100A8/S100A9",
    ),
    "its markers first": ({"labels": (label("Monocyte", markers=("CD14", "VCAN")),)}, "Monocyte · CD14/VCAN"),
    "with a process": (
        {"labels": (label("Monocyte"),), "sets": (gene_set("Chemotaxis"),)},
        "Monocyte: Chemotaxis · S100A8/S100A9",
    ),
    "not with a cell type that lives elsewhere": (
        {
            "labels": (label("Monocyte"),),
            "sets": (gene_set("B cell", process=False, home_lift=0.9, homes=(("type", "B"),)),),
        },
        "Monocyte · S100A8/S100A9",
    ),
    "a set leads by its own genes": (
        {"sets": (gene_set("heme biosynthetic process (GO:0006783)", ("LYZ", "CD14", "VCAN", "CST3")),)},
        "heme biosynthetic process · LYZ/CD14",
    ),
    "a set without own genes does not": ({"sets": (gene_set("DNA replication", ()),)}, "S100A8/S100A9/LYZ"),
    "nor one of few": (
        {"sets": (gene_set("DNA replication", ("VCAN",)),)},
        "S100A8/S100A9/LYZ",
    ),
    "nor one of another tissue": ({"sets": (gene_set("Microglia", at_home=False),)}, "S100A8/S100A9/LYZ"),
    "nor one of small effect": ({"sets": (gene_set("Chemotaxis", effect=0.1),)}, "S100A8/S100A9/LYZ"),
    "nor a cell type where its cells are not": (
        {"sets": (gene_set("NK cell", process=False, home_lift=0.1),)},
        "S100A8/S100A9/LYZ",
    ),
    "nor against a rival of other genes": (
        {"sets": (gene_set("one", NAMES[:3]), gene_set("two", NAMES[3:6], 5e-4))},
        "S100A8/S100A9/LYZ (also: one)",
    ),
    "the one with more own genes, at a like q": (
        {"sets": (gene_set("one", NAMES[:2]), gene_set("two", NAMES[:6], 5e-4))},
        "two · S100A8/S100A9",
    ),
    "not at a far larger q": (
        {"sets": (gene_set("one", NAMES[:2]), gene_set("two", NAMES[:6], 2e-2))},
        "one · S100A8/S100A9",
    ),
    "the one that chance does not reach": (
        {"sets": (gene_set("one", NAMES[:5], reach=0.5), gene_set("two", NAMES[:5], 5e-4, reach=0.0))},
        "two · S100A8/S100A9",
    ),
    "a process before a cell type of the same genes": (
        {"sets": (gene_set("Dendritic cell", process=False), gene_set("MHC class II", q=5e-4))},
        "MHC class II · S100A8/S100A9",
    ),
    "with its ancestor": (
        {"sets": (gene_set("erythrocyte development", ancestor="developmental process"),)},
        "erythrocyte development [developmental process] · S100A8/S100A9",
    ),
    "a regulator leads where nothing else does": ({"regulator": "GATA1"}, "GATA1 · S100A8/S100A9"),
    "genes alone": ({}, "S100A8/S100A9/LYZ"),
    "genes that the core has not are left out": (
        {"genes": (Gene("CD3D", 40.0, -6.0), *GENES)},
        "S100A8/S100A9/LYZ",
    ),
    "broad": ({"n_active": 600}, "broad (60% of cells): S100A8/S100A9/LYZ"),
    "a label of most cells": (
        {"n_active": 600, "labels": (label("T", activation_share=0.8),)},
        "T · S100A8/S100A9",
    ),
    "not where activation is spread": (
        {"n_active": 600, "labels": (label("T", activation_share=0.3),)},
        "broad (60% of cells): S100A8/S100A9/LYZ (mostly T)",
    ),
    "nearly all cells": (
        {"n_active": 800, "sets": (gene_set("Cytosolic ribosome"),)},
        "broad (80% of cells): Cytosolic ribosome · S100A8/S100A9",
    ),
    "nothing": ({"genes": ()}, "no evidence (90 cells)"),
    "untestable": (
        {"untestable": "4 active cells, fewer than 10"},
        "not testable (4 active cells, fewer than 10)",
    ),
    "confound": ({"confound": "batch 5k", "genes": GENES[:1]}, "[batch 5k] S100A8"),
    "specific genes first": (
        {"genes": (Gene("RPS3", 20.0, 9.0), Gene("GNLY", 15.0, 9.0), Gene("MT-CO1", 14.0, 9.0))},
        "GNLY",
    ),
    "a family": (
        {"genes": (Gene("RPS3", 20.0, 9.0), Gene("RPL5", 15.0, 9.0), Gene("GNLY", 4.0, 9.0))},
        "ribosomal genes · RPS3/RPL5",
    ),
}


@pytest.mark.parametrize(("evidence", "expected"), RULES.values(), ids=RULES.keys())
def test_rules(evidence: dict[str, Any], expected: str) -> None:
    assert name(**evidence) == expected


def test_of_two_detectors_the_better_one_has_the_whole_label() -> None:
    better = Evidence(0, 90, 1_000, GENES, labels=(label("Monocyte", f1=0.9),))
    worse = replace(better, feature=1, labels=(label("Monocyte", f1=0.7),))
    assert feature_names([worse, better]) == ["Monocyte, in part · S100A8/S100A9", "Monocyte · S100A8/S100A9"]


def test_a_part_shows_what_the_whole_has_not() -> None:
    whole = Evidence(0, 90, 1_000, GENES[:6], labels=(label("Monocyte"),), sets=(gene_set("Chemotaxis"),))
    own = (*GENES[:4], Gene("C1QA", 20.0, 15.0), Gene("C1QB", 19.0, 15.0))
    names = (*NAMES, "C1QA", "C1QB")
    part = replace(
        whole, feature=1, genes=own, labels=(label("Monocyte", active_recall=0.3, genes=names, markers=names),)
    )
    assert feature_names([whole, part]) == [
        "Monocyte: Chemotaxis · S100A8/S100A9",
        "Monocyte, in part · C1QA/C1QB",
    ]


def test_features_that_would_be_called_alike_show_what_tells_them_apart() -> None:
    one = Evidence(0, 90, 1_000, GENES[:6], sets=(gene_set("Chemotaxis", NAMES[:6]),))
    other = replace(one, feature=1, genes=(*GENES[:5], Gene("CCL2", 9.0, 5.0)))
    twin = replace(one, feature=2)
    names = feature_names([one, other, twin])
    assert len(set(names)) == 3
    assert names[0] == "Chemotaxis · S100A8/S100A9"
    assert names[1] == "Chemotaxis · S100A8/CCL2"
    same = [replace(one, feature=i, genes=GENES[:2], sets=(gene_set("Chemotaxis", NAMES[:2]),)) for i in range(2)]
    assert feature_names(same) == ["Chemotaxis · S100A8/S100A9", "Chemotaxis · S100A8/S100A9 (like #0)"]


def test_the_set_beside_the_name_is_the_one_in_it() -> None:
    sets = (gene_set("Microglia", at_home=False), gene_set("few", NAMES[:1]), gene_set("own", NAMES[:5], 2e-4))
    evidence = Evidence(0, 90, 1_000, GENES, sets=sets)
    assert feature_names([evidence])[0].startswith("own · ")
    assert shown_sets([evidence]) == {0: ("own", 2e-4)}
    assert shown_sets([replace(evidence, sets=sets[:2])]) == {0: ("few", 1e-4)}
    assert shown_sets([replace(evidence, sets=())]) == {}
    foreign = gene_set("T cell", (), 1e-9, process=False)
    agreeing = gene_set("B cell", NAMES[1:2], 1e-2, process=False)
    detector = replace(evidence, labels=(label("B"),), sets=(foreign, agreeing))
    assert shown_sets([detector]) == {0: ("B cell", 1e-2)}
    assert shown_sets([replace(detector, sets=(foreign,))]) == {0: ("T cell", 1e-9)}


@pytest.mark.parametrize(
    ("long", "short"),
    [
        ("HALLMARK_HEME_METABOLISM", "heme metabolism"),
        ("oxygen transport (GO:0015671)", "oxygen transport"),
        ("Signaling by Interleukins R-HSA-449147", "Signaling by Interleukins"),
        (
            "nuclear-transcribed mRNA catabolic process, nonsense-mediated decay (GO:0000184)",
            "nuclear-transcribed mRNA catabolic process, nonsense-mediated decay",
        ),
        (
            "nuclear-transcribed mRNA catabolic process, exonucleolytic (GO:0000291)",
            "nuclear-transcribed mRNA catabolic process, exonucleolytic",
        ),
    ],
)
def test_set_names_are_whole(long: str, short: str) -> None:
    assert short_set(long) == short


def test_ensembl_names_give_way_to_symbols() -> None:
    assert display_gene("ENSG00000143546", "S100A8") == "S100A8"
    assert display_gene("Hba-a1", "HBA1") == "Hba-a1"


def test_features_of_nearly_the_same_activations_say_so() -> None:
    one = Evidence(0, 90, 1_000, GENES)
    twin = replace(one, feature=4, genes=(Gene("CCL2", 20.0, 9.0),), alike=0)
    assert feature_names([one, twin]) == ["S100A8/S100A9/LYZ", "CCL2 (like #0)"]
    assert feature_names([replace(one, untestable="few"), twin])[1] == "CCL2"  # what it is like has no name


def test_beside_a_part_stands_the_set_that_its_name_has() -> None:
    dendritic, first = gene_set("Dendritic cell", NAMES[:5], 1e-5), gene_set("cDC1", NAMES[:4], 5e-5)
    whole = Evidence(0, 90, 1_000, GENES, labels=(label("DC", f1=0.9),), sets=(dendritic,))
    part = replace(whole, feature=1, labels=(label("DC", active_recall=0.2, f1=0.3),), sets=(dendritic, first))
    assert feature_names([whole, part])[1].startswith("DC, in part: cDC1 · ")
    assert shown_sets([whole, part]) == {0: ("Dendritic cell", 1e-5), 1: ("cDC1", 5e-5)}
