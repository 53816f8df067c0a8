"""The release checklist, each step run: version, changelog, clean tree, build from git, twine, wheel in a clean environment.

    python -m pip install build twine
    python release.py [--rehearse] [--keep FOLDER]

``--rehearse`` is what every commit must pass, in under a minute: the changelog may still say "Unreleased", what git holds is built
whatever else lies in the tree, and the wheel runs beside the dependencies of this environment instead of fetching its own.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent


def run(*words: str | Path, cwd: Path = ROOT) -> str:
    """Run a command and give what it printed; where it fails, say so with its output and stop."""
    done = subprocess.run([str(w) for w in words], cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"failed: {' '.join(map(str, words))}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout + done.stderr


def version() -> str:
    """The version, which ``pyproject.toml`` and ``CITATION.cff`` must agree on."""
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    cited = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), flags=re.MULTILINE)
    if cited is None or cited[1] != stated:
        raise SystemExit(f"CITATION.cff says version {cited and cited[1]}, pyproject.toml {stated}")
    return str(stated)


def check_changelog(release: str, *, allow_unreleased: bool) -> str:
    """The changelog has a section for this version with something in it."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    names = [re.escape(f"[{release}]"), *([r"\[Unreleased\]"] if allow_unreleased else [])]
    found = re.search(rf"^## ({'|'.join(names)}).*?\n(.*?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL)
    if found is None or "- " not in found[2]:
        raise SystemExit(f"CHANGELOG.md has no section [{release}] with entries")
    return found[1]


def build(folder: Path, *, rehearsal: bool) -> tuple[Path, Path]:
    """Sdist and wheel, out of a clone, so that nothing but what git holds gets in; the wheel is made of the sdist."""
    clone = folder / "clone"
    run("git", "clone", "--quiet", "--no-hardlinks", ROOT, clone)
    how = ["--no-isolation"] if rehearsal else []  # with the hatchling of this environment
    run(sys.executable, "-m", "build", *how, "--outdir", folder / "dist", cwd=clone)
    (sdist,), (wheel,) = (folder / "dist").glob("*.tar.gz"), (folder / "dist").glob("*.whl")
    tracked = set(run("git", "ls-files", cwd=clone).splitlines())
    with tarfile.open(sdist) as archive:
        inside = {"/".join(name.split("/")[1:]) for name in archive.getnames() if name.count("/")}
    missing = {name for name in tracked if name.startswith("src/")} - inside
    if missing:
        raise SystemExit(f"the sdist lacks {len(missing)} tracked files, such as {sorted(missing)[0]}")
    return sdist, wheel


def environment(wheel: Path, folder: Path, *, rehearsal: bool) -> Path:
    """The Python of a new environment with the wheel: all dependencies fetched, or in a rehearsal those at hand, looked up here."""
    venv.create(folder / "venv", with_pip=not rehearsal)
    python = folder / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    if not rehearsal:
        run(python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", wheel)
        return python
    run(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", wheel)
    own = Path(run(python, "-I", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    # Links of editable installs are not followed from here, so that the package can only be the wheel's.
    (own / "dependencies.pth").write_text(
        "\n".join({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}) + "\n"
    )
    return python


def try_wheel(wheel: Path, folder: Path, *, rehearsal: bool) -> str:
    """Install the wheel into a new environment and run the demo in an empty folder, without the repository."""
    python = environment(wheel, folder, rehearsal=rehearsal)
    empty = folder / "empty"
    empty.mkdir()
    place = run(python, "-I", "-c", "import cellprism; print(cellprism.__file__)", cwd=empty).strip()
    if str(folder) not in place:
        raise SystemExit(f"the demo would run {place}, which is not the wheel's")
    said = run(python, "-I", "-m", "cellprism", "demo", "-o", "demo", cwd=empty)
    run(python, "-I", "-m", "cellprism", "verify", "demo", cwd=empty)
    page = empty / "demo" / "report.html"
    if page.stat().st_size < 100_000:
        raise SystemExit("the demo's page is too small to hold it")
    return next(line for line in said.splitlines() if "features" in line and "split" in line)


def main() -> None:
    """All steps, a line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rehearse", action="store_true", help="what every commit must pass")
    parser.add_argument("--keep", type=Path, help="put the sdist and the wheel here")
    asked = parser.parse_args()
    release = version()
    print(f"version {release}: pyproject.toml and CITATION.cff agree")
    print(f"changelog: section {check_changelog(release, allow_unreleased=asked.rehearse)}")
    changed = run("git", "status", "--porcelain").strip()
    if changed and not asked.rehearse:
        raise SystemExit(f"the tree has changes that git does not hold:\n{changed}")
    print(f"tree: {'has changes that are left out' if changed else 'clean'}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        sdist, wheel = build(folder, rehearsal=asked.rehearse)
        print(f"built: {sdist.name}, {wheel.name}")
        run(sys.executable, "-m", "twine", "check", "--strict", sdist, wheel)
        print("twine check: passed")
        where = "beside the dependencies at hand" if asked.rehearse else "in a clean environment"
        print(f"wheel {where}, demo: {try_wheel(wheel, folder, rehearsal=asked.rehearse)}")
        if asked.keep:
            asked.keep.mkdir(parents=True, exist_ok=True)
            for file in (sdist, wheel):
                shutil.copy(file, asked.keep)
    print("rehearsed" if asked.rehearse else "ready")


if __name__ == "__main__":
    main()
