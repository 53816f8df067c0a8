"""Where each tested set comes from, and its measured genes."""

from pathlib import Path

from cellprism.genesets import bundled_sources, load, match_sets
from cellprism.genesets.gmt import write_gmt
from cellprism.run.gene_sets import collections_of, gene_set_table

OBO = """format-version: 1.2

[Term]
id: X:1
name: root

[Term]
id: X:2
name: transport
is_a: X:1 ! root

[Term]
id: X:3
name: ion transport
is_a: X:2 ! transport
"""


def test_members_are_measured_genes_under_their_own_names():
    sets = {"one": ["A", "B", "C"], "two": ["B", "D", "Z"]}
    matched = match_sets(sets, ["A", "B", "C", "D"], min_size=2, min_overlap=0)
    table = gene_set_table(matched, ["gene-a", "gene-b", "gene-c", "gene-d"], ["bundled"])
    assert dict(zip(table.set, map(list, table.genes), strict=True)) == {
        "one": ["gene-a", "gene-b", "gene-c"],
        "two": ["gene-b", "gene-d"],
    }
    assert list(table.collection) == ["", ""]  # no bundled set is called so


def test_bundled_sets_go_by_kind_and_tissue():
    table = bundled_sources()
    found = collections_of(list(table.set), ["bundled"])
    assert found["Naive CD4 T cell"] == "cell types of blood"
    assert set(found.values()) >= {"processes", "cell types of brain"}
    assert "" not in found.values()


def test_files_go_by_their_names_and_repeated_sets_by_their_mark(tmp_path: Path):
    write_gmt({"same": ["A"], "first": ["B"]}, tmp_path / "a.gmt")
    write_gmt({"same": ["C"]}, tmp_path / "b.gmt")
    given = [str(tmp_path / "a.gmt"), str(tmp_path / "b.gmt")]
    assert collections_of(list(load(given)), given) == {"same": "a", "first": "a", "same (b)": "b"}


def test_terms_go_by_their_level_1_ancestor(tmp_path: Path):
    (tmp_path / "x.obo").write_text(OBO)
    found = collections_of(["ion transport (X:3)", "transport (X:2)", "root (X:1)"], [f"{tmp_path / 'x.obo'}+x.gaf"])
    assert found == {"ion transport (X:3)": "transport", "transport (X:2)": "transport", "root (X:1)": "root"}
