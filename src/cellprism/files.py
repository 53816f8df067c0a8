"""Files that appear whole or not at all: written in a locked work folder beside their place, then moved there."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from cellprism.errors import InputError

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows has no flock: work folders are then never known to be abandoned
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "PREFIX",
    "Workplace",
    "check_ending",
    "check_place",
    "fsync_tree",
    "half_moved",
    "move_new",
    "refuse_taken",
    "replacing",
    "workplace",
    "workplaces",
]

PREFIX: Final = ".cellprism-"
"""How the names of work folders begin."""
_LOCKS: bool = fcntl is not None
_LOCK: Final = "lock"
_MARK: Final = "work.json"
_FORMAT: Final = "cellprism-work"
State = Literal["alive", "dead", "unknown"]


@dataclass(frozen=True)
class Workplace:
    """A work folder: what is being written lies in it under ``content``, and a lock on it says that someone is at work."""

    path: Path
    """The work folder."""
    target: str
    """Name of what will be moved out of it, within the folder that the work folder lies in; ``.`` is that folder."""

    @property
    def content(self) -> Path:
        """Where to write."""
        return self.path / ("content" if self.target == "." else self.target)

    @property
    def mark(self) -> dict[str, Any]:
        """What the work folder says of itself."""
        return _read_mark(self.path)

    def note(self, **facts: Any) -> None:
        """Say more in the mark."""
        beside = self.path / f"{_MARK}.part"
        beside.write_text(json.dumps(self.mark | facts), encoding="utf-8")
        os.replace(beside, self.path / _MARK)

    def empty(self) -> bool:
        """Whether nothing has been written yet."""
        return not self.content.exists() or (self.content.is_dir() and not any(self.content.iterdir()))

    def remove(self) -> None:
        """Delete the work folder with all in it; the mark last, so that what a kill leaves of it is known for what it is."""
        with suppress(OSError):
            for path in self.path.iterdir():
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                elif path.name != _MARK:
                    path.unlink(missing_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)


def check_place(path: Path) -> Path:
    """The real path of an output, where something can be made there; tried, not only looked at.

    Raises
    ------
    InputError
        Where the path is a link to nothing, is not UTF-8, leads through a file, or nothing can be written there.
    """
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError as error:
        try:
            os.fsencode(path).decode("utf-8")
        except UnicodeDecodeError:
            remedy = "give another name with -o"
        else:
            remedy = "set PYTHONUTF8=1: Python was told to read names as ASCII"
        raise InputError("the name of an output must be UTF-8", repr(os.fsencode(path)), remedy) from error
    try:
        if path.is_symlink() and not path.exists():
            raise InputError(
                "an output may be a link only to what exists", f"the link {path}", "make its target, or remove it"
            )
        real = Path(os.path.realpath(path))
        if any(p.is_symlink() for p in (real, *real.parents)):  # what no resolving gets rid of
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        there = next(p for p in (real, *real.parents) if p.exists())
        if there != real and not there.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        place = there if there.is_dir() else there.parent
        for folder in {place, real.parent} if real.parent.is_dir() else {place}:
            _clear_begun(folder)
        with _locked(place):
            trial = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
            try:  # only the file system knows which names it takes
                (trial / real.relative_to(there)).mkdir(parents=True, exist_ok=True)
            finally:
                shutil.rmtree(trial)
    except InputError:
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(
            "the output must be a place that can be written", f"{path}: {reason}", "give another path with -o"
        ) from error
    return real


@contextmanager
def workplace(place: Path, target: str, *, found: Path | None = None) -> Iterator[Workplace]:
    """A locked work folder in ``place`` for ``target``; ``found`` takes up an abandoned one.

    Raises
    ------
    InputError
        Where another process is at work for the same target.
    """
    with _locked(place):
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place)) if found is None else found
        handle = _lock(path)
        if handle is None:
            raise _taken(place, target)
        if found is None:
            (path / _MARK).write_text(json.dumps({"format": _FORMAT, "target": target}), encoding="utf-8")
            if any(state == "alive" for one, state in workplaces(place, target) if one.path != path):
                shutil.rmtree(path, ignore_errors=True)
                os.close(handle)
                raise _taken(place, target)
    try:
        yield Workplace(path, target)
    finally:
        if handle >= 0:
            os.close(handle)


def workplaces(place: Path, target: str) -> list[tuple[Workplace, State]]:
    """Work folders in ``place`` for ``target``, newest first, and whether someone is at work in each."""
    found = []
    try:
        candidates = [p for p in place.iterdir() if p.name.startswith(PREFIX) and p.is_dir() and not p.is_symlink()]
    except OSError:
        return []
    for path in candidates:
        if _read_mark(path).get("target") == target:
            handle = _lock(path)
            state: State = "alive" if handle is None else "unknown" if handle < 0 else "dead"
            if handle is not None and handle >= 0:
                os.close(handle)
            found.append((path.stat().st_mtime, Workplace(path, target), state))
    return [(one, state) for _, one, state in sorted(found, key=lambda f: -f[0])]


@contextmanager
def replacing(path: str | Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Where to write a file (or the folder of a ``.zarr``) that then takes the place of ``path`` in one move.

    The name keeps its suffix. What stood at ``path`` is untouched until the new one is whole, and stays where the block
    fails; what killed writers of the same name left behind is removed.

    Raises
    ------
    InputError
        Where ``path`` cannot be written, or exists and ``overwrite`` is false.
    """
    path = Path(path)
    real = check_place(path)
    refuse_taken(path, overwrite=overwrite)
    real.parent.mkdir(parents=True, exist_ok=True)
    for old, state in workplaces(real.parent, real.name):
        if state == "dead":
            old.remove()
    with workplace(real.parent, real.name) as work:
        try:
            yield work.content
            fsync_tree(work.content)
            if overwrite and real.is_dir():  # a folder cannot be replaced in one move: the old one steps aside
                real.rename(work.path / "old")
            if overwrite and not work.content.is_dir():
                os.replace(work.content, real)
            else:
                move_new(work.content, real)
        finally:
            work.remove()


