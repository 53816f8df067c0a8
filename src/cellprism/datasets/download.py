"""Getting one file: from the cache, or over the network, whole and checked or not at all."""

from __future__ import annotations

import fnmatch
import json
import re
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import IO, Any
from urllib.request import urlopen

import pooch

from cellprism.datasets.content import check_content
from cellprism.datasets.registry import FIGSHARE, File
from cellprism.errors import InputError

__all__ = ["LARGEST", "obtain"]

LARGEST = 16 * 2**30
"""Bytes of the largest file that is fetched or unpacked: several times the largest data set that is known."""

_TIMEOUT_S = 60


def obtain(file: File, folder: Path, *, progress: bool = False, api: str = FIGSHARE) -> Path:
    """Path of a file that is whole: the one in ``folder``, or else fetched into it.

    Parameters
    ----------
    file
        Which.
    folder
        Where it is kept.
    progress
        Show a bar while it comes.
    api
        Address of the archive's interface.

    Raises
    ------
    InputError
        If it is not there and cannot be fetched (with the address and where to put it by hand), or if its content is
        not what it should be.
    """
    path = folder / file.name
    if path.is_file():
        _check(file, path)
        return path
    folder.mkdir(parents=True, exist_ok=True)
    try:
        url, known = _where(file, api)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            came = _retrieve(url, known, Path(scratch), progress=progress)
            whole = _unpacked(came, file)
            _check(file, whole)
            shutil.move(whole, path)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        if isinstance(error, InputError):
            raise
        mismatch = "hash" in str(error)
        raise InputError(
            f"{file.name} must be on this machine or to be had from the network",
            f"no {path}, and fetching it failed "
            + ("(another checksum than the published one)" if mismatch else f"({type(error).__name__})"),
            f"run once with a network, or get it from {file.address} on another machine and put it at {path}",
        ) from error
    return path


def _where(file: File, api: str) -> tuple[str, str | None]:
    """Address and known checksum."""
    if not file.article:
        return file.url, f"sha256:{file.sha256}" if file.sha256 else None
    if file.item.isdigit():
        record = _ask(f"{api}/articles/{file.article}/files/{file.item}")
    else:
        listed = _ask(f"{api}/articles/{file.article}/files?page_size=200")
        found = [r for r in listed if fnmatch.fnmatch(r["name"], file.item)]
        if len(found) != 1:
            raise InputError(
                f"the archive must hold one file named {file.item}",
                f"{len(found)} among {', '.join(r['name'] for r in listed)}",
                f"get the right one from {file.address} and put it into the cache as {file.name}",
            )
        record = found[0]
    md5 = record.get("computed_md5") or record.get("supplied_md5")
    return str(record["download_url"]), f"md5:{md5}" if md5 else None


def _ask(url: str) -> Any:
    with urlopen(url, timeout=_TIMEOUT_S) as answer:
        return json.load(answer)


def _retrieve(url: str, known: str | None, folder: Path, *, progress: bool) -> Path:
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("WARNING")  # it advises programmers to pin a hash, which says nothing to a user
    try:
        downloader = None
        if re.match("https?:", url):
            downloader = _Bounded(timeout=_TIMEOUT_S, progressbar=progress)
        return Path(pooch.retrieve(url, known_hash=known, fname="came", path=folder, downloader=downloader))
    finally:
        logger.setLevel(level)


class _Bounded(pooch.HTTPDownloader):  # type: ignore[misc]
    """Stops what is larger than any data set, before it fills the disk."""

    def __call__(self, url: str, output_file: Any, pooch: Any, check_only: bool = False) -> Any:
        if check_only or hasattr(output_file, "write"):
            return super().__call__(url, output_file, pooch, check_only=check_only)
        with Path(output_file).open("wb") as file:
            return super().__call__(url, _Counted(file, url), pooch)


class _Counted:
    """A file that takes :data:`LARGEST` bytes."""

    def __init__(self, file: IO[bytes], where: str) -> None:
        self.file, self.where, self.written = file, where, 0

    def write(self, data: bytes) -> int:
        self.written += len(data)
        _check_size(self.written, self.where)
        return self.file.write(data)

    def flush(self) -> None:
        self.file.flush()


def _check_size(n_bytes: int, where: str) -> None:
    if n_bytes > LARGEST:
        raise InputError(
            f"a file of a data set has at most {LARGEST / 2**30:,.3g} GiB", f"more from {where}", "get it by hand"
        )


def _unpacked(path: Path, file: File) -> Path:
    """The file itself, where it came in a zip; PyTorch's weights are zip files too and stay as they are."""
    if file.format == "weights" or not zipfile.is_zipfile(path):
        return path
    with zipfile.ZipFile(path) as archive:
        suffix = Path(file.name).suffix
        # macOS adds shadows of its files.
        inside = [n for n in archive.namelist() if n.endswith(suffix) and not n.startswith("__MACOSX")]
        if len(inside) != 1:
            raise InputError(
                f"the archive of {file.name} must hold one file {suffix}",
                f"{archive.namelist()[:5]}",
                "unpack it by hand",
            )
        out = path.with_name("unpacked")
        with (
            archive.open(inside[0]) as source,
            out.open("wb") as target,
        ):  # what an archive says of its sizes is not proof
            shutil.copyfileobj(source, _Counted(target, str(path)), 2**22)
    return out


def _check(file: File, path: Path) -> None:
    """Checksum where one is known, and what must lie inside."""
    if file.sha256 and (met := pooch.file_hash(str(path), alg="sha256")) != file.sha256:
        raise InputError(
            f"{file.name} must have the published SHA-256 {file.sha256}",
            f"{met} at {path}",
            "delete the file to fetch it again",
        )
    check_content(file, path)
