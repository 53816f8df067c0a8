"""Training throughput of one wide topk SAE on a GPU: our Triton and dense steps beside sparsify's, all in one run.

Usage: python benchmarks/training_gpu.py [--shape D WIDTH K BATCH] [--steps N] [--rounds N] [--curve-steps N] [--tune]
           [--profile] [--json FILE] [--rehearse]

Needs a CUDA device and the package triton; sparsify (pip: eai-sparsify) is timed where it is installed. First the Triton step is
checked against the dense one on the CPU, then all contenders take turns, a few steps a round, with the device waited for
around each; rates are medians over rounds. Ours is what `fit` runs: whole epochs of the trainer. Sparsify's loop is that of
its own trainer (unit norms, forward under bfloat16 autocast with its Triton decoder, backward, projection, Adam), with torch's
default and with its fused Adam. The share of the matrix-product peak is that of the encoder's product alone (2 x batch x d x
width a step), against that product timed by itself, a large square one, and the chip's nominal rate. ``--rehearse`` runs
everything at toy size on the CPU, where TRITON_INTERPRET=1 is set: its times mean nothing.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import statistics
import sys
import time
import types
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from common import machine

from cellprism.sae import SAE, SAEConfig
from cellprism.sae.cells import Cells
from cellprism.sae.scaling import AffineScaling
from cellprism.sae.steps.dense import DenseStep
from cellprism.sae.trainer import Trainer
from cellprism.sae.training import TrainingOptions

NOMINAL = {
    "H200": 989.5,
    "H100": 989.5,
    "A100": 312.0,
}  # TFLOP/s of dense bfloat16 products, from the data sheets (SXM)
LR = 3e-4
Run = Callable[[], object]


class Shape(NamedTuple):
    """Dimensions, features, active features a cell, cells a step."""

    d: int
    width: int
    k: int
    batch: int

    def flops(self) -> float:
        """Of the encoder's product."""
        return 2.0 * self.batch * self.d * self.width


def superposition(shape: Shape, batches: int, device: torch.device) -> torch.Tensor:
    """Cells of 4 d random directions, eight active a cell, with mean variance 1 a dimension."""
    g = torch.Generator(device).manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(4 * shape.d, shape.d, generator=g, device=device), dim=1)
    parts = []
    for _ in range(batches):
        active = torch.rand(shape.batch, 4 * shape.d, generator=g, device=device) < 8 / (4 * shape.d)
        strength = torch.rand(shape.batch, 4 * shape.d, generator=g, device=device)
        parts.append((strength * active) @ directions)
    X = torch.cat(parts)
    return (X - X.mean(0)) / X.std()


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def new_sae(cfg: SAEConfig, d: int, device: torch.device) -> SAE:
    """A model of cells that are scaled already."""
    eye = np.eye(d, dtype=np.float32)
    return SAE(cfg, AffineScaling(np.zeros(d, np.float32), eye, eye), torch.Generator().manual_seed(0)).to(device)


def epochs_of(cfg: SAEConfig, shape: Shape, X: torch.Tensor, **options: object) -> Run:
    """Whole epochs of the trainer behind `fit`, without evaluations."""
    sae, values = new_sae(cfg, shape.d, X.device), X.cpu().numpy()
    cells, none = (Cells(sae, values, np.arange(n)) for n in (len(values), 0))
    length = TrainingOptions(
        epochs=10**6, batch_size=shape.batch, lr=LR, patience=None, warmup=0.0, decay=0.0, **options
    )
    return Trainer(sae, cells, none, length, torch.Generator().manual_seed(1), 0).epoch


