"""Folders that appear whole: the place is taken before any work, and what was written is never thrown away."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cellprism.errors import InputError
from cellprism.files import PREFIX, Workplace, check_place, fsync_tree, half_moved, move_new, workplace, workplaces
from cellprism.folder.manifest import MANIFEST, owned, write_manifest

__all__ = ["LOG", "STEPS", "check_folder_name", "check_output", "finish", "staged"]

STEPS = "steps"
"""Folder, in the making only, with the finished steps that ``--resume`` goes on from."""
LOG = "run.log"
"""What a run says of its steps."""

_NOT_CONTENT = ("lost+found",)  # what an empty disk that is mounted holds
_LAST = (MANIFEST, "run.json")  # without them a folder does not read as whole


@contextmanager
def staged(
    output: str | Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[Path]:
    """Folder to write into that becomes ``output`` when the block ends well.

    Where ``output`` does not exist, the folder lies beside its place and is renamed; where it does (a mount point, a link
    to another disk, the present directory), it lies inside, and the files are moved up, ``run.json`` last. If the block
    fails, an earlier result is untouched, an empty folder vanishes, and one with content is kept: a note on the exception
    says where.

    Parameters
    ----------
    output
        Folder to write; new or empty.
    overwrite
        Replace an earlier result of this package: the files that it wrote, and no others.
    resume
        Take up what an interrupted run has left, where there is something.
    say
        Called with a line on what interrupted runs have left.

    Raises
    ------
    InputError
        If ``output`` is a file or cannot be written, is a folder with content and ``overwrite`` is not given or is not an
        earlier result of this package, or another process is at work on it.
    """
    left = _left(Path(output))
    taken = next((one for one, state in left if resume and state == "dead" and not one.mark.get("whole")), None)
    real = check_output(output, overwrite=overwrite, resume=taken is not None)
    if any(state == "alive" for _, state in left):
        raise InputError(
            "one process at a time writes an output",
            f"another one at work on {real}",
            "wait for it, or give another path",
        )
    if taken is None:
        for one, state in left:
            if state == "dead":
                say(f"an interrupted run has left {one.content}: --resume would go on from it")
        inside = real.is_dir()
        place, target = (real, ".") if inside else (real.parent, real.name)
        place.mkdir(parents=True, exist_ok=True)
    else:
        say(f"going on from {taken.content}")
        place, target = taken.path.parent, taken.target
    with workplace(place, target, found=None if taken is None else taken.path) as work:
        work.content.mkdir(exist_ok=True)
        try:
            yield work.content
            shutil.rmtree(work.content / STEPS, ignore_errors=True)
            write_manifest(work.content)
            fsync_tree(work.content)
            work.note(whole=True, overwrite=overwrite)
            _put(work, real)
        except BaseException as error:
            if {path.name for path in work.content.iterdir()} <= {LOG}:  # words alone are nothing to go on from
                work.remove()
            else:
                error.add_note(f"What was written is kept in {work.content}.")
            raise
        work.remove()
        for one, state in left:
            if state == "dead" and one.path != work.path:
                one.remove()


def finish(output: str | Path) -> bool:
    """Finish moving a whole result to its place where that was interrupted, and say whether there was one."""
    for one, state in _left(Path(output)):
        if state == "dead" and one.mark.get("whole"):
            with workplace(one.path.parent, one.target, found=one.path) as work:
                _put(work, Path(os.path.realpath(output)))
                work.remove()
            return True
    return False


_OF_FILES = frozenset(
    [
        ".csv",
        ".gz",
        ".gmt",
        ".htm",
        ".html",
        ".json",
        ".npy",
        ".npz",
        ".parquet",
        ".pdf",
        ".png",
        ".pt",
        ".safetensors",
        ".tsv",
        ".txt",
        ".xlsx",
        ".yaml",
        ".yml",
        ".zip",
    ]
)
"""Endings of results that somebody may ask for; not those of cells, as folders are called after the cells of a sample."""


def check_folder_name(output: Path) -> None:
    """Refuse the name of a file for a folder that is not there yet."""
    if not output.is_dir() and output.suffix.lower() in _OF_FILES:
        raise InputError("the output is a folder", f"{output}, a name of a file", f"give a name such as {output.stem}")


def check_output(output: str | Path, *, overwrite: bool = False, resume: bool = False) -> Path:
    """The real path of an output folder, or a refusal before any work is done; see :func:`staged`."""
    output = Path(output)
    real = check_place(output)
    if real.exists() and not real.is_dir():
        raise InputError("the output must be a folder", f"the file {output}", "give another path with -o")
    check_folder_name(output)
    if not real.is_dir() or not _content(real) or resume:
        return real
    if not overwrite:
        unfinished = any(one.mark.get("whole") for one, _ in workplaces(real, "."))
        raise InputError(
            "the output folder must be new or empty",
            f"{output} with content" + (" of a run that was stopped while it was moved there" if unfinished else ""),
            "give another path, --overwrite" + (", or --resume" if unfinished else ""),
        )
    if owned(real) is None:
        raise InputError(
            "--overwrite replaces earlier results of cellprism and nothing else",
            f"{output}, which holds neither a {MANIFEST} nor a run.json of cellprism",
            "give another path, or empty the folder yourself",
        )
    return real


def _left(output: Path) -> list[tuple[Workplace, str]]:
    """Work folders of earlier, or other, runs into an output; those that hold nothing and are dead are removed."""
    found: list[tuple[Workplace, str]] = []
    try:
        real = Path(os.path.realpath(output))
    except (OSError, ValueError):  # no name of a file
        return found
    for place, target in ((real.parent, real.name), (real, ".")):
        for one, state in workplaces(place, target):
            if state == "dead" and one.empty():
                one.remove()
            else:
                found.append((one, state))
    return found


def _content(folder: Path) -> list[Path]:
    return [p for p in folder.iterdir() if not p.name.startswith(PREFIX) and p.name not in _NOT_CONTENT]


def _put(work: Workplace, real: Path) -> None:
    """Move a whole folder to its place; may be called again after it was interrupted."""
    if work.target != ".":
        move_new(work.content, real)
        _sync(real.parent)
        return
    if "doomed" not in work.mark:
        others = _content(real)
        if others and not work.mark["overwrite"]:
            raise FileExistsError(errno.EEXIST, "something stands there by now", str(others[0]))
        work.note(doomed=[p.relative_to(real).as_posix() for p in owned(real) or ()])
    if not work.mark.get("cleared"):
        _clear(real, work.mark["doomed"])
        work.note(cleared=True)
    written = sorted(work.content.iterdir(), key=lambda p: (p.name in _LAST, p.name == _LAST[-1]))
    for path in written:
        if os.path.lexists(real / path.name) and not half_moved(path, real / path.name):
            raise FileExistsError(errno.EEXIST, "something stands there by now", str(real / path.name))
    for path in written:
        move_new(path, real / path.name)
    _sync(real)


def _clear(real: Path, names: list[str]) -> None:
    """Remove the files of an earlier result, those that make it read as whole first, and folders that are then empty."""
    gone = sorted((real / name for name in names), key=lambda p: (p.name not in _LAST, p.name != _LAST[-1], str(p)))
    for path in gone:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for folder in sorted({q for p in gone for q in p.parents if q.is_relative_to(real) and q != real}, reverse=True):
        with suppress(OSError):  # someone else's files are in it
            folder.rmdir()


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # folders cannot be synced everywhere
            os.fsync(handle)
    finally:
        os.close(handle)
