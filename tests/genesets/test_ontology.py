import sys

import numpy as np
import pytest

from cellprism.errors import InputError
from cellprism.genesets import load, ontology_sets, read_annotations, read_ontology

OBO = """\
format-version: 1.2
default-namespace: biological_process
ontology: go

[Term]
id: GO:0000001
name: biological_process

[Term]
id: GO:0000002
name: transport
is_a: GO:0000001 ! biological_process

[Term]
id: GO:0000003
name: homeostasis
alt_id: GO:0000093
is_a: GO:0000001 ! biological_process

[Term]
id: GO:0000004
name: ion transport
is_a: GO:0000002 ! transport

[Term]
id: GO:0000005
name: bicarbonate transport
def: "Movement of bicarbonate." [GOC:test]
synonym: "HCO3 transport" EXACT []
is_a: GO:0000004 ! ion transport
relationship: part_of GO:0000003 ! homeostasis
relationship: regulates GO:0000007 ! pH regulation

[Term]
id: GO:0000006
name: cell part
namespace: cellular_component

[Term]
id: GO:0000007
name: pH regulation
is_a: GO:0000002 ! transport
is_a: GO:0000008 ! narrow

[Term]
id: GO:0000008
name: narrow
is_a: GO:0000001 ! biological_process

[Term]
id: GO:0000009
name: gone
is_obsolete: true

[Term]
id: GO:0000010
name: membrane
namespace: cellular_component
is_a: GO:0000006 ! cell part

[Typedef]
id: part_of
name: part of
is_transitive: true
"""


def gaf(*rows: tuple[str, str, str, str]) -> str:
    lines = ["!gaf-version: 2.2", "!generated-by: a test"]
    for symbol, relation, term, code in rows:
        fields = ["DB", f"id-{symbol}", symbol, relation, term, "REF:1", code, "", "P", "", "", "protein"]
        lines.append("\t".join([*fields, "taxon:9606", "20240101", "DB", "", ""]))
    return "\n".join(lines) + "\n"


ROWS = (
    ("SLC4A1", "involved_in", "GO:0000005", "IDA"),
    ("CA2", "involved_in", "GO:0000004", "IEA"),
    ("AQP1", "involved_in", "GO:0000093", "TAS"),
    ("ATP1A1", "NOT|involved_in", "GO:0000005", "IDA"),
    ("TP53", "involved_in", "GO:0000009", "IDA"),
    ("SPTB", "located_in", "GO:0000010", "IDA"),
    ("RHAG", "involved_in", "GO:0000007", "ISS"),
)


@pytest.fixture
def files(tmp_path):
    (tmp_path / "go.obo").write_text(OBO)
    (tmp_path / "goa.gaf").write_text(gaf(*ROWS))
    return tmp_path


def test_levels_and_level_one_ancestors_by_hand(files):
    pytest.importorskip("obonet")
    terms = read_ontology(files / "go.obo").terms
    assert terms["level"].to_dict() == {
        "GO:0000001": 0, "GO:0000002": 1, "GO:0000003": 1, "GO:0000004": 2, "GO:0000005": 3, "GO:0000006": 0,
        "GO:0000007": 2, "GO:0000008": 1, "GO:0000010": 1,
    }  # fmt: skip
    assert terms.loc["GO:0000001", "level1"] == ""
    assert terms.loc["GO:0000003", "level1"] == "GO:0000003"
    assert terms.loc["GO:0000005", ["level1", "level1_name"]].tolist() == ["GO:0000002", "transport"]
    assert terms.loc["GO:0000007", "level1_name"] == "narrow"  # as near as transport, with fewer terms below
    assert terms.loc["GO:0000010", "namespace"] == "cellular_component"
    assert terms.loc["GO:0000004", "namespace"] == "biological_process"


