"""Kill commands at random moments and look at what is left: absent, complete and verified, or resumed to the same result.

Each command runs in a forked process that is ended by SIGKILL after a random part of the time it takes. Afterwards its
output must not exist, or be whole; nothing else may have appeared beside it but work folders that the next command of
the same name clears; a killed ``run`` goes on with ``--resume`` and must end with the same files, bit by bit.

    python benchmarks/kills.py --kills 200 --minutes 15
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from math import inf
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

PREFIX = ".cellprism-"
LAST_WORDS = os.memfd_create("last words")
RUN = "--embed pca --components 5 --width 12 --k 3 --seeds 2 --epochs 60 --labels cell_type"


def make_inputs(folder: Path) -> None:
    """Cells, gene sets, an embedding file, a finished run and codes."""
    import numpy as np
    from helpers import counts_adata, type_sets

    from cellprism.genesets import write_gmt

    cells = counts_adata(200, 60)
    cells.write_h5ad(folder / "cells.h5ad")
    np.save(folder / "z.npy", cells.obsm["X_emb"])
    write_gmt(type_sets(60), folder / "sets.gmt")


def commands(inputs: Path) -> dict[str, tuple[str, str]]:
    """Command lines and the names of what they write."""
    cells, sets = inputs / "cells.h5ad", inputs / "sets.gmt"
    return {
        "run": (f"run {cells} --gene-sets {sets} {RUN} -o OUT", "out"),
        "fit": (f"fit {inputs / 'z.npy'} --width 16 --k 3 --epochs 400 --seeds 2 -o OUT", "out"),
        "annotate": (f"annotate {inputs / 'run' / 'codes.npz'} {cells} --gene-sets {sets} -o OUT", "out"),
        "simulate": ("simulate large --n-cells 600 --n-genes 400 --n-programs 10 -o OUT", "cells.h5ad"),
        "simulate zarr": ("simulate large --n-cells 600 --n-genes 400 --n-programs 10 -o OUT", "cells.zarr"),
        "report": (f"report {inputs / 'run'} -o OUT", "page.html"),
        "encode": (f"encode {inputs / 'run'} {inputs / 'run' / 'embedding.npy'} -o OUT", "codes.npz"),
    }


def execute(line: str, output: Path, kill_after: float | None = None) -> int:
    """Exit code of a command in a forked process; -9 where it was killed first."""

    def command() -> int:
        from cellprism.cli import main

        sys.argv = ["cellprism", *line.replace("OUT", str(output)).split()]
        try:
            main()
        except SystemExit as ended:
            return int(ended.code or 0)
        return 0

    return forked(command, kill_after)


def forked(call: Callable[[], int], kill_after: float | None = None) -> int:
    """Exit code of a call in a process of its own; this one starts no threads, which no fork would survive."""
    said = LAST_WORDS
    child = os.fork()
    if child == 0:
        for stream in (1, 2):
            os.dup2(said, stream)
        os.ftruncate(said, 0)
        os.lseek(said, 0, os.SEEK_SET)
        code = 70
        try:
            code = call()
        except BaseException:  # noqa: BLE001 - a defect is told by the exit code, and in the last words
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def last_words() -> str:
    """What the last forked call printed, for the message of a harness that fails."""
    os.lseek(LAST_WORDS, 0, os.SEEK_SET)
    return os.read(LAST_WORDS, 20_000).decode("utf-8", "replace")[-2_000:]


def digests(folder: Path) -> dict[str, str]:
    """Checksums of a result; run.json holds timings and run.log times."""
    files = json.loads((folder / "manifest.json").read_text())["files"]
    return {k: v["sha256"] for k, v in files.items() if k not in ("run.json", "run.log")}


def whole(path: Path) -> bool:
    """Whether an output that exists is complete, found out in a process of its own.

    Raises
    ------
    RuntimeError
        Where the looking itself was ended, by the system or by a defect: that says nothing of the output.
    """
    code = forked(lambda: 0 if _whole(path) else 1)
    if code not in (0, 1):
        raise RuntimeError(f"looking at {path} ended with {code}: {last_words()}")
    return code == 0


def _whole(path: Path) -> bool:
    import anndata as ad
    import scipy.sparse as sp

    from cellprism.folder import verify

    if path.suffix == ".h5ad":
        return ad.read_h5ad(path).n_obs == 600
    if path.suffix == ".zarr":
        return ad.io.read_zarr(path).n_obs == 600
    if path.suffix == ".html":
        return path.read_text(encoding="utf-8").rstrip().endswith("</body>\n</html>")
    if path.suffix == ".npz":
        return sp.load_npz(path).shape[0] == 200
    return verify(path)[1] == []


def kill_and_look(name: str, line: str, output: Path, after: float, straight: dict[str, str] | None) -> str:
    """What a kill left: ``absent``, ``whole`` or ``resumed``; any other state ends the harness."""
    code = execute(line, output, after)
    state = "whole" if output.exists() else "absent"
    if output.exists() and not whole(output):
        raise AssertionError(f"{name} killed after {after:.2f} s: {output} reads as whole and is not: {last_words()}")
    others = [p.name for p in output.parent.iterdir() if p != output and not p.name.startswith(PREFIX)]
    if others:
        raise AssertionError(f"{name} killed after {after:.2f} s left {others}")
    if name == "run":
        done = execute(f"{line} --resume", output)
        if done != 0:
            raise AssertionError(f"run killed after {after:.2f} s: --resume ended with {done}: {last_words()}")
        if digests(output) != straight or not (output / "report.html").is_file():
            raise AssertionError(f"run killed after {after:.2f} s: --resume ended with another result")
        state = f"{state}, resumed to the same files"
    elif code == -signal.SIGKILL and not output.exists():
        done = execute(line, output)  # the same command again works, whatever was left
        if done != 0 or not whole(output):
            raise AssertionError(f"{name} after a kill at {after:.2f} s ended with {done}: {last_words()}")
        state = "absent, made by the next call"
    if [p for p in output.parent.iterdir() if p.name.startswith(PREFIX)]:
        raise AssertionError(f"{name} killed after {after:.2f} s: its work folder was not cleared by the next call")
    return state


def preload() -> None:
    """Import what the commands need before the forks, so that the kills meet the work and not the imports."""
    import scanpy  # noqa: F401

    import cellprism.cli
    import cellprism.folder
    import cellprism.report
    import cellprism.run
    import cellprism.simulate  # noqa: F401


def harness(
    kills: int, seed: int, *, only: Sequence[str] = (), minutes: float = inf, say: Callable[[str], None] = print
) -> dict[str, dict[str, int]]:
    """States of the outputs after each command's kills; no further round of kills begins after so many minutes."""
    warnings.simplefilter("ignore")
    preload()
    end = time.monotonic() + 60 * minutes
    rng, found = random.Random(seed), {}
    with tempfile.TemporaryDirectory() as scratch:
        inputs = Path(scratch) / "inputs"
        inputs.mkdir()
        if forked(lambda: make_inputs(inputs) or 0) != 0:
            raise AssertionError(f"no inputs: {last_words()}")
        todo = commands(inputs)
        if execute(todo["run"][0], inputs / "run") != 0:
            raise AssertionError(f"the command to be killed fails by itself: {last_words()}")
        straight = digests(inputs / "run")
        todo = {name: of for name, of in todo.items() if not only or name in only}
        takes = {}
        for name, (line, out) in todo.items():
            with tempfile.TemporaryDirectory(dir=scratch) as place:
                start = time.perf_counter()
                if execute(line, Path(place) / out) != 0:
                    raise AssertionError(f"{name} fails by itself: {last_words()}")
                takes[name] = time.perf_counter() - start
        states: dict[str, Counter[str]] = {name: Counter() for name in todo}
        for _ in range(-(-kills // len(todo))):
            if time.monotonic() > end:
                break
            for name, (line, out) in todo.items():
                place = Path(tempfile.mkdtemp(dir=scratch))
                states[name][kill_and_look(name, line, place / out, rng.uniform(0, 1.05 * takes[name]), straight)] += 1
                shutil.rmtree(place)
        for name, of in states.items():
            found[name] = dict(of)
            say(f"{name} ({takes[name]:.1f} s): {dict(of)}")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=(), help="names of commands, such as report")
    parser.add_argument("--minutes", type=float, default=inf, help="begin no further round after so long")
    arguments = parser.parse_args()
    left = harness(arguments.kills, arguments.seed, only=arguments.only, minutes=arguments.minutes)
    done = sum(sum(states.values()) for states in left.values())
    if not arguments.only:
        target = Path(__file__).parent / "results" / "kills.json"
        target.write_text(json.dumps({"kills": done, "seed": arguments.seed, "left": left}, indent=1) + "\n")
    print(f"{done} kills, nothing lost")
