"""Training throughput of one wide SAE beside other programs' own trainers, both sides in one run.

Usage: python benchmarks/training.py [--shapes wide paper] [--peers sparsify ...] [--variants topk ...] [--threads N]
           [--rounds N] [--json FILE]

The peers (sparsify, dictionary_learning, sae_lens) are optional and timed where they are installed. Ours is what `fit` runs:
whole epochs of the trainer. In each round every contender makes a few steps, one after the other; rates are medians over
rounds, so that a busy machine slows all alike. Times are wall-clock and CPU seconds. The floor is the bare product of the cells
with the encoder, in either precision: a step is stated as a multiple of it (`times_product`).
"""

from __future__ import annotations

import argparse
import inspect
import json
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from common import clock, machine

from cellprism.sae import SAE, SAEConfig
from cellprism.sae.cells import Cells
from cellprism.sae.scaling import fit_scaling
from cellprism.sae.steps.dense import DenseStep
from cellprism.sae.steps.sparse.step import SparseStep
from cellprism.sae.trainer import Trainer
from cellprism.sae.training import TrainingOptions

# d, width, k, batch, steps a round
SHAPES = {"wide": (512, 8192, 32, 2048, 2), "paper": (20, 10_000, 32, 128, 30)}
PRODUCTS = {"encoder product, bfloat16": torch.bfloat16, "encoder product, float32": torch.float32}
VARIANTS = ("topk", "batchtopk", "relu", "jumprelu", "gated", "matryoshka")
Run = Callable[[], object]
Step = Callable[[torch.Tensor], object]


def superposition(d: int, n: int) -> torch.Tensor:
    """(n, d) cells of 4 d random directions, eight active a cell."""
    g = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(4 * d, d, generator=g), dim=1)
    active = torch.rand(n, 4 * d, generator=g) < 8 / (4 * d)
    return (torch.rand(n, 4 * d, generator=g) * active) @ directions


def ours(config: SAEConfig, X: torch.Tensor, kind: str, lr: float) -> tuple[SAE, Step]:
    sae = SAE(config, fit_scaling(X.numpy(), "global"), torch.Generator().manual_seed(0))
    optimiser, options = torch.optim.Adam(sae.parameters(), lr=lr), TrainingOptions()
    step: DenseStep | SparseStep
    if kind == "dense":
        step = DenseStep(sae, optimiser, options)
    else:
        step = SparseStep(sae, optimiser, options, bf16=kind == "bf16")
    return sae, lambda x: step(sae.scale(x), None, 1.0, lr)