def test_genes_reach_all_terms_above(files):
    pytest.importorskip("obonet")
    annotations = read_annotations(files / "goa.gaf")
    result = ontology_sets(read_ontology(files / "go.obo"), annotations)
    assert result.sets == {
        "transport (GO:0000002)": ["CA2", "RHAG", "SLC4A1"],
        "homeostasis (GO:0000003)": ["AQP1", "SLC4A1"],  # AQP1 by the alternative id, SLC4A1 by part_of
        "ion transport (GO:0000004)": ["CA2", "SLC4A1"],
        "bicarbonate transport (GO:0000005)": ["SLC4A1"],
        "pH regulation (GO:0000007)": ["RHAG"],  # not SLC4A1: regulates does not carry genes
        "narrow (GO:0000008)": ["RHAG"],
        "membrane (GO:0000010)": ["SPTB"],
    }
    assert (result.n_used, result.n_unknown) == (5, 1)
    row = result.terms.set_index("term").loc["GO:0000002"]
    assert (row["n_direct"], row["n_genes"], row["level"]) == (0, 3, 1)
    assert "1 annotations are to terms" in result.summary()


CHOICES = {
    "one namespace": ({"namespace": "cellular_component"}, {"GO:0000010"}),
    "two namespaces": (
        {"namespace": ["cellular_component", "biological_process"], "min_level": 0, "max_level": 0},
        {"GO:0000001", "GO:0000006"},
    ),
    "levels": ({"min_level": 2, "max_level": 2}, {"GO:0000004", "GO:0000007"}),
    "size": ({"min_genes": 3}, {"GO:0000002"}),
}


@pytest.mark.parametrize(("options", "terms"), CHOICES.values(), ids=CHOICES)
def test_terms_are_chosen_by_namespace_level_and_size(files, options, terms):
    pytest.importorskip("obonet")
    result = ontology_sets(read_ontology(files / "go.obo"), read_annotations(files / "goa.gaf"), **options)
    assert set(result.terms["term"]) == terms
    assert list(result.sets) == result.terms["set"].tolist()


def test_propagation_equals_ancestors_on_random_graphs(tmp_path):
    pytest.importorskip("obonet")
    import networkx as nx

    rng = np.random.default_rng(3)
    graph = nx.DiGraph()
    lines = ["format-version: 1.2", "ontology: go", ""]
    for i in range(60):
        parents = sorted(set(rng.integers(0, i, size=min(i, 2)).tolist())) if i else []
        graph.add_node(i)
        graph.add_edges_from((i, parent) for parent in parents)
        lines += ["[Term]", f"id: T:{i:03d}", f"name: term {i}", *(f"is_a: T:{p:03d}" for p in parents), ""]
    (tmp_path / "random.obo").write_text("\n".join(lines))
    rows = [(f"S{g}", "involved_in", f"T:{t:03d}", "IDA") for g, t in enumerate(rng.integers(0, 60, 80).tolist())]
    (tmp_path / "random.gaf").write_text(gaf(*rows))
    ontology = read_ontology(tmp_path / "random.obo")
    sets = ontology_sets(ontology, read_annotations(tmp_path / "random.gaf"), min_level=0).sets
    expected: dict[int, set[str]] = {}
    for gene, _, term, _ in rows:
        for node in {int(term[2:])} | nx.descendants(graph, int(term[2:])):
            expected.setdefault(node, set()).add(gene)
    assert {int(name[-4:-1]): set(genes) for name, genes in sets.items()} == expected
    depth = nx.shortest_path_length(graph.reverse(), 0)
    assert ontology.terms["level"].tolist() == [depth[i] for i in range(60)]
    for i in range(1, 60):
        tops = {t for t in {i} | nx.descendants(graph, i) if depth[t] == 1}
        steps = {t: nx.shortest_path_length(graph, i, t) for t in tops}
        chosen = int(ontology.terms["level1"].iloc[i][2:])
        assert steps[chosen] == min(steps.values())


def test_an_ontology_is_loaded_by_its_two_files(files):
    pytest.importorskip("obonet")
    sets = load(f"{files / 'go.obo'}+{files / 'goa.gaf'}")
    assert sets["ion transport (GO:0000004)"] == ["CA2", "SLC4A1"]


BAD_OBO = {
    "empty": ("", "must hold a term|OBO format"),
    "another format": ("just text\nwithout stanzas\n", "must hold a term|OBO format"),
    "a cycle": (
        "ontology: x\n\n[Term]\nid: A:1\nname: a\nis_a: A:2\n\n[Term]\nid: A:2\nname: b\nis_a: A:1\n",
        "cycle",
    ),
}


