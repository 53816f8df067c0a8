"""Lead a fuzzer by the lines that it reaches (atheris) through the readers: a result or an InputError, no more.

python benchmarks/fuzz_guided.py --executions 20000          # pip install atheris
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

TARGETS = ("gmt", "obo", "csv", "ids", "network", "config", "safetensors")
LED_BY = (
    "cellprism.data", "cellprism.genesets", "cellprism.options", "cellprism.sae.config", "cellprism.numeric",
    "cellprism.sae.folder", "cellprism.sae.io", "obonet",
)  # fmt: skip
"""Modules whose lines the fuzzer sees."""
SEEDS = {
    "gmt": b"set one\tfrom\tG1\tG2\nset two\t\tG3\n",
    "obo": b"format-version: 1.2\n\n[Term]\nid: GO:1\nname: a\n\n[Term]\nid: GO:2\nname: b\nis_a: GO:1 ! a\nalt_id: GO:3\n",
    "csv": b"cell,x,y\nc0,1.5,2\nc1,-1e3,nan\n",
    "ids": b"a,b\nENSG1,G1\nENSG2,G2\n",
    "network": b"source,target,weight\nSPI1,LYZ,1\nSPI1,CD3E,-0.5\n",
}
"""A small whole file of each to begin with; the two of an SAE are written below."""


def reader(target: str, place: Path) -> tuple[bytes, Callable[[bytes], None]]:
    """A small whole file of a kind, and what reads a file's content: without an error, or refused in one message."""
    import numpy as np

    from cellprism.data.embedding import read_embedding
    from cellprism.errors import InputError
    from cellprism.genesets import read_gmt, read_id_table, read_network, read_ontology
    from cellprism.sae import SAEConfig, load
    from cellprism.sae.controls import untrained

    sae = place / "sae"
    cells = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    untrained(cells, SAEConfig(width=4, activation="topk", k=2)).save(sae)
    whole = {"config": sae / "config.json", "safetensors": sae / "sae.safetensors"}
    readers = {
        "gmt": (place / "x.gmt", read_gmt),
        "obo": (place / "x.obo", read_ontology),
        "csv": (place / "x.csv", read_embedding),
        "ids": (place / "x.csv", lambda path: read_id_table(path, "a", "b")),
        "network": (place / "x.csv", read_network),
        "config": (whole["config"], lambda _: load(sae).encode(cells)),
        "safetensors": (whole["safetensors"], lambda _: load(sae).encode(cells)),
    }
    path, function = readers[target]
    first = whole[target].read_bytes() if target in whole else SEEDS[target]

    def read(data: bytes) -> None:
        path.write_bytes(data)
        try:
            function(path)
        except InputError:
            return

    return first, read


def one(target: str, executions: int, seed: int, corpus: Path) -> None:
    """Fuzz one reader in this process, which ends with it."""
    import atheris

    place = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    with atheris.instrument_imports(include=list(LED_BY)):
        first, read = reader(target, place)
    corpus.mkdir()
    (corpus / "whole").write_bytes(first)
    atheris.Setup(
        [sys.argv[0], str(corpus), f"-runs={executions}", f"-seed={seed}", "-max_len=4096", "-timeout=60"], read
    )
    atheris.Fuzz()


def led(target: str, executions: int, seed: int) -> dict[str, int]:
    """Executions and the lines and branches reached; what the fuzzer says where a reader fails ends the script."""
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, __file__, "--one", target, "--executions", str(executions), "--seed", str(seed)]
        done = subprocess.run([*command, "--corpus", f"{name}/corpus"], capture_output=True, text=True, cwd=name)
    said = done.stdout + done.stderr
    ran = re.search(r"Done (\d+) (?:runs )?in", said)
    if done.returncode or ran is None:
        sys.exit(f"{target}: {said[-4000:]}")
    reached = [int(n) for n in re.findall(r"cov: (\d+)", said)]
    return {"executions": int(ran[1]), "seconds": 0, "reached_at_first": reached[0], "reached": reached[-1]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--executions", type=int, default=20_000, help="of each reader")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=TARGETS, action="append", help="this reader; may be repeated")
    parser.add_argument("--one", choices=TARGETS, help=argparse.SUPPRESS)
    parser.add_argument("--corpus", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        one(arguments.one, arguments.executions, arguments.seed, arguments.corpus)
    found = {}
    for target in arguments.only or TARGETS:
        begun = time.monotonic()
        found[target] = led(target, arguments.executions, arguments.seed)
        found[target]["seconds"] = round(time.monotonic() - begun)
        print(f"{target}: {found[target]}", flush=True)
    total = sum(one["executions"] for one in found.values())
    kept = Path(__file__).parent / "results" / "fuzz_guided.json"
    kept.write_text(json.dumps({"seed": arguments.seed, "executions": total, "readers": found}, indent=1) + "\n")
    print(f"{total:,} files, each read or refused in one message")
