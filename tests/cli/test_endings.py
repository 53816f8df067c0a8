"""The ending of an output says what is written, and another is refused before the work."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_runner import call
from report.make_run import make_run

from cellprism.errors import InputError
from cellprism.files import check_ending

FILES = {
    "report": (("report", "run", "-o"), (".html", ".htm")),
    "match": (("match", "run", "run", "-o"), (".csv", ".parquet")),
    "match --others": (("match", "run", "run", "-o", "{out}.csv", "--others"), (".csv", ".parquet")),
    "match --page": (("match", "run", "run", "-o", "{out}.csv", "--page"), (".html", ".htm")),
    "export --gmt": (("export", "run", "--gmt"), (".gmt", ".gmt.gz")),
    "export --network": (("export", "run", "--network"), (".csv", ".tsv", ".parquet")),
    "encode": (("encode", "run", "run/embedding.npy", "-o"), (".npz", ".h5ad", ".zarr")),
    "simulate small": (("simulate", "small", "-o"), (".h5ad", ".zarr")),
    "simulate large": (("simulate", "large", "--peaks", "3", "-o"), (".h5mu",)),
}
FOLDERS = {
    "run": ("run", "cells.h5ad", "-o"),
    "fit": ("fit", "run/embedding.npy", "-o"),
    "annotate": ("annotate", "run/codes.npz", "cells.h5ad", "-o"),
    "differential": ("differential", "run", "--by", "cell_type", "-o"),
    "steer": ("steer", "run", "--feature", "1", "--off", "-o"),
    "demo": ("demo", "-o"),
    "sweep": ("sweep", "small", "-o"),
    "benchmark": ("benchmark", "small", "-o"),
}
OTHERS = ("", ".txt", ".html", ".csv", ".CSV", ".gz", ".npz", ".h5ad", ".json", ".")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    make_run(folder / "run")
    return folder


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("name", FILES)
def test_files_of_another_kind_are_refused(
    name: str, other: str, inputs: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    arguments, endings = FILES[name]
    if other in endings:
        pytest.skip("this one fits")
    monkeypatch.chdir(inputs)
    done = call(capsys, *(a.replace("{out}", str(tmp_path / "o")) for a in arguments), tmp_path / f"out{other}")
    assert done.code == 2, done
    assert f"out{other}" in done.err
    assert all(ending in done.err for ending in endings)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", [".csv", ".html", ".parquet", ".JSON", ".npz", ".tar.gz"])
@pytest.mark.parametrize("name", FOLDERS)
def test_folders_are_not_called_as_files(
    name: str, ending: str, inputs: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(inputs)
    done = call(capsys, *FOLDERS[name], tmp_path / f"out{ending}")
    assert done.code == 2, done
    assert "is a folder" in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_an_ending_alone_is_none() -> None:
    assert check_ending("a.b.html", ".html", what="a page") == Path("a.b.html")
    with pytest.raises(InputError, match=r"such as result\.html"):
        check_ending("x/.html", ".html", what="a page")