@pytest.mark.parametrize(("text", "message"), BAD_OBO.values(), ids=BAD_OBO)
def test_bad_ontologies_are_refused(tmp_path, text, message):
    pytest.importorskip("obonet")
    path = tmp_path / "bad.obo"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_ontology(path)


def test_choices_that_leave_nothing_are_refused(files):
    pytest.importorskip("obonet")
    ontology, annotations = read_ontology(files / "go.obo"), read_annotations(files / "goa.gaf")
    with pytest.raises(InputError, match="cellular_component"):
        ontology_sets(ontology, annotations, namespace="molecular_function")
    with pytest.raises(InputError, match="share terms"):
        ontology_sets(ontology, annotations, min_level=9)
    with pytest.raises(InputError, match="must exist"):
        read_ontology(files / "absent.obo")


def test_a_missing_parser_is_named(files, monkeypatch):
    monkeypatch.setitem(sys.modules, "obonet", None)
    with pytest.raises(InputError, match=r"pip install 'cellprism\[genesets\]'"):
        read_ontology(files / "go.obo")


SUCCESSORS = """
[Term]
id: GO:0000021
name: old
is_obsolete: true
replaced_by: GO:0000005

[Term]
id: GO:0000022
name: older
is_obsolete: true
replaced_by: GO:0000021

[Term]
id: GO:0000023
name: round
is_obsolete: true
replaced_by: GO:0000024

[Term]
id: GO:0000024
name: and round
is_obsolete: true
replaced_by: GO:0000023

[Term]
id: GO:0000025
name: parted
is_obsolete: true
replaced_by: GO:0000005
replaced_by: GO:0000004

[Term]
id: GO:0000026
name: perhaps
is_obsolete: true
consider: GO:0000005
"""


def test_what_an_obsolete_term_was_replaced_by_gets_its_genes_and_losses_are_said(tmp_path):
    pytest.importorskip("obonet")
    (tmp_path / "go.obo").write_text(OBO.replace("[Typedef]", SUCCESSORS + "\n[Typedef]", 1), encoding="utf-8")
    rows = [*ROWS, *((f"OLD{i}", "involved_in", f"GO:00000{i}", "IDA") for i in range(21, 27))]
    (tmp_path / "goa.gaf").write_text(gaf(*rows), encoding="utf-8")
    ontology = read_ontology(tmp_path / "go.obo")
    assert {k: v for k, v in ontology.replaced.items() if k >= "GO:0000020" and k < "GO:0000030"} == {
        "GO:0000021": "GO:0000005",
        "GO:0000022": "GO:0000005",
    }
    said: list[str] = []
    sets = load(f"{tmp_path / 'go.obo'}+{tmp_path / 'goa.gaf'}", said.append)
    members = next(genes for name, genes in sets.items() if name.endswith("(GO:0000005)"))
    assert {"OLD21", "OLD22"} <= set(members)
    assert not {"OLD23", "OLD24", "OLD25", "OLD26"} & {g for genes in sets.values() for g in genes}
    assert said == [
        "goa.gaf: 12 of 13 annotations are used (1 say NOT, 0 left out by evidence or taxon, 0 without a symbol)",
        f"go.obo: 7 annotations give {len(sets)} sets; 5 annotations are to terms that the ontology does not hold "
        "(GO:0000009, GO:0000023, GO:0000024, GO:0000025, GO:0000026, …), 3 to terms that others took the place of",
    ]


def test_a_file_that_ends_within_a_line_is_told(tmp_path):
    pytest.importorskip("obonet")
    (tmp_path / "go.obo").write_text(OBO, encoding="utf-8")
    whole = gaf(*(row for row in ROWS if row[2] != "GO:0000009" and "NOT" not in row[1]))
    said: list[str] = []
    for text, told in ((whole, False), (whole[:-60], True)):
        (tmp_path / "goa.gaf").write_text(text, encoding="utf-8")
        load(f"{tmp_path / 'go.obo'}+{tmp_path / 'goa.gaf'}", said.append)
        assert any("may have been cut" in line for line in said) == told
