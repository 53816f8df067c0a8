"""Nothing is lost: files and folders appear whole, replace nothing unasked, and are kept where they cannot be put."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from cellprism.errors import InputError
from cellprism.files import refuse_taken, replacing, workplace, workplaces
from cellprism.folder import check_output, owned, staged, verify
from cellprism.folder.stage import finish


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def write(folder: Path, text: str = "{}") -> None:
    (folder / "run.json").write_text(text)
    (folder / "part").mkdir()
    (folder / "part" / "numbers.txt").write_text(text)


def test_a_new_folder_appears_whole_with_its_manifest(tmp_path: Path) -> None:
    with staged(tmp_path / "a" / "out") as folder:
        write(folder)
        assert not (tmp_path / "a" / "out").exists()
    assert names(tmp_path / "a") == ["out"]
    assert names(tmp_path / "a" / "out") == ["manifest.json", "part", "run.json"]
    assert verify(tmp_path / "a" / "out") == (2, [])


@pytest.mark.parametrize("kind", ["empty", "link", "here"])
def test_a_folder_that_is_there_is_filled_and_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    there = tmp_path / "there"
    there.mkdir()
    inode = there.stat().st_ino
    output = {"empty": there, "link": tmp_path / "link", "here": Path()}[kind]
    if kind == "link":
        output.symlink_to(there)
    if kind == "here":
        monkeypatch.chdir(there)
    with staged(output) as folder:
        write(folder)
    assert there.stat().st_ino == inode
    assert names(there) == ["manifest.json", "part", "run.json"]
    assert kind != "link" or output.is_symlink()


def test_what_others_put_there_meanwhile_is_not_replaced_and_the_result_is_kept(tmp_path: Path) -> None:
    for there in (False, True):
        output = tmp_path / f"out-{there}"
        if there:
            output.mkdir()
        with pytest.raises(FileExistsError) as refused, staged(output) as folder:  # noqa: PT012
            write(folder)
            output.mkdir(exist_ok=True)
            (output / "mine.txt").write_text("precious")
        assert (output / "mine.txt").read_text() == "precious"
        (note,) = refused.value.__notes__
        kept = Path(note.removeprefix("What was written is kept in ").rstrip("."))
        assert (kept / "part" / "numbers.txt").is_file()
        (output / "mine.txt").unlink()
        assert finish(output)
        assert verify(output) == (2, [])
        assert not kept.exists()


def test_a_second_writer_is_refused_while_the_first_is_at_work(tmp_path: Path) -> None:
    for output in (tmp_path / "new", tmp_path / "there"):
        if output.name == "there":
            output.mkdir()
        with staged(output) as folder:
            write(folder)
            with pytest.raises(InputError, match="One process at a time"), staged(output):
                raise AssertionError
            with staged(tmp_path / f"other-{output.name}") as other:  # beside it anyone may write
                write(other)
        assert verify(output) == (2, [])


def test_work_that_fails_vanishes_where_it_is_empty_and_stays_where_it_is_not(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError) as nothing, staged(tmp_path / "out"):
        raise RuntimeError
    assert names(tmp_path) == []
    assert not hasattr(nothing.value, "__notes__")
    with pytest.raises(RuntimeError), staged(tmp_path / "out") as folder:  # noqa: PT012
        write(folder)
        raise RuntimeError
    (one,) = tmp_path.iterdir()
    with staged(tmp_path / "out", resume=True) as folder:
        assert folder.parent == one
        assert (folder / "part" / "numbers.txt").is_file()
    assert names(tmp_path) == ["out"]


def test_overwrite_removes_what_cellprism_wrote_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with staged(out) as folder:
        write(folder)
        (folder / "old.txt").write_text("old")
    with staged(out / "inner") as folder:
        write(folder)
    (out / "report.html").write_text("page")
    (out / "notes.txt").write_text("mine")
    (out / "part" / "more.txt").write_text("mine")
    with pytest.raises(InputError, match="new or empty"):
        check_output(out)
    with pytest.raises(FileExistsError), staged(out, overwrite=True) as folder:  # part/ holds a file of someone else
        write(folder)
    assert (out / "part" / "more.txt").read_text() == "mine"
    (out / "part" / "more.txt").unlink()
    (out / "part").rmdir()
    assert finish(out)
    assert names(out) == ["manifest.json", "notes.txt", "part", "run.json"]
    assert verify(out) == (2, [])


@pytest.mark.parametrize(
    "foreign",
    [{"run.json": '{"program": 1}'}, {"steering.json": "{}"}, {"summary.parquet": ""}, {"manifest.json": "[]"}],
)
def test_overwrite_leaves_the_folders_of_others(tmp_path: Path, foreign: dict[str, str]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name, text in foreign.items():
        (out / name).write_text(text)
    assert owned(out) is None
    with pytest.raises(InputError, match="nothing else"), staged(out, overwrite=True):
        raise AssertionError
    assert names(out) == sorted(foreign)


@pytest.mark.parametrize("manifest", ["../escape", "/etc/hostname"])
def test_a_manifest_cannot_name_files_outside(tmp_path: Path, manifest: str) -> None:
    with staged(tmp_path / "out") as folder:
        write(folder)
    text = (tmp_path / "out" / "manifest.json").read_text().replace("part/numbers.txt", manifest)
    (tmp_path / "out" / "manifest.json").write_text(text)
    assert owned(tmp_path / "out") is None
    with pytest.raises(InputError, match=r"manifest\.json"):
        verify(tmp_path / "out")


def long_name(tmp_path: Path) -> Path:
    return tmp_path / ("n" * 300)


def dangling(tmp_path: Path) -> Path:
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    return tmp_path / "link"


def loop(tmp_path: Path) -> Path:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    return tmp_path / "a"


def through_a_file(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("x")
    return tmp_path / "file" / "out"


def a_file(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("x")
    return tmp_path / "file"


def not_utf8(tmp_path: Path) -> Path:
    return Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe"))


def with_nul(tmp_path: Path) -> Path:
    return tmp_path / "a\0b"


def kernel_owned(tmp_path: Path) -> Path:
    return Path("/proc/cellprism-cannot-write-here")


@pytest.mark.parametrize(
    "place",
    [long_name, dangling, loop, through_a_file, a_file, not_utf8, with_nul, kernel_owned],
    ids=lambda f: f.__name__,
)
def test_places_that_cannot_be_written_are_refused_before_the_work(
    tmp_path: Path, place: Callable[[Path], Path]
) -> None:
    if place is kernel_owned and not Path("/proc").is_dir():
        pytest.skip("no /proc")
    output = place(tmp_path)
    before = names(tmp_path)
    with pytest.raises(InputError):
        check_output(output)
    with pytest.raises(InputError), staged(output):
        raise AssertionError
    if place is not a_file:  # a single file may be replaced
        with pytest.raises(InputError), replacing(output / "x.csv" if place is loop else output):
            raise AssertionError
    assert names(tmp_path) == before


def test_a_file_is_replaced_in_one_move_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as beside:  # noqa: PT012
        beside.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    with replacing(path) as beside:
        pd.DataFrame({"a": [1]}).to_csv(beside, index=False)
        assert path.read_text() == "old"
    assert path.read_text() == "a\n1\n"
    with pytest.raises(InputError, match="must not exist"), replacing(path, overwrite=False):
        raise AssertionError
    assert names(tmp_path) == ["table.csv"]


def test_a_file_that_turns_up_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    with pytest.raises(FileExistsError), replacing(path, overwrite=False) as beside:  # noqa: PT012
        beside.write_text("new")
        path.write_text("theirs")
    assert path.read_text() == "theirs"


def test_links_and_devices_are_not_replaced_by_files(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "t.csv").write_text("old")
    (tmp_path / "t.csv").symlink_to(tmp_path / "far" / "t.csv")
    with replacing(tmp_path / "t.csv") as beside:
        beside.write_text("new")
    assert (tmp_path / "t.csv").is_symlink()
    assert (tmp_path / "far" / "t.csv").read_text() == "new"
    with pytest.raises(InputError, match="ordinary file"), replacing(Path(os.devnull)):
        raise AssertionError
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="ordinary file"), replacing(tmp_path / "pipe"):
        raise AssertionError


KILLED = """
import os, signal, sys
from cellprism.files import replacing
from cellprism.folder import staged
with {what} as place:
    ({inside}).write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("whole", [False, True], ids=["file", "folder"])
