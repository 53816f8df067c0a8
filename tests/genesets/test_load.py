import pytest

from cellprism.errors import InputError
from cellprism.genesets import bundled, load, write_gmt


def test_the_bundled_collection_has_a_name():
    assert load("bundled") == bundled()
    assert load(["bundled", "bundled"]) == bundled()


def test_files_and_collections_join(tmp_path):
    write_gmt({"B cell": ["CD19"], "mine": ["A", "B"]}, tmp_path / "own.gmt.gz")
    write_gmt({"B cell": ["MS4A1"]}, tmp_path / "own.gmt")
    sets = load(["bundled", str(tmp_path / "own.gmt.gz"), tmp_path / "own.gmt"])
    assert sets["B cell"] == bundled()["B cell"]
    assert sets["mine"] == ["A", "B"]
    assert sets["B cell (own)"] == ["CD19"]
    assert sets["B cell (own 2)"] == ["MS4A1"]
    assert len(sets) == len(bundled()) + 3


BAD = {
    "nothing": ([], "must be a collection"),
    "unknown name": ("Bundled", "neither"),
    "absent file": ("absent.gmt", "must exist"),
}


@pytest.mark.parametrize(("given", "message"), BAD.values(), ids=BAD)
def test_unknown_names_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        load(given)
