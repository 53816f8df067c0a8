import numpy as np
import pytest

from cellprism.errors import InputError
from cellprism.genesets import match_sets, read_gmt

GENES = [f"G{i}" for i in range(20)]


def test_membership_sizes_and_background_by_hand():
    sets = {
        "first": ["G0", "G1", "G2", "ABSENT1", "G1"],
        "small": ["G3", "ABSENT2"],
        "last": ["G4", "G2", "G5"],
        "large": GENES[:9],
    }
    symbols = [*GENES[:6], "", None, "G2", *GENES[9:]]
    matched = match_sets(sets, symbols, min_size=3, max_size=5)
    assert matched.names == ("first", "last")
    expected = np.zeros((2, 20), dtype=np.float32)
    expected[0, [0, 1, 2]] = 1
    expected[1, [2, 4, 5]] = 1
    np.testing.assert_array_equal(matched.membership.toarray(), expected)
    assert matched.membership.dtype == np.float32
    assert matched.membership.has_sorted_indices
    assert matched.sizes.tolist() == [3, 3]
    assert matched.sizes_given.tolist() == [4, 3]
    assert np.flatnonzero(~matched.background).tolist() == [6, 7, 8]  # no symbol, no symbol, the second G2
    assert (matched.n_too_small, matched.n_too_large) == (1, 1)
    # G0-G8 and two absent ones are in sets; G6, G7 and G8 are not measured under their names
    assert (matched.n_genes_measured, matched.n_genes_given) == (6, 11)
    assert matched.measured_share == pytest.approx(6 / 11)
    assert matched.summary() == (
        "6 of 11 set genes are measured (55%); 2 of 4 sets are tested (1 too small, 1 too large)"
    )


def test_duplicated_symbols_count_once():
    matched = match_sets({"A": ["HBA1", "HBB", "ALAS2"]}, ["HBB", "HBA1", "HBB", "ALAS2", "HBB"], min_size=3)
    assert matched.sizes.tolist() == [3]
    assert matched.membership.toarray().tolist() == [[1, 1, 0, 1, 0]]


def test_a_panel_that_covers_little_of_an_ontology_is_accepted():
    ontology = {f"term {i}": [f"G{j}" for j in range(5 * i, 5 * i + 5)] for i in range(100)}
    assert match_sets(ontology, GENES).measured_share == pytest.approx(20 / 500)
    one_set = {"term": GENES[:5]}
    assert match_sets(one_set, [f"G{i}" for i in range(1000)]).names == ("term",)


def test_renamed_genes_are_found_under_their_other_name():
    sets = {"now": ["H2AX", "RIGI", "CCN1", "CD3E"], "then": ["H2AFX", "DDX58", "CYR61", "CD3E"]}
    old = match_sets(sets, ["H2AFX", "DDX58", "CYR61", "CD3E"], min_size=1)
    assert old.sizes.tolist() == [4, 4]
    assert (old.n_genes_measured, old.n_genes_given, old.n_former) == (7, 7, 3)
    assert "(100%, 3 by a former name)" in old.summary()
    both = match_sets(sets, ["RIGI", "DDX58", "CD3E"], min_size=1)  # the exact name comes first
    assert both.membership.toarray().tolist() == [[1, 0, 1], [0, 1, 1]]
    assert match_sets({"mixed": ["RIGI", "DDX58"]}, ["RIGI"], min_size=1).sizes.tolist() == [1]
    off = match_sets(sets, ["H2AFX", "DDX58", "CYR61", "CD3E"], min_size=1, former={})
    assert off.sizes.tolist() == [1, 4]
    assert off.n_former == 0


