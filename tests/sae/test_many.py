import time
from functools import partial

import numpy as np
import pytest
import torch
from sae.cases import VARIANTS, embedding

from cellprism.errors import InputError
from cellprism.sae import SAE, Fit, SAEConfig, fit, fit_many, jobs
from cellprism.sae.jobs import Job
from cellprism.sae.trainer import Trainer


def parameters(sae: SAE) -> np.ndarray:
    return np.concatenate([t.detach().numpy().ravel() for t in sae.state_dict().values()])


def side_by_side(*args: object, threads: int = 2, **options: object) -> list[Fit]:
    """``fit_many`` with so many threads; the rest of the test keeps its own number."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        fits = fit_many(*args, **options)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    return fits


def test_each_model_is_its_twin() -> None:
    X = embedding()
    configs = [
        *list(VARIANTS.values())[::3],
        SAEConfig(30, "relu", l1=0.1),
        SAEConfig(8, "topk", k=2, scaling="whiten"),
    ]
    lrs = [1e-3 * (1 + i % 3) for i in range(len(configs))]
    many = side_by_side(X, configs, seed=4, lr=lrs, epochs=3, batch_size=100)
    assert [f.sae.config for f in many] == configs
    for config, lr, got in zip(configs, lrs, many, strict=True):
        alone = fit(X, config, seed=4, lr=lr, epochs=3, batch_size=100)
        np.testing.assert_allclose(parameters(got.sae), parameters(alone.sae), rtol=1e-3, atol=1e-4)
        np.testing.assert_array_equal(got.holdout, alone.holdout)
        assert got.metrics["l0"] == pytest.approx(alone.metrics["l0"], rel=0.02)
        assert got.history["loss"].iloc[-1] == pytest.approx(alone.history["loss"].iloc[-1], rel=0.02)
        assert got.options["lr"] == lr


def test_seeds_differ_and_follow_the_list() -> None:
    X = embedding()
    many = side_by_side(X, [VARIANTS["relu"]] * 3, seeds=[1, 2, 1], epochs=3)
    np.testing.assert_array_equal(parameters(many[0].sae), parameters(many[2].sae))
    assert not np.array_equal(parameters(many[0].sae), parameters(many[1].sae))
    np.testing.assert_array_equal(many[1].holdout, fit(X, VARIANTS["relu"], seed=2, epochs=3).holdout)


def test_lengths_and_stopping_are_each_models_own() -> None:
    many = side_by_side(embedding(), [VARIANTS["topk"]] * 2, epochs=[2, 6], patience=[None, 3])
    assert [len(f.history) for f in many] == [2, 6]


@pytest.mark.parametrize(("budget", "most"), [(50, 1), (250, 2), (900, 3)])
def test_no_more_models_train_at_a_time_than_the_budget_holds(
    budget: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, configs = embedding(), [VARIANTS["topk"]] * 6
    alone = fit(X, configs[0], epochs=2)
    running, seen, run = [], [], Job.run

    def watched(self: Job, report: object) -> object:
        running.append(self)
        seen.append(len(running))
        time.sleep(0.02)  # for as many to start as may
        try:
            return run(self, report)
        finally:
            running.remove(self)

    monkeypatch.setattr(Job, "run", watched)
    monkeypatch.setattr(Job, "memory", lambda self: 100)
    many = side_by_side(X, configs, threads=3, epochs=2, memory_budget=budget)
    assert max(seen) == most
    for got in many:
        np.testing.assert_allclose(parameters(got.sae), parameters(alone.sae), rtol=1e-3, atol=1e-4)


def test_a_job_knows_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    trainers, start = [], Trainer.__init__

    def watched(self: Trainer, *args: object) -> None:
        start(self, *args)
        trainers.append(self)

    sizes, memory = [], Job.memory
    monkeypatch.setattr(Trainer, "__init__", watched)
    monkeypatch.setattr(Job, "memory", lambda self: sizes.append(memory(self)) or sizes[-1])
    for kernel in ("dense", "sparse"):
        side_by_side(embedding(d=20), [SAEConfig(400, "gated")] * 2, epochs=1, batch_size=64, kernel=kernel)
        trainer = trainers[-1]
        held = [*trainer.sae.parameters(), *trainer.good_state.values(), *trainer.best_state.values()]
        held += [m for state in trainer.optimiser.state.values() for m in state.values()]
        held += list(getattr(trainer.step, "gradients", {}).values())
        bytes_held = sum(t.nbytes for t in held)
        assert bytes_held < sizes[-1] < 3 * bytes_held


BAD = {
    "no config": ([], {}, "at least one config"),
    "too few seeds": ([VARIANTS["relu"]] * 2, {"seeds": [1]}, "`seeds` needs one value a config; met 1 for 2"),
    "too few rates": ([VARIANTS["relu"]] * 2, {"lr": [1e-3]}, "`lr` needs one value a config"),
    "no budget": ([VARIANTS["relu"]], {"memory_budget": 0}, "`memory_budget` must be more than 0; met 0"),
    "unknown option": ([VARIANTS["relu"]], {"speed": 3}, "must be known"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_lists_are_refused(name: str) -> None:
    configs, options, message = BAD[name]
    with pytest.raises(InputError, match=message):
        fit_many(embedding(), configs, **options)


def test_a_failing_call_ends_the_others():
    cancellation, begun = jobs.Cancellation(), []

    def waits(i):
        begun.append(i)
        for _ in range(2_000):
            cancellation.check()
            time.sleep(0.01)

    def fails():
        raise ValueError("the first one")

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(ValueError, match="the first one"):
            jobs.side_by_side(
                [partial(waits, 0), fails, partial(waits, 1), partial(waits, 2), partial(waits, 3)], cancellation
            )
    finally:
        torch.set_num_threads(before)
    assert len(begun) <= 2  # one beside the failing call, and one that took its place before it was seen


@pytest.mark.parametrize("seeds", [0, 1.5, "01"])
def test_seeds_of_many_are_a_list(seeds: object) -> None:
    with pytest.raises(InputError, match="seed"):
        fit_many(np.random.default_rng(0).normal(size=(60, 4)), [SAEConfig(4, "relu")] * 2, seeds=seeds, epochs=1)
