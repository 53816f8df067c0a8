"""What a training step costs on one and two processes, and whether the cost model of docs/howto/cluster.md says so.

Usage: python benchmarks/scaling.py [--steps 8]
Writes benchmarks/results/scaling.json: the rates of this machine (product, memory, gloo), CPU seconds a step of batchtopk at several shapes
on one process, on two that share the cells and on two that share the features (the quickest of several steps, one thread a
process; wall-clock seconds, beside them, measure what else the machine does), what the model says of them, its constants as fitted to the one-process steps, and its answers for 10^8 cells on 8 and 64 GPUs.
"""

import argparse
import dataclasses
import json
import os
import socket
import time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from common import machine as description

from cellprism.sae import SAE, SAEConfig
from cellprism.sae.ranks import cost
from cellprism.sae.ranks.cost import H100, H100_NODES, Machine, training_cost
from cellprism.sae.ranks.join import trained_together
from cellprism.sae.scaling import fit_scaling
from cellprism.sae.steps.dense import DenseStep
from cellprism.sae.training import TrainingOptions

RESULTS = Path(__file__).parent / "results" / "scaling.json"
SHAPES = [
    (64, 2_048, 512),
    (64, 8_192, 512),
    (256, 4_096, 512),
    (256, 8_192, 1_024),
    (512, 4_096, 2_048),
]  # d, width, cells
K = 32


def quickest(call, times: int, read=time.process_time) -> float:
    """Seconds of the quickest of several calls, by this process's own clock: others may be at work on the machine."""
    found = []
    for _ in range(times):
        began = read()
        call()
        found.append(read() - began)
    return min(found)


def step_seconds(d: int, width: int, batch: int, shards: int | None, times: int) -> tuple[float, float]:
    """CPU and wall-clock seconds of one training step, with everything that it does."""
    X = np.random.default_rng(0).standard_normal((batch, d)).astype(np.float32)
    cfg = SAEConfig(width, "batchtopk", k=K)
    sae = SAE(cfg, fit_scaling(X, "global"), torch.Generator().manual_seed(0))
    with trained_together(sae, shards):
        step = DenseStep(sae, torch.optim.Adam(sae.parameters()), TrainingOptions())
        x = sae.ranks.share(sae.scale(torch.as_tensor(X)))
        return tuple(
            quickest(lambda: step(x, None, 1.0, 1e-3), times, read) for read in (time.process_time, time.perf_counter)
        )


def rates() -> dict[str, float]:
    """Of one thread: a matrix product and a pass through memory."""
    a, b = torch.randn(1024, 512), torch.randn(512, 4096)
    big = torch.randn(2**26)
    out = torch.empty_like(big)
    return {
        "products": 2 * 1024 * 512 * 4096 / quickest(lambda: a @ b, 10),
        "memory": 2 * 4 * big.numel() / quickest(lambda: out.copy_(big), 6),
    }


def of_two(rank: int, port: int, times: int, folder: str) -> None:
    """What the two processes measure."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "WORLD_SIZE": "2"}
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    small, big = torch.zeros(2), torch.zeros(2**22)
    found = {
        "latency": quickest(lambda: dist.all_reduce(small), 200, time.perf_counter),
        # two processes send as many bytes as the tensor has
        "network": 4 * big.numel() / quickest(lambda: dist.all_reduce(big), 8, time.perf_counter),
        "steps": {f"{shards}": [step_seconds(*shape, shards, times) for shape in SHAPES] for shards in (1, 2)},
    }
    if rank == 0:
        (Path(folder) / "found.json").write_text(json.dumps(found))
    dist.barrier()
    dist.destroy_process_group()


def fitted(machine: dict[str, float], seconds: list[float]) -> tuple[float, float]:
    """Passes of codes and parameters through memory that explain one-process steps best, in relative error."""
    rows, rest = [], []
    for (d, width, batch), measured in zip(SHAPES, seconds, strict=True):
        parameters = width * (2 * d + 1) + d
        rows.append([4 * batch * width / machine["memory"] / measured, 4 * parameters / machine["memory"] / measured])
        rest.append(1 - 10 * batch * width * d / machine["products"] / measured)
    return tuple(np.linalg.lstsq(np.array(rows), np.array(rest), rcond=None)[0].tolist())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=8)
    times = parser.parse_args().steps
    torch.set_num_threads(1)
    before = description()
    here = rates()
    alone = [step_seconds(*shape, None, times) for shape in SHAPES]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = Path(os.environ.get("TMPDIR", "/tmp"))
    mp.spawn(of_two, (port, times, str(folder)), nprocs=2)
    two = json.loads((folder / "found.json").read_text())
    here |= {name: two[name] for name in ("latency", "network")}
    codes, parameters = fitted(here, [cpu for cpu, _ in alone])
    cost._CODE_PASSES, cost._PARAMETER_PASSES = codes, parameters
    machine = Machine(**here, reading=1.0, host_products=1.0)
    table = []
    for i, (d, width, batch) in enumerate(SHAPES):
        for processes, shards, measured in (
            (1, 1, alone[i]),
            (2, 1, two["steps"]["1"][i]),
            (2, 2, two["steps"]["2"][i]),
        ):
            said = training_cost(
                machine, cells=batch, d=d, width=width, k=K, batch=batch, processes=processes, shards=shards
            )
            cpu, wall = measured
            row = {"d": d, "width": width, "batch": batch, "processes": processes, "shards": shards}
            row |= {"cpu_seconds": cpu, "wall_seconds": wall, "cpu_share_of_one": cpu / alone[i][0]}
            row |= {"model_computing": said.computing, "model_exchanging": said.exchanging}
            row |= {"model_over_cpu": said.computing / cpu}
            table.append({name: round(value, 4) for name, value in row.items()})
            print(table[-1], flush=True)
    predicted = []
    for gpus, shards in ((8, 1), (8, 8), (64, 1), (64, 8)):
        asked = {
            "cells": 10**8,
            "d": 1152,
            "width": 131_072,
            "k": 64,
            "batch": 65_536,
            "processes": gpus,
            "shards": shards,
        }
        said = training_cost(H100 if gpus == 8 else H100_NODES, **asked)
        predicted.append(
            asked
            | {name: round(v, 1) for name, v in dataclasses.asdict(said).items()}
            | {"hours": round(said.hours, 2)}
        )
        print(predicted[-1], flush=True)
    constants = {"code_passes": round(codes, 1), "parameter_passes": round(parameters, 1)}
    found = {"machine": before, "rates": here, "constants": constants, "steps": table, "predicted": predicted}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