def sparsify_epochs(shape: Shape, X: torch.Tensor, fused: bool) -> Run:
    """The same cells through sparsify's coder and the loop of its trainer; it is given bfloat16, as a model gives it."""
    found = find_spec("sparsify")
    if found is None:
        raise ImportError("sparsify is not installed (pip: eai-sparsify)")
    if "sparsify" not in sys.modules:
        # The coder alone: the package itself imports its readers of text, which training on arrays does not need.
        package = types.ModuleType("sparsify")
        package.__path__, package.__spec__ = list(found.submodule_search_locations or []), found
        sys.modules["sparsify"] = package
    coder, config = (importlib.import_module(f"sparsify.{name}") for name in ("sparse_coder", "config"))
    decoder = importlib.import_module("sparsify.utils").decoder_impl.__name__
    if decoder != "triton_decode":
        raise ImportError(f"sparsify decodes with {decoder}, not with its Triton kernel")
    model = coder.SparseCoder(
        shape.d, config.SparseCoderConfig(num_latents=shape.width, k=shape.k), device=str(X.device), dtype=torch.float32
    )
    optimiser = torch.optim.Adam(model.parameters(), lr=LR, fused=fused or None)
    values = X.bfloat16()

    def run() -> None:
        order = torch.randperm(len(values), device=values.device)
        for i in range(0, len(values), shape.batch):
            model.set_decoder_norm_to_unit_norm()
            model(values[order[i : i + shape.batch]]).fvu.backward()
            model.remove_gradient_parallel_to_decoder_directions()
            optimiser.step()
            optimiser.zero_grad()

    return run


def contenders(shape: Shape, X: torch.Tensor) -> tuple[dict[str, Run], dict[str, float], dict[str, str]]:
    """Ready to run, with a first epoch behind them; gigabytes each takes at most; why others are missing."""
    topk, batch = (SAEConfig(shape.width, kind, k=shape.k) for kind in ("topk", "batchtopk"))
    makers: dict[str, Callable[[], Run]] = {
        "cellprism, triton": lambda: epochs_of(topk, shape, X, kernel="triton", precision="bfloat16"),
        "cellprism, triton, float32": lambda: epochs_of(topk, shape, X, kernel="triton", precision="float32"),
        "cellprism, triton, batchtopk": lambda: epochs_of(batch, shape, X, kernel="triton", precision="bfloat16"),
        "cellprism, dense": lambda: epochs_of(topk, shape, X, kernel="dense"),
        "sparsify": lambda: sparsify_epochs(shape, X, fused=False),
        "sparsify, fused Adam": lambda: sparsify_epochs(shape, X, fused=True),
    }
    runs: dict[str, Run] = {}
    memory: dict[str, float] = {}
    missing: dict[str, str] = {}
    for name, make in makers.items():
        gc.collect()
        base = 0
        if X.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
            base = torch.cuda.memory_allocated()
        try:
            run = make()
            run()
            wait(X.device)
        except (ImportError, RuntimeError, TypeError, AttributeError, ValueError) as error:
            if name == "cellprism, triton":
                raise
            missing[name] = f"{type(error).__name__}: {error}"[:300]
            continue
        runs[name] = run
        if X.device.type == "cuda":
            memory[name] = (torch.cuda.max_memory_allocated() - base) / 1e9
    return runs, memory, missing


def seconds(runs: dict[str, Run], rounds: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of every contender by round, all taking turns; the first round is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            wait(device)
            started = time.perf_counter()
            run()
            wait(device)
            if turn:
                taken[name].append(time.perf_counter() - started)
    return taken


def product_seconds(n: int, d: int, width: int, device: torch.device, repeats: int = 50) -> float:
    """Median seconds of a bfloat16 product (n, d) x (d, width)."""
    a, b = (torch.randn(rows, d, device=device).bfloat16() for rows in (n, width))
    out = torch.empty(n, width, dtype=torch.bfloat16, device=device)
    taken = []
    for _ in range(repeats + 5):
        wait(device)
        started = time.perf_counter()
        torch.mm(a, b.T, out=out)
        wait(device)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[5:])


def peaks(shape: Shape, device: torch.device, square: int) -> dict[str, float | None]:
    """Rates of matrix products in TFLOP/s: the encoder's shape, a large square one, nominal."""
    name = torch.cuda.get_device_name() if device.type == "cuda" else ""
    return {
        "encoder_shape": shape.flops() / product_seconds(shape.batch, shape.d, shape.width, device) / 1e12,
        "square": 2.0 * square**3 / product_seconds(square, square, square, device) / 1e12,
        "nominal": next((rate for chip, rate in NOMINAL.items() if chip in name), None),
    }