def config(variant: str, width: int, k: int) -> SAEConfig:
    """Our config of a variant; matryoshka is a batchtopk with two prefixes."""
    if variant == "matryoshka":
        return SAEConfig(width, "batchtopk", k=k, matryoshka=(width // 8, width // 2))
    return SAEConfig(width, variant, k=k if variant in ("topk", "batchtopk", "jumprelu") else None)


def epochs_of(cfg: SAEConfig, X: torch.Tensor, batch: int, **options: object) -> Run:
    """Whole epochs of the trainer behind `fit`, without evaluations."""
    values = X.numpy()
    sae = SAE(cfg, fit_scaling(values, "global"), torch.Generator().manual_seed(0))
    cells = Cells(sae, values, np.arange(len(values)))
    length = TrainingOptions(epochs=10**6, batch_size=batch, lr=3e-4, patience=None, warmup=0.0, decay=0.0, **options)
    trainer = Trainer(sae, cells, Cells(sae, values, np.arange(0)), length, torch.Generator().manual_seed(1), 0)
    return trainer.epoch


def steps_of(step: Step, X: torch.Tensor, batch: int) -> Run:
    """The same cells, batch by batch."""

    def run() -> None:
        order = torch.randperm(len(X))
        for i in range(0, len(X), batch):
            step(X[order[i : i + batch]])

    return run


def product_of(X: torch.Tensor, width: int, batch: int, kind: torch.dtype) -> Run:
    """The bare product of the same cells with an encoder, batch by batch: what no dense encoder can do without."""
    cells = X.to(kind)
    encoder = torch.randn(width, X.shape[1], generator=torch.Generator().manual_seed(0)).to(kind)
    out = torch.empty(batch, width, dtype=kind)

    def run() -> None:
        for i in range(0, len(cells), batch):
            torch.mm(cells[i : i + batch], encoder.T, out=out)

    return run


def paper(variant: str, d: int, width: int, k: int) -> Step:
    if variant != "relu":
        raise NotImplementedError("the published loop is a relu")
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


def sparsify(variant: str, d: int, width: int, k: int) -> Step:
    if variant != "topk":
        raise NotImplementedError("not offered by this peer")
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


def dictionary_learning(variant: str, d: int, width: int, k: int) -> Step:
    from dictionary_learning.trainers import batch_top_k, gdm, jumprelu, matryoshka_batch_top_k, standard, top_k

    kind, more = {
        "topk": (top_k.TopKTrainer, {"k": k}),
        "batchtopk": (batch_top_k.BatchTopKTrainer, {"k": k}),
        "relu": (standard.StandardTrainer, {}),
        "jumprelu": (jumprelu.JumpReluTrainer, {"target_l0": float(k)}),
        "gated": (gdm.GatedSAETrainer, {}),
        "matryoshka": (
            matryoshka_batch_top_k.MatryoshkaBatchTopKTrainer,
            {"k": k, "group_fractions": [1 / 8, 3 / 8, 1 / 2]},
        ),
    }[variant]
    trainer = kind(
        steps=10**6, activation_dim=d, dict_size=width, layer=0, lm_name="x", device="cpu", seed=0, **more
    )  # fmt: skip
    count = iter(range(10**6))
    return lambda x: trainer.update(next(count), x)


def sae_lens(variant: str, d: int, width: int, k: int) -> Step:
    from sae_lens.config import LoggingConfig, SAETrainerConfig
    from sae_lens.saes import batchtopk_sae, gated_sae, jumprelu_sae, matryoshka_batchtopk_sae, standard_sae, topk_sae
    from sae_lens.training.sae_trainer import SAETrainer

    module, name, more = {
        "topk": (topk_sae, "TopK", {"k": k}),
        "batchtopk": (batchtopk_sae, "BatchTopK", {"k": k}),
        "relu": (standard_sae, "Standard", {}),
        "jumprelu": (jumprelu_sae, "JumpReLU", {}),
        "gated": (gated_sae, "Gated", {}),
        "matryoshka": (
            matryoshka_batchtopk_sae,
            "MatryoshkaBatchTopK",
            {"k": k, "matryoshka_widths": [width // 8, width // 2, width]},
        ),
    }[variant]
    settings = getattr(module, f"{name}TrainingSAEConfig")(d_in=d, d_sae=width, device="cpu", dtype="float32", **more)
    sae = getattr(module, f"{name}TrainingSAE")(settings)
    cfg = SAETrainerConfig(
        n_checkpoints=0, checkpoint_path=None, save_final_checkpoint=False, total_training_samples=10**9, device="cpu",
        autocast=False, lr=3e-4, lr_end=3e-5, lr_scheduler_name="constant", lr_warm_up_steps=0, adam_beta1=0.9,
        adam_beta2=0.999, lr_decay_steps=0, n_restart_cycles=1, train_batch_size_samples=128, dead_feature_window=1000,
        feature_sampling_window=1000, logger=LoggingConfig(log_to_wandb=False),
    )  # fmt: skip
    trainer = SAETrainer(cfg=cfg, sae=sae, data_provider=iter(()))
    named = "sae_in" in inspect.signature(trainer._train_step).parameters
    return lambda x: trainer._train_step(sae=sae, sae_in=x) if named else trainer._train_step(sae, x)


PEERS = {"paper": paper, "sparsify": sparsify, "dictionary_learning": dictionary_learning, "sae_lens": sae_lens}


def rates(runs: dict[str, Run], n_cells: int, rounds: int) -> dict[str, dict[str, float]]:
    """Cells a second of every contender, median over rounds in which all take turns; the first round is not counted."""
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            started = clock()
            run()
            if turn:
                taken[name].append(started.since())
    return {
        name: {f"cells_per_{k}_second": n_cells / statistics.median(t[k] for t in times) for k in ("wall", "cpu")}
        for name, times in taken.items()
    }


def contenders(
    variant: str, shape: tuple[int, ...], X: torch.Tensor, peers: list[str]
) -> tuple[dict[str, Run], dict[str, str]]:
    """Ours and the peers' same variant, ready to run; and why others are missing."""
    d, width, k, batch, _ = shape
    cfg = config(variant, width, k)
    runs: dict[str, Run] = {"cellprism": epochs_of(cfg, X, batch)}
    if variant == "topk":
        runs["cellprism, float32"] = epochs_of(cfg, X, batch, precision="float32")
    runs["cellprism, dense oracle"] = epochs_of(cfg, X, batch, kernel="dense")
    for name, kind in PRODUCTS.items():
        runs[name] = product_of(X, width, batch, kind)
    missing = {}
    for peer in peers:
        try:
            step = PEERS[peer](variant, d, width, k)
            step(X[:batch])
            runs[peer] = steps_of(step, X, batch)
        except (ImportError, NotImplementedError, RuntimeError, TypeError, AttributeError, ValueError) as error:
            missing[peer] = f"{type(error).__name__}: {error}"[:200]
    return runs, missing


def curves(d: int, width: int, k: int, batch: int, steps: int) -> dict[str, object]:
    """Held-out explained variance along the same steps, by path, and the largest distance from automatic differentiation."""
    own = min(steps, 16)  # batches, used again and again
    X = superposition(d, batch * (own + 1))
    held = X[-batch:]
    variance = (held - held.mean(0)).square().sum()
    looks = sorted({*range(steps // 4, steps, steps // 4), steps})
    found: dict[str, list[float]] = {}
    for kind in ("dense", "sparse", "bf16"):
        sae, step = ours(SAEConfig(width, "topk", k=k), X, kind, lr=3e-3)
        found[kind] = []
        for i in range(steps):
            step(X[i % own * batch : (i % own + 1) * batch])
            if i + 1 in looks:
                x_hat = torch.as_tensor(sae.decode(sae.encode(held.numpy())))
                found[kind].append(float(1 - (held - x_hat).square().sum() / variance))
    away = {
        kind: max(abs(a - b) for a, b in zip(found[kind], found["dense"], strict=True)) for kind in ("sparse", "bf16")
    }
    return {"after_steps": looks, **found, "largest_distance_from_dense": away}


def main() -> None:
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--shapes", nargs="*", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=VARIANTS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--wide-curves", type=int, metavar="STEPS", help="compare the loss curves at the wide shape too"
    )
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    result: dict[str, object] = {"machine": machine(), "date": time.strftime("%Y-%m-%d")}
    for name in args.shapes:
        d, width, k, batch, steps = shape = SHAPES[name]
        X = superposition(d, steps * batch)
        by_variant: dict[str, object] = {}
        for variant in args.variants:
            runs, missing = contenders(variant, shape, X, args.peers)
            found = rates(runs, len(X), args.rounds)
            fastest = max((found[p]["cells_per_wall_second"] for p in found if p in PEERS), default=float("nan"))
            times = {p: v["cells_per_wall_second"] / fastest for p, v in found.items() if p.startswith("cellprism")}
            floor = {
                product: {
                    p: found[product]["cells_per_wall_second"] / found[p]["cells_per_wall_second"]
                    for p in found
                    if p.startswith("cellprism")
                }
                for product in PRODUCTS
            }
            by_variant[variant] = {
                "rates": found, "times_fastest_peer": times, "times_product": floor, "not_timed": missing
            }  # fmt: skip
        result[name] = {"shape": {"d": d, "width": width, "k": k, "batch": batch}, "variants": by_variant}
    result["held_out_explained_variance_d64_width2048"] = curves(64, 2048, 16, 256, 120)
    if args.wide_curves:
        result["held_out_explained_variance_wide"] = curves(512, 8192, 32, 2048, args.wide_curves)
    text = json.dumps(result, indent=2)
    print(text)
    if args.json:
        args.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
