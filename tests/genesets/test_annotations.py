import gzip

import pytest

from cellprism.errors import InputError
from cellprism.genesets import read_annotations, read_gpi

GAF_ROWS = [
    # symbol, relation, term, evidence, taxon
    ("SLC4A1", "involved_in", "GO:0015701", "IDA", "taxon:9606"),
    ("CA2", "involved_in", "GO:0015701", "IEA", "taxon:9606|taxon:1280"),
    ("CA4", "NOT|involved_in", "GO:0015701", "IDA", "taxon:9606"),
    ("Car2", "involved_in", "GO:0015701", "HDA", "taxon:10090"),
    ("AQP1", "involved_in", "GO:0008150", "ND", "taxon:9606"),
    ("RHAG", "colocalizes_with", "GO:0005886", "IBA", "taxon:9606"),
]


def write_gaf(path, rows=GAF_ROWS):
    lines = ["!gaf-version: 2.2", "!"]
    for symbol, relation, term, code, taxon in rows:
        fields = ["UniProtKB", f"P-{symbol}", symbol, relation, term, "PMID:1", code, "", "P", 'a "name" # with! signs']
        lines.append("\t".join([*fields, "", "protein", taxon, "20240101", "UniProt", "", ""]))
    text = "\n".join(lines) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


CHOICES = {
    "all but no data": ({}, ["SLC4A1", "CA2", "Car2", "RHAG"]),
    "curated": ({"evidence": "curated"}, ["SLC4A1", "Car2", "RHAG"]),
    "experimental": ({"evidence": "experimental"}, ["SLC4A1", "Car2"]),
    "codes": ({"evidence": ["IBA", "ND"]}, ["AQP1", "RHAG"]),
    "taxon": ({"taxon": 9606}, ["SLC4A1", "CA2", "RHAG"]),
    "both": ({"taxon": 10090, "evidence": "experimental"}, ["Car2"]),
}


@pytest.mark.parametrize("name", ["goa.gaf", "goa.gaf.gz"])
@pytest.mark.parametrize(("options", "genes"), CHOICES.values(), ids=CHOICES)
def test_gaf_lines_are_chosen(tmp_path, name, options, genes):
    result = read_annotations(write_gaf(tmp_path / name), **options)
    assert result.table["gene"].tolist() == genes
    assert result.n_read == len(GAF_ROWS)
    assert result.n_negated == 1
    assert len(genes) + 1 + result.n_filtered == len(GAF_ROWS)
    assert result.summary().startswith(f"{len(genes)} of 6 annotations are used (1 say NOT")


GPI = {
    1: "!gpi-version: 1.2\nMGI\tMGI:88269\tCar2\tcarbonic anhydrase 2\nUniProtKB\tP02730\tSLC4A1\tband 3\n",
    2: "!gpi-version: 2.0\nMGI:MGI:88269\tCar2\tcarbonic anhydrase 2\nUniProtKB:P02730\tSLC4A1\tband 3\n",
}


def gpad(version: int) -> str:
    if version == 1:
        rows = [
            ("UniProtKB", "P02730", "involved_in", "GO:0015701", "PMID:1", "ECO:0000314"),
            ("MGI", "MGI:88269", "involved_in", "GO:0015701", "PMID:1", "ECO:0000501"),
            ("UniProtKB", "P02730", "NOT|enables", "GO:0004089", "PMID:1", "ECO:0000314"),
            ("UniProtKB", "Q99999", "enables", "GO:0004089", "PMID:1", "ECO:0000314"),
            ("UniProtKB", "P02730", "enables", "GO:0005452", "PMID:1", "ECO:0005593"),
        ]
        top, properties = "!gpa-version: 1.1", ["", "", "20240101", "X", "", "go_evidence=IMP"]
        empty = ["", "", "20240101", "X", "", ""]
    else:
        rows = [
            ("UniProtKB:P02730", "", "RO:0002331", "GO:0015701", "PMID:1", "ECO:0000314"),
            ("MGI:MGI:88269", "", "RO:0002331", "GO:0015701", "PMID:1", "ECO:0000501"),
            ("UniProtKB:P02730", "NOT", "RO:0002327", "GO:0004089", "PMID:1", "ECO:0000314"),
            ("UniProtKB:Q99999", "", "RO:0002327", "GO:0004089", "PMID:1", "ECO:0000314"),
            ("UniProtKB:P02730", "", "RO:0002327", "GO:0005452", "PMID:1", "ECO:0005593"),
        ]
        top, properties = "!gpad-version: 2.0", ["", "", "2024-01-01", "X", "", "go_evidence=IMP"]
        empty = ["", "", "2024-01-01", "X", "", ""]
    lines = ["\t".join([*row, *(properties if i == 4 else empty)]) for i, row in enumerate(rows)]
    return "\n".join([top, *lines]) + "\n"


@pytest.mark.parametrize("version", [1, 2])
def test_gpad_with_its_names_reads_the_same_in_both_versions(tmp_path, version):
    (tmp_path / "goa.gpad").write_text(gpad(version))
    (tmp_path / "goa.gpi").write_text(GPI[version])
    names = read_gpi(tmp_path / "goa.gpi")
    assert names == {"MGI:88269": "Car2", "P02730": "SLC4A1"}
    result = read_annotations(tmp_path / "goa.gpad", names=names)
    assert result.table.to_numpy().tolist() == [
        ["SLC4A1", "GO:0015701", "IDA"],
        ["Car2", "GO:0015701", "IEA"],
        ["SLC4A1", "GO:0005452", "IMP"],
    ]
    assert (result.n_negated, result.n_unnamed, result.n_filtered) == (1, 1, 0)
    curated = read_annotations(tmp_path / "goa.gpad", names=names, evidence="curated")
    assert curated.table["gene"].tolist() == ["SLC4A1", "SLC4A1"]
    by_eco = read_annotations(tmp_path / "goa.gpad", names=names, evidence=["ECO:0000501"])
    assert by_eco.table["gene"].tolist() == ["Car2"]


def test_unusable_annotations_are_refused(tmp_path):
    path = write_gaf(tmp_path / "goa.gaf")
    (tmp_path / "goa.gpad").write_text(gpad(2))
    (tmp_path / "plain.txt").write_text("a\tb\n")
    (tmp_path / "narrow.gaf").write_text("!gaf-version: 2.2\nDB P1 SLC4A1\n")
    (tmp_path / "top.gaf").write_text("!gaf-version: 2.2\n")
    cases = [
        (lambda: read_annotations(path, evidence="strong"), "'curated', 'experimental'"),
        (lambda: read_annotations(path, taxon=7227), "left to use"),
        (lambda: read_annotations(tmp_path / "goa.gpad"), "need the symbols"),
        (lambda: read_annotations(tmp_path / "goa.gpad", names={"X": "Y"}), "no symbol"),
        (lambda: read_annotations(tmp_path / "goa.gpad", names={}, taxon=9606), "no taxon"),
        (lambda: read_annotations(tmp_path / "plain.txt"), "gaf-version"),
        (lambda: read_annotations(tmp_path / "narrow.gaf"), "separated by tabs"),
        (lambda: read_annotations(tmp_path / "top.gaf"), "hold a line"),
        (lambda: read_annotations(tmp_path / "absent.gaf"), "must exist"),
        (lambda: read_gpi(path), "gpi-version"),
    ]
    for call, message in cases:
        with pytest.raises(InputError, match=message):
            call()