HUMAN = {"T": ["CD3D", "CD3E", "CD3G", "TRAC", "CD247"], "E": ["HBA1", "HBA2", "HBB", "CA2", "SLC4A1"]}
MOUSE = {name: [gene.title() for gene in genes] for name, genes in HUMAN.items()}
ENSEMBL = [f"ENSG{i:011d}" for i in range(12)]
NAMINGS = {
    "Ensembl genes": (
        HUMAN,
        ENSEMBL,
        "named by Ensembl ids and the sets by gene symbols: give the symbols, `gene_symb",
    ),
    "Ensembl genes with versions": (HUMAN, [f"{name}.7" for name in ENSEMBL], "named by Ensembl ids"),
    "mouse Ensembl genes": (HUMAN, [f"ENSMUSG{i:011d}" for i in range(12)], "named by Ensembl ids"),
    "Ensembl sets": ({"A": ENSEMBL}, HUMAN["T"], "sets are named by Ensembl ids"),
    "Entrez sets": ({"A": [str(i) for i in range(9)]}, HUMAN["T"], "sets are named by Entrez numbers"),
    "Entrez genes": (HUMAN, [str(i) for i in range(9)], "the genes are named by Entrez numbers"),
    "mouse genes": (HUMAN, MOUSE["T"] + MOUSE["E"], "look like mouse symbols .* human orthologs"),
    "mouse sets": (MOUSE, HUMAN["T"] + HUMAN["E"], "sets look like mouse symbols"),
    "other names": (HUMAN, [f"AT1G{i:05d}" for i in range(9)], "same organism"),
    "no symbols": (HUMAN, ["", None, ""], "column that holds the gene symbols"),
}


@pytest.mark.parametrize(("sets", "genes", "message"), NAMINGS.values(), ids=NAMINGS)
def test_namings_that_do_not_meet_are_recognised(sets, genes, message):
    with pytest.raises(InputError, match=message) as caught:
        match_sets(sets, genes, min_size=1)
    first_set_gene = next(iter(sets.values()))[0]
    assert first_set_gene in str(caught.value)
    assert not genes[0] or genes[0] in str(caught.value)


def test_little_overlap_is_refused_at_the_stated_share():
    sets = {"A": GENES[:10]}
    measured = [*GENES[:2], *(f"X{i}" for i in range(50))]
    assert match_sets(sets, measured, min_size=2).measured_share == pytest.approx(0.2)
    with pytest.raises(InputError, match="2 of 10 set genes"):
        match_sets(sets, measured, min_size=2, min_overlap=0.21)
    assert match_sets(sets, measured, min_size=2, min_overlap=0).sizes.tolist() == [2]


BAD = {
    "no sets": ({}, GENES, {}, "gene set with a member"),
    "empty sets": ({"A": []}, GENES, {}, "gene set with a member"),
    "all too small": ({"A": GENES[:4], "B": GENES[:3]}, GENES, {}, "largest, 'A', has 4"),
    "sizes crossed": ({"A": GENES}, GENES, {"min_size": 6, "max_size": 5}, "min_size <= max_size"),
}


@pytest.mark.parametrize(("sets", "genes", "options", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_refused(sets, genes, options, message):
    with pytest.raises(InputError, match=message):
        match_sets(sets, genes, **options)


def test_membership_equals_set_arithmetic_on_a_public_collection(shared_data):
    sets = read_gmt(shared_data / "hallmark_v7.0.gmt")
    every = sorted({gene for members in sets.values() for gene in members})
    symbols = np.random.default_rng(0).permutation(every)[:2000].astype(object)
    matched = match_sets(sets, symbols)
    for row, name in enumerate(matched.names):
        found = set(symbols[matched.membership[[row]].indices])
        assert found == set(sets[name]) & set(symbols)
    assert matched.n_genes_measured == 2000


def test_real_data_of_few_genes_meet_a_whole_ontology(shared_data):
    import anndata as ad

    from cellprism.data.symbols import clean_symbols

    cells = ad.read_h5ad(shared_data / "marrow_erythroid_mouse.h5ad")
    sets = read_gmt(shared_data / "GO_Biological_Process_2021.gmt")
    symbols = clean_symbols(cells.var_names, cells.var["human_symbol"], cells.X.mean(axis=0))
    matched = match_sets(sets, symbols.for_sets)
    size = dict(zip(matched.names, matched.sizes.tolist(), strict=True))
    assert size["bicarbonate transport (GO:0015701)"] == 7
    assert size["heme biosynthetic process (GO:0006783)"] == 11
    assert matched.measured_share < 0.2  # 3,025 genes cannot cover an ontology, which is no reason to refuse
    with pytest.raises(InputError, match="look like mouse symbols"):
        match_sets(sets, cells.var_names)