def test_leftovers_of_killed_writers_are_known_and_cleared(tmp_path: Path, whole: bool) -> None:
    output = tmp_path / "out"
    what = f"staged({str(output)!r})" if whole else f"replacing({str(output)!r})"
    code = KILLED.format(what=what, inside="place / 'half.txt'" if whole else "place")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert not output.exists()
    ((one, state),) = workplaces(tmp_path, "out")
    assert (state, one.content.exists()) == ("dead", True)
    said: list[str] = []
    if whole:
        with staged(output, say=said.append) as folder:
            write(folder)
        assert "--resume" in said[0]
    else:
        with replacing(output) as beside:
            beside.write_text("whole")
    assert names(tmp_path) == ["out"]


def test_a_work_folder_at_work_is_seen_as_such(tmp_path: Path) -> None:
    with workplace(tmp_path, "x"):
        assert [state for _, state in workplaces(tmp_path, "x")] == ["alive"]
    assert [state for _, state in workplaces(tmp_path, "x")] == ["dead"]
    assert workplaces(tmp_path, "y") == []


def test_a_writer_may_use_another_writer(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.zarr") as outer, replacing(outer, overwrite=False) as inner:
        inner.mkdir()
        (inner / "x").write_text("x")
    assert (tmp_path / "a.zarr" / "x").read_text() == "x"
    assert names(tmp_path) == ["a.zarr"]


def test_a_name_that_python_was_told_to_read_as_ascii_is_refused_before_any_work(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from cellprism.files import check_place; check_place(Path(sys.argv[1]))"
    )
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "é")], env=os.environ | plain, capture_output=True, text=True
    )
    assert "InputError" in done.stderr
    assert "set PYTHONUTF8=1" in done.stderr


def test_two_outputs_are_two_files(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    refuse_taken(tmp_path / "a.csv", tmp_path / "b.csv", overwrite=False)
    for other in (tmp_path / "a.csv", tmp_path / "sub" / ".." / "a.csv"):
        with pytest.raises(InputError, match="a file of its own"):
            refuse_taken(tmp_path / "a.csv", other, overwrite=True)