def check(shape: Shape, device: torch.device, steps: int = 5) -> dict[str, object]:
    """Largest differences between the Triton step on the device and the dense one on the CPU after some steps."""
    from cellprism.sae.steps.triton.step import TritonStep

    X = superposition(shape, steps, torch.device("cpu"))
    found: dict[str, object] = {"shape": shape._asdict(), "steps": steps}
    for kind, bf16 in product(("topk", "batchtopk"), (False, True)):
        cfg = SAEConfig(shape.width, kind, k=shape.k)
        models = [new_sae(cfg, shape.d, torch.device("cpu")), new_sae(cfg, shape.d, device)]
        dense = DenseStep(models[0], torch.optim.Adam(models[0].parameters()), TrainingOptions())
        triton = TritonStep(models[1], torch.optim.Adam(models[1].parameters()), TrainingOptions(), bf16=bf16)
        silent, loss = torch.arange(shape.width) % 7 == 0, 0.0
        for i in range(steps):
            x = X[i * shape.batch : (i + 1) * shape.batch]
            dead = silent if i % 2 else None
            a = dense(x, dead, 1.0, 1e-3)
            b = triton(x.to(device), dead if dead is None else dead.to(device), 1.0, 1e-3)
            loss = max(loss, abs(a.total - b.total) / a.total)
        away = [
            (p - q.cpu()).abs().detach()
            for p, q in zip(models[0].parameters(), models[1].parameters(), strict=True)
        ]  # fmt: skip
        found[f"{kind}, {'bfloat16' if bf16 else 'float32'}"] = {
            "loss_relative": loss,
            "parameters_largest": max(float(p.max()) for p in away),
            "parameters_median": max(float(p.median()) for p in away),
        }
    return found


