"""What is installed from a built wheel is the whole package: no file of the folder is left behind, none of the tests is taken along."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="hatchling, which builds the wheel, is not installed")
    out = tmp_path_factory.mktemp("wheel")
    build = "from hatchling.builders.wheel import WheelBuilder; import sys; print(next(WheelBuilder(sys.argv[1]).build(directory=sys.argv[2])))"
    done = subprocess.run(
        [sys.executable, "-c", build, str(ROOT), str(out)], capture_output=True, text=True, check=True
    )
    return Path(done.stdout.strip())


def test_it_holds_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    source = ROOT / "src"
    wanted = {
        str(p.relative_to(source))
        for p in (source / "cellprism").rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        entry = next(n for n in names if n.endswith("entry_points.txt"))
        assert "cellprism = cellprism.cli:main" in archive.read(entry).decode()
    assert {n for n in names if ".dist-info/" not in n} == wanted
    assert {Path(n).name for n in names if ".dist-info/licenses" in n} == {"LICENSE", "d3.LICENSE.txt"}


def test_its_files_are_found_where_there_is_no_folder(wheel: Path, tmp_path: Path) -> None:
    """From the unpacked wheel alone, in an empty folder: gene sets, page and command line."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    (tmp_path / "empty").mkdir()
    look = (
        "import cellprism, sys; from cellprism import genesets; from cellprism.report.page import page; "
        "from cellprism.cli import main; assert cellprism.__file__.startswith(sys.argv[1]), cellprism.__file__; "
        "print(len(genesets.load('bundled'))); sys.argv = ['cellprism', 'demo', '--help']; main()"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", look, str(tmp_path / "site")],
        cwd=tmp_path / "empty", env={"PYTHONPATH": str(tmp_path / "site"), "PATH": "", "HOME": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) == 280
    assert "--output" in done.stdout
    assert not any((tmp_path / "empty").iterdir())