def check_ending(path: str | Path, *endings: str, what: str) -> Path:
    """The path of an output whose ending says what is written: other programs go by it.

    Parameters
    ----------
    path
        The output.
    endings
        Those that fit, such as ``.csv``, in lower case as readers know them.
    what
        Is written.

    Raises
    ------
    InputError
        Where it ends otherwise.
    """
    path = Path(path)
    if not path.name.endswith(endings) or path.name in endings:
        listed = " or ".join([", ".join(endings[:-1]), endings[-1]]) if len(endings) > 1 else endings[0]
        stem = path.name.strip(".").partition(".")[0] if path.name not in endings else "result"
        raise InputError(
            f"{what} is written as {listed}", str(path), f"give a name such as {stem or 'result'}{endings[0]}"
        )
    return path


def refuse_taken(*paths: Path, overwrite: bool) -> None:
    """Refuse output files that exist, that are no files, or of which two are one."""
    places = [path.resolve() for path in paths]
    for path, place in zip(paths, places, strict=True):
        if places.count(place) > 1:
            raise InputError("each output is a file of its own", f"{path} for {places.count(place)}", "name each apart")
        _refuse_taken(path, overwrite=overwrite)


def _refuse_taken(path: Path, *, overwrite: bool) -> None:
    if os.path.lexists(path) and not path.is_symlink() and not path.is_file() and not path.is_dir():
        raise InputError("the output must be an ordinary file", str(path), "give another path")
    if path.suffix != ".zarr" and path.is_dir():
        raise InputError("the output must be a file", f"the folder {path}", "give the name of a file in it")
    if path.exists() and not overwrite:
        raise InputError("the output must not exist yet", str(path), "give another path, or --overwrite")


def move_new(source: Path, target: Path) -> None:
    """Move a file or folder to a name that nothing has; one that was stopped half way is finished.

    Raises
    ------
    FileExistsError
        Where something stands there by now.
    """
    if source.is_dir():
        if target.is_dir() and any(target.iterdir()):
            raise FileExistsError(errno.EEXIST, "something stands there by now", str(target))
        os.rename(source, target)  # onto an empty folder at most: of others the system says that they are not empty
        return
    try:
        os.link(source, target)  # unlike a rename, it never replaces
    except FileExistsError as error:
        if half_moved(source, target):
            os.unlink(source)
            return
        raise FileExistsError(errno.EEXIST, "something stands there by now", str(target)) from error
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, "something stands there by now", str(target)) from None
        os.rename(source, target)
        return
    os.unlink(source)


def half_moved(source: Path, target: Path) -> bool:
    """Whether a move by :func:`move_new` was stopped where the file had both names."""
    found = os.path.lexists(target) and not source.is_dir() and not target.is_symlink()
    return found and os.path.samefile(source, target)


def fsync_tree(path: Path) -> None:
    """Have the disk hold a file, or all files of a folder, before anything is said to be written."""
    files = [path] if path.is_file() else [*(p for p in path.rglob("*") if p.is_file()), path]
    for file in files:
        handle = os.open(file, os.O_RDONLY)
        try:
            os.fsync(handle)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # file systems that know no fsync
                raise
        finally:
            os.close(handle)


def _clear_begun(place: Path) -> None:
    """Remove work folders that were killed before they could say what they are for; they hold nothing yet.

    Done while the place is locked, as it is by those who make them, until they are marked.
    """
    with _locked(place) as alone, suppress(OSError):
        for path in place.glob(f"{PREFIX}*") if alone else ():
            if path.is_dir() and not path.is_symlink() and not _read_mark(path):
                files = {p.name for p in path.rglob("*") if not p.is_dir() or p.is_symlink()}
                if files <= {_LOCK, _MARK}:
                    shutil.rmtree(path, ignore_errors=True)


def _read_mark(path: Path) -> dict[str, Any]:
    try:
        content = json.loads((path / _MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) and content.get("format") == _FORMAT else {}


def _taken(place: Path, target: str) -> InputError:
    return InputError(
        "one process at a time writes an output",
        f"another one at work on {place if target == '.' else place / target}",
        "wait for it, or give another path with -o",
    )


def _lock(path: Path) -> int | None:
    """Handle that holds the lock of a folder until it is closed; None where someone else has it, -1 where none can be."""
    if not _LOCKS:
        return -1
    try:
        # A file of its own: the folder itself may be the place of a work folder within it, see `_locked`.
        handle = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        return -1
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    except OSError:  # the file system has no locks
        os.close(handle)
        return -1
    return handle


@contextmanager
def _locked(place: Path) -> Iterator[bool]:
    """One process at a time, as far as the file system knows locks: whether it does."""
    handle, alone = -1, False
    if _LOCKS:
        with suppress(OSError):
            handle = os.open(place, os.O_RDONLY)
            fcntl.flock(handle, fcntl.LOCK_EX)
            alone = True
    try:
        yield alone
    finally:
        if handle >= 0:
            os.close(handle)
