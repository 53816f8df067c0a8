"""Training throughput of one wide SAE beside other programs' own trainers, both sides in one run.

Usage: python benchmarks/training.py [--peers sparsify ...] [--threads N] [--json FILE]

The peers (sparsify, dictionary_learning, sae_lens) are optional and timed where they are installed. Times are wall-clock and
CPU seconds; on a machine that does other work, compare the CPU seconds (run with one thread, so that waiting threads do not
burn them).
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from common import clock, machine

from cellprism.sae import SAE, SAEConfig
from cellprism.sae.dense import DenseStep
from cellprism.sae.scaling import fit_scaling
from cellprism.sae.sparse import SparseStep
from cellprism.sae.training import TrainingOptions

SHAPES = {"wide": (512, 8192, 32, 2048, 3), "paper": (20, 10_000, 32, 128, 30)}
Step = Callable[[torch.Tensor], object]


def superposition(d: int, n: int) -> torch.Tensor:
    """(n, d) cells of 4 d random directions, eight active a cell."""
    g = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(4 * d, d, generator=g), dim=1)
    active = torch.rand(n, 4 * d, generator=g) < 8 / (4 * d)
    return (torch.rand(n, 4 * d, generator=g) * active) @ directions


def ours(config: SAEConfig, X: torch.Tensor, kind: str) -> tuple[SAE, Step]:
    sae = SAE(config, fit_scaling(X.numpy(), "global"), torch.Generator().manual_seed(0))
    optimiser, options = torch.optim.Adam(sae.parameters(), lr=3e-4), TrainingOptions()
    step: DenseStep | SparseStep
    if kind == "dense":
        step = DenseStep(sae, optimiser, options)
    else:
        step = SparseStep(sae, optimiser, options, bf16=kind == "bf16")
    return sae, lambda x: step(sae.scale(x), None, 1.0, 3e-4)


def paper(d: int, width: int, k: int) -> Step:
    encoder, decoder = torch.nn.Linear(d, width), torch.nn.Linear(width, d)
    optimiser = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-4)

    def step(x: torch.Tensor) -> None:
        codes = torch.relu(encoder(x))
        loss = torch.nn.functional.mse_loss(decoder(codes), x) + 1e-3 * codes.abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        loss.item()

    return step


def sparsify(d: int, width: int, k: int) -> Step:
    from sparsify import SparseCoder, SparseCoderConfig

    coder = SparseCoder(d, SparseCoderConfig(num_latents=width, k=k), device="cpu")
    optimiser = torch.optim.Adam(coder.parameters(), lr=3e-4)

    def step(x: torch.Tensor) -> None:
        coder.set_decoder_norm_to_unit_norm()
        coder(x).fvu.backward()
        coder.remove_gradient_parallel_to_decoder_directions()
        optimiser.step()
        optimiser.zero_grad()

    return step


def dictionary_learning(d: int, width: int, k: int) -> Step:
    from dictionary_learning.trainers.top_k import TopKTrainer

    trainer = TopKTrainer(
        steps=10**6, activation_dim=d, dict_size=width, k=k, layer=0, lm_name="x", device="cpu", seed=0
    )
    count = iter(range(10**6))
    return lambda x: trainer.update(next(count), x)


PEERS = {"paper": paper, "sparsify": sparsify, "dictionary_learning": dictionary_learning}


def timed(step: Step, X: torch.Tensor, batch: int, steps: int) -> dict[str, float]:
    """Median cells a second, by the wall clock and by CPU time; the first step is not counted."""
    step(X[:batch])
    taken: list[dict[str, float]] = []
    for i in range(1, steps + 1):
        start = (i * batch) % len(X)
        started = clock()
        step(X[start : start + batch])
        taken.append(started.since())
    return {f"cells_per_{k}_second": batch / statistics.median(t[k] for t in taken) for k in ("wall", "cpu")}


def curves(d: int, width: int, k: int, batch: int, steps: int) -> dict[str, float]:
    """Held-out explained variance after the same steps, by path."""
    X = superposition(d, batch * (steps + 2))
    held = X[-batch:]
    found = {}
    for kind in ("dense", "sparse", "bf16"):
        sae, step = ours(SAEConfig(width, "topk", k=k), X, kind)
        for i in range(steps):
            step(X[i * batch : (i + 1) * batch])
        x_hat = torch.as_tensor(sae.decode(sae.encode(held.numpy())))
        found[kind] = float(1 - (held - x_hat).square().sum() / (held - held.mean(0)).square().sum())
    return found


def main() -> None:
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--shapes", nargs="*", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    result: dict[str, object] = {"machine": machine(), "date": time.strftime("%Y-%m-%d")}
    for name in args.shapes:
        d, width, k, batch, steps = SHAPES[name]
        X = superposition(d, 8 * batch)
        rates: dict[str, object] = {}
        for label, config, kind in (
            ("cellprism topk bf16", SAEConfig(width, "topk", k=k), "bf16"),
            ("cellprism topk fp32", SAEConfig(width, "topk", k=k), "sparse"),
            ("cellprism batchtopk fp32", SAEConfig(width, "batchtopk", k=k), "sparse"),
            ("cellprism topk, dense oracle", SAEConfig(width, "topk", k=k), "dense"),
        ):
            rates[label] = timed(ours(config, X, kind)[1], X, batch, steps)
        for peer in args.peers:
            try:
                rates[peer] = timed(PEERS[peer](d, width, k), X, batch, steps)
            except (ImportError, RuntimeError) as error:
                rates[peer] = f"not timed: {error}"
        result[name] = {"shape": {"d": d, "width": width, "k": k, "batch": batch}, "rates": rates}
    result["held_out_explained_variance_after_60_steps_d64_width2048"] = curves(64, 2048, 16, 256, 60)
    text = json.dumps(result, indent=2)
    print(text)
    if args.json:
        args.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
