"""What the benchmark scripts share: clocks and a description of the machine."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass

import torch

__all__ = ["clock", "machine"]


@dataclass(frozen=True)
class _Clock:
    wall: float
    cpu: float

    def since(self) -> dict[str, float]:
        """Wall-clock and CPU seconds (of all threads) since this clock was read."""
        return {"wall": time.perf_counter() - self.wall, "cpu": time.process_time() - self.cpu}


def clock() -> _Clock:
    """Read both clocks."""
    return _Clock(time.perf_counter(), time.process_time())


def machine() -> dict[str, object]:
    """Processor, threads, load and versions."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            model = next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0],
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
