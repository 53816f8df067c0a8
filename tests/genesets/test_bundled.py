import itertools
import re

import pytest

from cellprism.genesets import bundled, bundled_sources, match_sets

SETS = bundled()
SOURCES = bundled_sources()
# HGNC's own form; "orf" is the only place for lower case (and no set needs a withdrawn or clone name)
SYMBOL = re.compile(r"[A-Z][A-Z0-9]*(orf[0-9]+)?(-[A-Z0-9]+)?")

WELL_KNOWN = {
    "Bicarbonate transport": {"CA2", "SLC4A1", "SLC4A4", "SLC26A6"},
    "Carbon dioxide transport": {"CA1", "CA2", "SLC4A1", "AQP1", "RHAG"},
    "Oxygen transport": {"HBA1", "HBA2", "HBB"},
    "Heme biosynthesis": {"ALAS2", "ALAD", "HMBS", "UROS", "UROD", "CPOX", "PPOX", "FECH"},
    "Erythrocyte differentiation": {"GATA1", "KLF1", "TAL1", "EPOR", "ALAS2"},
    "Monoatomic ion homeostasis": {"ATP1A1", "SLC4A1", "SLC9A1"},
    "Red cell membrane skeleton": {"SPTA1", "SPTB", "ANK1", "EPB41", "EPB42", "GYPA"},
    "CD14+ monocyte": {"CD14", "LYZ", "S100A8", "S100A9"},
    "CD16+ monocyte": {"FCGR3A", "MS4A7", "CDKN1C"},
    "B cell": {"CD19", "MS4A1", "CD79A", "CD79B"},
    "Plasma cell": {"SDC1", "MZB1", "JCHAIN"},
    "Natural killer cell": {"NCAM1", "GNLY", "NKG7", "KLRD1"},
    "Dendritic cell": {"FCER1A", "CD1C", "CLEC10A"},
    "Conventional dendritic cell 1": {"CLEC9A", "XCR1", "BATF3"},
    "Plasmacytoid dendritic cell": {"LILRA4", "CLEC4C", "IL3RA", "TCF4"},
    "Regulatory T cell": {"FOXP3", "IL2RA", "CTLA4"},
    "Platelet": {"PPBP", "PF4", "GP9"},
    "Hematopoietic stem cell": {"CD34", "AVP", "HLF"},
    "Antigen presentation by MHC class I": {"HLA-A", "B2M", "TAP1"},
    "Antigen presentation by MHC class II": {"HLA-DRA", "CD74", "CIITA"},
    "Cytotoxicity": {"PRF1", "GZMB", "NKG7", "GNLY"},
    "B-cell receptor signaling": {"CD79A", "CD79B", "BTK", "SYK", "LYN"},
    "T-cell receptor signaling": {"CD3E", "LCK", "ZAP70", "LAT"},
    "Interferon alpha/beta response": {"ISG15", "IFIT1", "MX1", "OAS1"},
    "Interferon gamma response": {"CXCL9", "GBP1", "IDO1"},
    "Chemotaxis and chemokines": {"CCL5", "CXCL8", "CXCR4"},
    "Cell cycle G1/S": {"PCNA", "MCM2", "TYMS"},
    "Cell cycle G2/M": {"MKI67", "TOP2A", "CDK1"},
    "Hypoxia response": {"VEGFA", "CA9", "EGLN3"},
    "Glycolysis": {"HK1", "GAPDH", "PKM", "LDHA"},
    "Cytosolic ribosome": {"RPS2", "RPL3", "RPLP0"},
    "Hepatocyte": {"ALB", "APOA1"},
    "Pancreatic beta cell": {"INS", "IAPP"},
    "Oligodendrocyte": {"MBP", "PLP1", "MOG"},
    "Cardiomyocyte": {"TNNT2", "MYH6"},
}


def test_there_are_enough_sets_of_both_kinds():
    assert len(SETS) >= 150
    assert SOURCES["kind"].value_counts().min() >= 60
    assert set(SOURCES["kind"]) == {"cell_type", "process"}


def test_sizes_suit_naming():
    sizes = [len(genes) for genes in SETS.values()]
    assert min(sizes) >= 8
    assert max(sizes) <= 65
    assert sum(size <= 40 for size in sizes) >= 0.9 * len(sizes)


def test_members_have_the_form_of_symbols_and_occur_once():
    odd = {gene for genes in SETS.values() for gene in genes if not SYMBOL.fullmatch(gene)}
    assert not odd
    assert all(len(genes) == len(set(genes)) for genes in SETS.values())


def test_every_set_has_its_source():
    assert SOURCES["set"].tolist() == list(SETS)
    assert (SOURCES.drop(columns="set") != "").all(axis=None)
    assert SOURCES["source"].str.fullmatch(r"10\.\d{4,9}/\S+").all()
    assert SOURCES["title"].str.contains(r"\b(?:19|20)\d\d, \S", regex=True).all()
    assert (SOURCES.groupby("source")["title"].nunique() == 1).all()


def test_no_two_sets_are_nearly_the_same():
    close = [
        (a, b)
        for a, b in itertools.combinations(SETS, 2)
        if len(set(SETS[a]) & set(SETS[b])) >= 0.5 * len(set(SETS[a]) | set(SETS[b]))
    ]
    assert not close
    assert len({name.casefold() for name in SETS}) == len(SETS)


@pytest.mark.parametrize(("name", "genes"), WELL_KNOWN.items(), ids=WELL_KNOWN)
def test_textbook_members_are_there(name, genes):
    assert genes <= set(SETS[name])


def test_the_collection_is_a_fresh_copy():
    bundled()["B cell"].clear()
    assert bundled()["B cell"]


def test_most_members_are_named_in_public_collections(shared_data):
    from cellprism.genesets import read_gmt

    public = {
        gene
        for file in ("GO_Biological_Process_2021.gmt", "hallmark_v7.0.gmt", "kegg_v7.5.1.gmt")
        for genes in read_gmt(shared_data / file).values()
        for gene in genes
    }
    assert match_sets(SETS, sorted(public)).measured_share > 0.85
