import gzip
from pathlib import Path

import pytest

from cellprism.errors import InputError
from cellprism.genesets import read_gmt, write_gmt

SETS = {"heme biosynthesis": ["ALAS2", "HMBS", "UROD"], "B cell (blood)": ["CD19", "MS4A1"]}


@pytest.mark.parametrize("name", ["sets.gmt", "sets.gmt.gz"])
def test_written_sets_are_read_back(tmp_path, name):
    write_gmt(SETS, tmp_path / name, descriptions={"heme biosynthesis": "eight steps"})
    assert read_gmt(tmp_path / name) == SETS
    data = (tmp_path / name).read_bytes()
    text = gzip.decompress(data) if name.endswith(".gz") else data
    assert text.decode().splitlines()[0] == "heme biosynthesis\teight steps\tALAS2\tHMBS\tUROD"
    write_gmt(SETS, tmp_path / f"again-{name}", descriptions={"heme biosynthesis": "eight steps"})
    assert (tmp_path / f"again-{name}").read_bytes() == data


def test_real_world_looseness_is_accepted(tmp_path):
    path = tmp_path / "loose.gmt"
    path.write_bytes("\ufeffA\t\tTP53,1.0\t MDM2 \tTP53\t\t\r\n\r\nB\tsome text\tHLA-A\tMT-ND1,0.25\r\n".encode())
    assert read_gmt(str(path)) == {"A": ["TP53", "MDM2"], "B": ["HLA-A", "MT-ND1"]}


BAD_FILES = {
    "empty": (b"", "at least one gene set"),
    "blank lines": (b"\n \n", "at least one gene set"),
    "no tabs": (b"A desc CD19 CD3E\n", "line 1"),
    "no genes": (b"A\td\tCD19\nB\td\n", "line 2"),
    "no name": (b"\td\tCD19\n", "line 1"),
    "same name twice": (b"A\td\tCD19\nB\td\tCD19\nA\td\tCD3E\n", "lines 1 and 3"),
    "not text": (b"\x1f\x8b\x08\x00rubbish", "UTF-8"),
}


@pytest.mark.parametrize(("data", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_bad_files_are_refused(tmp_path, data, message):
    path = tmp_path / "bad.gmt"
    path.write_bytes(data)
    with pytest.raises(InputError, match=message):
        read_gmt(path)


def test_unreadable_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="must exist"):
        read_gmt(tmp_path / "absent.gmt")
    with pytest.raises(InputError, match="readable"):
        read_gmt(tmp_path)
    cut = tmp_path / "cut.gmt.gz"
    cut.write_bytes(gzip.compress(b"A\td\tCD19\n" * 100)[:-12])
    with pytest.raises(InputError, match="readable"):
        read_gmt(cut)
    plain = tmp_path / "plain.gmt.gz"
    plain.write_bytes(b"A\td\tCD19\n")
    with pytest.raises(InputError, match="readable"):
        read_gmt(plain)


BAD_SETS = {
    "empty set": {"A": []},
    "tab in name": {"A\tB": ["CD19"]},
    "line break in member": {"A": ["CD19\nCD3E"]},
    "blank member": {"A": [""]},
    "outer blank": {"A": [" CD19"]},
}


@pytest.mark.parametrize("sets", BAD_SETS.values(), ids=BAD_SETS)
def test_sets_that_would_not_survive_are_refused(tmp_path, sets):
    with pytest.raises(InputError):
        write_gmt(sets, tmp_path / "out.gmt")
    assert not (tmp_path / "out.gmt").exists()


def test_public_collections_are_read(shared_data):
    sets = read_gmt(shared_data / "hallmark_v7.0.gmt")
    assert len(sets) == 50
    assert len(sets["HALLMARK_HEME_METABOLISM"]) == 200
    assert len(read_gmt(shared_data / "GO_Biological_Process_2021.gmt")) == 6036


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_only_line_feeds_and_carriage_returns_end_a_line(mark: str, end: str, tmp_path: Path) -> None:
    name = f"T{mark}cell"
    path = tmp_path / "a.gmt"
    path.write_bytes(f"{name}\tno{mark}te\tCD3D\tCD3E{end}B cell\t\tMS4A1{end}".encode())
    assert read_gmt(path) == {name: ["CD3D", "CD3E"], "B cell": ["MS4A1"]}
    write_gmt(read_gmt(path), tmp_path / "b.gmt", descriptions={name: f"no{mark}te"})
    assert read_gmt(tmp_path / "b.gmt") == read_gmt(path)