def curves(shape: Shape, device: torch.device, steps: int, lr: float = 1e-3) -> dict[str, object]:
    """Held-out explained variance along the same steps, by path, and the largest distance from the dense one."""
    from cellprism.sae.steps.triton.step import TritonStep

    own = min(steps, 12)  # batches, used again and again
    X = superposition(shape, own + 1, device)
    held, cfg = X[-min(2_048, shape.batch) :], SAEConfig(shape.width, "topk", k=shape.k)
    variance = (held - held.mean(0)).square().sum()
    looks = sorted({*range(max(1, steps // 5), steps, max(1, steps // 5)), steps})
    paths = {"dense": None, "triton": True, "triton_float32": False}
    found: dict[str, list[float]] = {}
    for name, bf16 in paths.items():
        sae = new_sae(cfg, shape.d, device)
        optimiser, options = torch.optim.Adam(sae.parameters()), TrainingOptions()
        step = (
            DenseStep(sae, optimiser, options) if bf16 is None else TritonStep(sae, optimiser, options, bf16=bf16)
        )  # fmt: skip
        found[name] = []
        for i in range(steps):
            step(X[i % own * shape.batch : (i % own + 1) * shape.batch], None, 1.0, lr)
            if i + 1 in looks:
                with torch.no_grad():
                    x_hat = sae.reconstruct(sae.activation(sae.pre_activations(held)))
                found[name].append(float(1 - (held - x_hat).square().sum() / variance))
        del sae, optimiser, step
        gc.collect()
    away = {name: max(abs(a - b) for a, b in zip(found[name], found["dense"], strict=True)) for name in found}
    return {"after_steps": looks, **found, "largest_distance_from_dense": away}


def tune(shape: Shape, X: torch.Tensor, rounds: int) -> list[dict[str, object]]:
    """Milliseconds a step by sizes of the kernels' tiles, one size changed at a time, fastest first."""
    from cellprism.sae.steps.triton.step import Tiles, TritonStep

    choices = {
        "groups": (512, 2_048, 4_096),
        "decode_chunk": (32, 64, 256),
        "decode_numbers": (4_096, 16_384),
        "decode_warps": (4, 16),
        "gradient_slots": (4, 8, 32),
        "gradient_chunk": (64, 256, 512),
        "gradient_warps": (1, 2, 8),
    }
    tried = [Tiles(), *(Tiles(**{name: value}) for name, values in choices.items() for value in values)]
    found = []
    for tiles in tried:
        sae = new_sae(SAEConfig(shape.width, "topk", k=shape.k), shape.d, X.device)
        step = TritonStep(
            sae, torch.optim.Adam(sae.parameters()), TrainingOptions(), bf16=X.device.type == "cuda", tiles=tiles
        )
        batches = X.split(shape.batch)

        def run(step: TritonStep = step, batches: tuple[torch.Tensor, ...] = batches) -> None:
            for x in batches:
                step(x, None, 1.0, LR)

        try:
            run()
            taken = statistics.median(seconds({"": run}, rounds, X.device)[""])
        except RuntimeError as error:  # more registers or shared memory than there are
            found.append({"tiles": tiles._asdict(), "ms": float("inf"), "error": str(error)[:200]})
            continue
        found.append({"tiles": tiles._asdict(), "ms": 1e3 * taken / len(batches)})
    return sorted(found, key=lambda row: row["ms"])


def profile(runs: dict[str, Run], steps: int) -> dict[str, dict[str, float]]:
    """Milliseconds a step by what ran on the device, the twelve longest of each contender."""
    found = {}
    for name, run in runs.items():
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as seen:
            run()
            torch.cuda.synchronize()
        events = sorted(seen.key_averages(), key=lambda e: -e.device_time_total)[:12]
        found[name] = {e.key[:90]: e.device_time_total / 1e3 / steps for e in events}
    return found


def main() -> None:
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", type=int, nargs=4, metavar=("D", "WIDTH", "K", "BATCH"))
    parser.add_argument("--steps", type=int, default=20, help="steps a round")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--curve-steps", type=int, default=300)
    parser.add_argument("--tune", action="store_true", help="time other sizes of the kernels' tiles too")
    parser.add_argument("--profile", action="store_true", help="tell the time of each kernel")
    parser.add_argument("--rehearse", action="store_true", help="toy sizes on the CPU, in Triton's interpreter")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if find_spec("triton") is None:
        sys.exit("training_gpu needs the package triton: pip install 'cellprism[triton]'")
    if not args.rehearse and not torch.cuda.is_available():
        sys.exit("training_gpu needs a CUDA device, and torch finds none here; --rehearse tests the script without one")
    device = torch.device("cpu" if args.rehearse else "cuda")
    shape = Shape(*(args.shape or ((20, 64, 4, 8) if args.rehearse else (1_152, 32_768, 64, 8_192))))
    small = Shape(12, 40, 3, 8) if args.rehearse else Shape(100, 2_048, 16, 512)
    result: dict[str, object] = {"machine": machine(), "date": time.strftime("%Y-%m-%d"), "rehearsal": args.rehearse}
    if device.type == "cuda":
        result["gpu"] = torch.cuda.get_device_name()
    result["triton"] = importlib.import_module("triton").__version__
    result["shape"] = shape._asdict()

    def keep() -> None:
        # after each part, so that a run that is cut off leaves what it has
        if args.json:
            args.json.write_text(json.dumps(result, indent=2) + "\n")

    result["differences_from_the_cpu"] = check(small, device)
    print(json.dumps(result["differences_from_the_cpu"], indent=2), flush=True)
    keep()
    result["product_teraflops"] = found = peaks(shape, device, 256 if args.rehearse else 8_192)
    X = superposition(shape, args.steps, device)
    runs, memory, missing = contenders(shape, X)
    taken = seconds(runs, args.rounds, device)
    result["rates"] = rates = {}
    for name, times in taken.items():
        step = statistics.median(times) / args.steps
        rates[name] = {
            "ms_a_step": 1e3 * step,
            "ms_least": 1e3 * min(times) / args.steps,
            "ms_most": 1e3 * max(times) / args.steps,
            "cells_a_second": shape.batch / step,
            "share_of_peak": {of: shape.flops() / step / 1e12 / rate for of, rate in found.items() if rate},
            "peak_gigabytes": memory.get(name),
        }
    peers = [rates[name]["cells_a_second"] for name in rates if name.startswith("sparsify")]
    result["times_fastest_sparsify"] = {
        name: rates[name]["cells_a_second"] / max(peers) for name in rates if peers and name.startswith("cellprism")
    }
    result["not_timed"] = missing
    keep()
    if args.profile and device.type == "cuda":
        result["profile_ms_a_step"] = profile(runs, args.steps)
        keep()
    runs.clear()
    gc.collect()
    if args.tune:
        result["tuning"] = tune(shape, X, max(3, args.rounds // 3))
        keep()
    result["held_out_explained_variance"] = curves(shape, device, args.curve_steps)
    keep()
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
