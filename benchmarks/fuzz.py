"""Run the readers under generated and damaged files for a stated number of executions: a result or an InputError, no more.

python benchmarks/fuzz.py --executions 2000
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))


def executions(kind: str, wanted: int, seed: int) -> int:
    """Read so many files of a kind; an exception that is no InputError ends the script with the smallest file that gives it."""
    from bad_input.test_generated import READERS, reads
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded

    suffix, reader, strategy = READERS[kind]
    n = 0

    @seeded(seed)
    @settings(
        max_examples=wanted, deadline=None, database=None, suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )  # fmt: skip
    @given(strategy)
    def check(data: bytes) -> None:
        nonlocal n
        n += 1
        reads(suffix, reader, data)

    check()
    return n


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--executions", type=int, default=2_000, help="of each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no further reader after so long")
    arguments = parser.parse_args()
    from bad_input.test_generated import READERS

    done: dict[str, int] = {}
    end = time.monotonic() + 60 * arguments.minutes
    for kind in READERS:
        if time.monotonic() > end:
            break
        done[kind] = executions(kind, arguments.executions, arguments.seed)
        print(f"{kind}: {done[kind]:,} files")
    target = Path(__file__).parent / "results" / "fuzz.json"
    found = {
        "seed": arguments.seed,
        "readers": done,
        "executions": sum(done.values()),
        "not_reached": len(READERS) - len(done),
    }
    target.write_text(json.dumps(found, indent=1) + "\n")
    print(f"{found['executions']:,} files, each read or refused in one message")
