"""What the processes of tests/sae/test_ranks.py do, each by itself: ``python rank_cases.py FOLDER RANK SIZE [long]``."""

from __future__ import annotations

import dataclasses
import pickle
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

sys.path.insert(0, str(Path(__file__).parents[1]))

from sae.cases import VARIANTS, WIDTH, embedding, random_sae

from cellprism.errors import InputError
from cellprism.sae import SAEConfig, fit
from cellprism.sae.checkpoint import Checkpoint
from cellprism.sae.ranks.join import agree, trained_together
from cellprism.sae.steps.dense import DenseStep
from cellprism.sae.training import TrainingOptions

CELLS = 37  # not a multiple of the processes
DEAD = torch.arange(WIDTH) % 3 == 0
TRAINED = {
    "batchtopk": dataclasses.replace(VARIANTS["batchtopk"], dead_after=1),
    "matryoshka-topk": dataclasses.replace(VARIANTS["matryoshka-topk"], resample_every=2),
    "jumprelu": VARIANTS["jumprelu"],
}
OPTIONS: dict[str, Any] = {"epochs": 6, "batch_size": 50, "patience": None, "kernel": "dense"}


def stepped(name: str, shards: int | None, cells: int = CELLS) -> dict[str, Any]:
    """A model, its loss and its errors after a step on one batch, in float64, with dead features and a cut gradient."""
    sae = random_sae(VARIANTS[name])
    x = sae.scale(torch.as_tensor(embedding(cells, seed=1)).double())
    with trained_together(sae, shards):
        step = DenseStep(sae, torch.optim.Adam(sae.parameters()), TrainingOptions(max_grad_norm=0.05))
        result = step(sae.ranks.share(x), DEAD, 0.8, 1e-2)
        with torch.no_grad():
            if name.endswith("batchtopk"):
                sae.activation.calibrate(sae.pre_activations(sae.ranks.share(x)))
        errors = step.errors(sae.ranks.share(x))
    numbers = [result.total, result.reconstruction, result.penalty, result.auxiliary, *errors]
    return {
        "state": {k: v.numpy() for k, v in sae.state_dict().items()},
        "numbers": numbers,
        "fired": result.fired.numpy(),
    }


def trained(name: str, **options: Any) -> dict[str, Any]:
    """A whole training by the public function."""
    cfg = TRAINED[name]
    if options.get("dictionary_shards", 1) > 1:
        cfg = dataclasses.replace(cfg, resample_every=None)
    found = fit(embedding(400), cfg, seed=3, **(OPTIONS | options))
    return {
        "mse": found.history["holdout_mse"].to_numpy(),
        "state": {k: v.numpy() for k, v in found.sae.state_dict().items()},
        "alone": found.sae.ranks.alone,
    }


@contextmanager
def keeping_a_state(aside: Path, number: int = 3) -> Iterator[None]:
    """Lay a copy of the state that is written as the ``number``-th aside, as a kill after it would leave it."""
    write, count = Checkpoint.write, 0

    def write_and_copy(self: Checkpoint, *state: Any) -> None:
        nonlocal count
        write(self, *state)
        count += 1
        if count == number:
            aside.mkdir()
            shutil.copy(self.path, aside)

    Checkpoint.write = write_and_copy
    yield
    Checkpoint.write = write


def refused(call: Callable[[], object]) -> str:
    """The message of what is raised."""
    try:
        call()
    except InputError as error:
        return str(error)
    return "not refused"


def work(folder: Path, rank: int, size: int) -> dict[str, Any]:
    """All that is asked of this process."""
    found: dict[str, Any] = {}
    for shards in (s for s in (1, 2, 4) if s <= size):
        found |= {("step", name, shards): stepped(name, shards) for name in VARIANTS}
        found["few", shards] = stepped("batchtopk", shards, cells=1)  # a share without cells
    if size > 2:
        return found
    found |= {("fit", name, shards): trained(name, dictionary_shards=shards) for name in TRAINED for shards in (1, 2)
              if not (shards > 1 and TRAINED[name].resample_every)}  # fmt: skip
    for shards in (1, 2):
        with keeping_a_state(folder / f"left-by-{shards}"):
            trained("batchtopk", dictionary_shards=shards, checkpoint=folder / f"states-{shards}", checkpoint_every=7)
    if (folder / "left-by-one").exists():
        dist.barrier()
        for shards in (1, 2):
            place = folder / f"goes-on-{shards}"
            if rank == 0:
                shutil.copytree(folder / "left-by-one", place)
            dist.barrier()
            found["goes on", shards] = trained("batchtopk", dictionary_shards=shards, checkpoint=place)
    k = 3 if rank == 0 else 4
    X = embedding(400)
    found["config"] = refused(lambda: fit(X, SAEConfig(WIDTH, "topk", k=k), **OPTIONS))
    found["cells"] = refused(lambda: fit(X + rank, SAEConfig(WIDTH, "topk", k=3), **OPTIONS))
    found["option"] = refused(lambda: agree({"lr": 1.0} if rank else {}))
    found["width"] = refused(lambda: fit(X, SAEConfig(WIDTH + 1, "topk", k=3), **OPTIONS, dictionary_shards=2))
    found["recipe"] = refused(lambda: fit(X, **OPTIONS))
    found["resample"] = refused(lambda: fit(X, TRAINED["matryoshka-topk"], **OPTIONS, dictionary_shards=2))
    found["triton"] = refused(lambda: fit(X, SAEConfig(WIDTH, "topk", k=3), **(OPTIONS | {"kernel": "triton"})))
    return found


def train_long(folder: Path) -> dict[str, Any]:
    """A training that takes minutes, with a state every few steps."""
    return trained("batchtopk", epochs=20_000, checkpoint=folder / "states", checkpoint_every=20)


def main(folder: Path, rank: int, size: int, call: Callable[[Path, int, int], dict[str, Any]]) -> None:
    """Meet the others, work, and leave what was found."""
    torch.set_num_threads(1)
    meeting = f"file://{folder / 'meeting'}"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=size, timeout=timedelta(seconds=60))
    (folder / f"{rank}.pickle").write_bytes(pickle.dumps(call(folder, rank, size)))
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    long = sys.argv[4:] == ["long"]
    main(
        Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), (lambda folder, *_: train_long(folder)) if long else work
    )
