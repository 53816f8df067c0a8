"""Measure how long the package takes before it does anything: ``import cellprism`` and ``--help`` of every command.

    python benchmarks/startup.py [--repeats 10] [--output benchmarks/results/startup.json]

Each is a fresh Python, timed from its start to its end, after one that is not counted; medians of the repeats in seconds, wall
and processor time. ``python`` alone and the import of everything public stand beside them; of these also the peak memory.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import typer.main
from common import machine

from cellprism.cli import app

IMPORT_LIMIT, HELP_LIMIT = 0.3, 0.5


def commands(group: Any, before: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every command and subcommand, the program itself first."""
    inner = getattr(group, "commands", {}).items()
    return [before, *(found for name, one in inner for found in commands(one, (*before, name)))]


def once(arguments: list[str]) -> tuple[float, float]:
    """Wall and processor seconds of one process."""
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    start = time.perf_counter()
    pid = os.posix_spawn(sys.executable, [sys.executable, *arguments], os.environ, file_actions=quiet)
    _, status, used = os.wait4(pid, 0)
    wall = time.perf_counter() - start
    if status:
        raise RuntimeError(f"python {' '.join(arguments)} ended with status {status}")
    return wall, used.ru_utime + used.ru_stime


def measured(arguments: list[str], repeats: int) -> dict[str, float]:
    """Medians over fresh processes."""
    once(arguments)  # writes the compiled modules and fills the file cache
    walls, cpus = zip(*(once(arguments) for _ in range(repeats)), strict=True)
    found = {"wall": statistics.median(walls), "slowest": max(walls), "cpu": statistics.median(cpus)}
    return {name: round(value, 4) for name, value in found.items()}


def peak(statement: str) -> float:
    """Largest memory of a Python that ran a statement, in megabytes; ``getrusage`` would count its parent's too."""
    program = f"{statement}\nprint(open('/proc/self/status').read())"
    status = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    return round(int(status.split("VmHWM:")[1].split()[0]) / 1024, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "startup.json")
    args = parser.parse_args()
    asked = {
        "python": ["-c", ""],
        "import cellprism": ["-c", "import cellprism"],
        "from cellprism import *": ["-c", "from cellprism import *"],
    }
    for command in commands(typer.main.get_command(app)):
        asked[" ".join(("cellprism", *command, "--help"))] = ["-m", "cellprism", *command, "--help"]
    found: dict[str, dict[str, float]] = {}
    for what, arguments in asked.items():
        found[what] = measured(arguments, args.repeats)
        if arguments[0] == "-c":
            found[what]["megabytes"] = peak(arguments[1])
        print(f"{what:42} {found[what]}", flush=True)
    helps = {what: one["wall"] for what, one in found.items() if what.endswith("--help")}
    slowest = max(helps, key=lambda what: helps[what])
    summary = {
        "import": found["import cellprism"]["wall"],
        "import_limit": IMPORT_LIMIT,
        "slowest_help": slowest,
        "help": helps[slowest],
        "help_limit": HELP_LIMIT,
        "met": found["import cellprism"]["wall"] <= IMPORT_LIMIT and helps[slowest] <= HELP_LIMIT,
    }
    print(summary)
    record = {"machine": machine(), "repeats": args.repeats, "summary": summary, "seconds": found}
    args.output.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
