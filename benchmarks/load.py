"""Many readers of ``cellprism serve`` at once: errors, times, memory.

python benchmarks/load.py RUN_DIR --readers 50 --seconds 60
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np


def memory(process: int) -> float:
    """Resident MiB."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def reader(port: int, until: float, seed: int, times: list[float], wrong: list[str]) -> None:
    """Ask for the page, a block or a file, again and again."""
    rng = random.Random(seed)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    while time.monotonic() < until:
        path = rng.choice(["/", "/data/overview", "/files/run.json", "/files/none"])
        start = time.perf_counter()
        try:
            connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            wrong.append(f"{path}: {error!r}")
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            continue
        times.append(time.perf_counter() - start)
        if answer.status != (404 if path == "/files/none" else 200):
            wrong.append(f"{path}: {answer.status}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--readers", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    asked = parser.parse_args()
    command = [sys.executable, "-m", "cellprism", "serve", str(asked.run_dir), "--port", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        told = ""
        while not (found := re.search(r"http://127\.0\.0\.1:(\d+)/", told)):
            line = server.stderr.readline()
            if not line:
                raise SystemExit(told)
            told += line.strip()
        port = int(found.group(1))
        times, wrong = [], []
        half = []
        until = time.monotonic() + asked.seconds
        threads = [threading.Thread(target=reader, args=(port, until, i, times, wrong)) for i in range(asked.readers)]
        for thread in threads:
            thread.start()
        time.sleep(asked.seconds / 4)
        half.append(memory(server.pid))
        for thread in threads:
            thread.join()
        half.append(memory(server.pid))
    finally:
        server.terminate()
        server.wait()
    result = {
        "readers": asked.readers,
        "seconds": asked.seconds,
        "requests": len(times),
        "errors": len(wrong),
        "milliseconds": {f"p{q}": round(1e3 * float(np.percentile(times, q)), 1) for q in (50, 99, 100)},
        "MiB after a quarter and at the end": [round(m, 1) for m in half],
        "first errors": wrong[:5],
    }
    target = Path(__file__).parent / "results" / "load.json"
    target.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
