"""Numbers that cannot be, and numbers out of range: each public function refuses them by name, before anything else."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import cellprism as prism
from cellprism import embed, recovery, simulate
from cellprism.data.thin import thin
from cellprism.embed.autoencoder import Architecture, AutoencoderModel
from cellprism.embed.autoencoder_tuning import tune
from cellprism.embed.dgd import DGDModel
from cellprism.embed.dgd_config import DGDConfig
from cellprism.embed.dgd_train import TrainOptions
from cellprism.embed.drvi import DRVIModel
from cellprism.embed.pca import PCAModel
from cellprism.embed.scvi import SCVIModel
from cellprism.errors import InputError
from cellprism.evaluation.planted import over_grid, planted
from cellprism.features.options import CompareOptions, EvidenceOptions, NullOptions
from cellprism.numeric import as_declared, numbers_checked
from cellprism.ranges import LARGEST, RANGES, range_of, within
from cellprism.run import RunOptions
from cellprism.run.evaluation import evaluate_folder
from cellprism.sae.training import TrainingOptions
from cellprism.simulate.measurement import Measurement
from cellprism.steering import Edit

MADE_BY_CALLERS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "SAEConfig": (prism.SAEConfig, {"width": 8}),
    "SAEConfig.paper": (prism.SAEConfig.paper, {}),
    "Edit": (Edit, {}),
    "TrainingOptions": (TrainingOptions, {}),
    "RunOptions": (RunOptions, {"data": "cells.h5ad", "output": "out"}),
    "EvidenceOptions": (EvidenceOptions, {}),
    "NullOptions": (NullOptions, {}),
    "CompareOptions": (CompareOptions, {}),
    "Architecture": (Architecture, {"n_genes": 9}),
    "DGDConfig": (DGDConfig, {}),
    "TrainOptions": (TrainOptions, {}),
    "tune": (tune, {}),
    "thin": (thin, {}),
    "over_grid": (over_grid, {}),
    "planted": (planted, {}),
    "evaluate_folder": (evaluate_folder, {}),
    "Measurement": (Measurement, {}),
    "Programme": (simulate.Programme, {}),
    "LargeProcess": (simulate.LargeProcess, {}),
    "LargeProcess.draw": (simulate.LargeProcess(30, 5, 4).draw, {}),
    "Trial": (recovery.Trial, {}),
    "Preset.simulate": (next(iter(recovery.PRESETS.values())).simulate, {}),
    "Task.of": (recovery.Task.of, {}),
    **{f"{m.__name__}.fit": (m.fit, {}) for m in (PCAModel, AutoencoderModel, DGDModel, SCVIModel, DRVIModel)},
}
"""Classes that callers make, and methods, with what they need at least; all other public classes are results."""
ROOMS = [prism, *(getattr(prism, n) for n in prism.__all__ if isinstance(getattr(prism, n), types.ModuleType))]
FUNCTIONS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = MADE_BY_CALLERS | {
    f"{room.__name__.removeprefix('cellprism').lstrip('.')}.{name}".lstrip("."): (getattr(room, name), {})
    for room in ROOMS
    for name in getattr(room, "__all__", ())
    if inspect.isfunction(getattr(room, name))
}


def is_number(parameter: inspect.Parameter) -> bool:
    """Whether its annotation speaks of numbers: then it takes one, and no object."""
    try:
        as_declared(parameter.name, object(), str(parameter.annotation))
    except InputError:
        return True
    return any(part.strip() in ("int", "float") for part in str(parameter.annotation).split("|"))


def numbers() -> Iterator[tuple[str, str]]:
    for name, (function, _) in FUNCTIONS.items():
        for parameter in inspect.signature(function).parameters.values():
            if is_number(parameter):
                yield name, parameter.name


NUMBERS = list(numbers())


def owner(name: str) -> str:
    """What the ranges call a function or class."""
    return name if name[0].isupper() else name.rpartition(".")[2]


def outside(name: str, parameter: str) -> Iterator[Any]:
    """Numbers just out of each bound, and far out."""
    annotation = str(inspect.signature(FUNCTIONS[name][0]).parameters[parameter].annotation)
    several = parameter == "seeds" and "Sequence" in annotation
    kind = range_of(parameter, "several" if several else owner(name))
    assert kind is not None
    whole = "int" in annotation and "float" not in annotation
    if kind.least is not None:
        yield from (-7, kind.least - 1) if whole else (-7.0, kind.least - 1e-9)
    if kind.above is not None:
        yield from (kind.above, -1e300)
    if kind.most is not None:
        yield from (kind.most + 1 if whole else kind.most * (1 + 1e-9), 1e300)
    if kind.below is not None:
        yield from (kind.below, 1.5)
    if whole:
        yield from (LARGEST + 1, 2**40)


BAD = [np.nan, np.inf, -np.inf, np.float32("nan"), True, np.True_, "x", "nan", 1j, [np.nan], [1j]]


@pytest.mark.parametrize(("name", "parameter"), NUMBERS, ids=lambda v: v)
def test_what_is_no_number_is_refused_by_name(name: str, parameter: str) -> None:
    function, least = FUNCTIONS[name]
    for bad in BAD:
        with pytest.raises(InputError, match=f"`{parameter}`"):
            function(**(least | {parameter: bad}))


@pytest.mark.parametrize(("name", "parameter"), NUMBERS, ids=lambda v: v)
def test_what_is_out_of_range_is_refused_by_name(name: str, parameter: str) -> None:
    """A new argument that is a number is declared in ``cellprism.ranges``, or its range is not known here."""
    function, least = FUNCTIONS[name]
    several = str(inspect.signature(function).parameters[parameter].annotation).startswith(("tuple[", "Sequence["))
    for number in outside(name, parameter):
        with pytest.raises(InputError, match=rf"`{parameter}` must be (at least|at most|more than|less than) .*; met"):
            function(**(least | {parameter: [number, number] if several else number}))


def test_no_range_is_of_an_argument_that_there_is_none_of() -> None:
    """Options of the command line count: those that no function has are few."""
    known = {parameter for _, parameter in NUMBERS} | {"components", "peaks", "fold", "per_round", "spike_in"}
    assert {key.rpartition(".")[2] for key in RANGES} == known | {"n_genes"}


@pytest.mark.parametrize(
    ("name", "value"),
    [("share", 1), ("holdout", 0), ("level", 1), ("n_null", 1), ("port", 65_535), ("whiten_power", 1.0)],
)
def test_bounds_themselves_are_in_where_they_are_told_so(name: str, value: float) -> None:
    within(name, value)


def test_all_rooms_have_numbers() -> None:
    assert len(NUMBERS) > 150
    assert embed.train.__name__ == "train"  # the wrapped function keeps its name, signature and words
    assert "seed" in inspect.signature(embed.train).parameters


@pytest.mark.parametrize(
    ("annotation", "given", "taken"),
    [
        ("int", 3.0, 3),
        ("int", np.int16(3), 3),
        ("float", np.float32(0.5), 0.5),
        ("float", 2, 2.0),
        ("float | None", None, None),
        ("bool | float", True, True),
        ("int | Sequence[int]", range(3), [0, 1, 2]),
        ("int | Sequence[int]", np.array([4, 5]), [4, 5]),
        ("tuple[int, int]", [5, 500], (5, 500)),
        ("float | Edit | None", "an edit", InputError),
        ("Literal['auto'] | int", "auto", "auto"),
        ("tuple[int, int]", [np.nan, 5], InputError),
        ("int", 10.5, InputError),
        ("int", 2 + 0j, InputError),
        ("float", 10**400, InputError),
        ("Sequence[int] | None", 3, InputError),
        ("Mapping[str, float]", {"a": np.nan}, {"a": np.nan}),
    ],
)
def test_a_value_is_taken_as_its_annotation_has_it(annotation: str, given: Any, taken: Any) -> None:
    if taken is InputError:
        with pytest.raises(InputError, match="`x`"):
            as_declared("x", given, annotation)
        return
    found = as_declared("x", given, annotation)
    assert found == taken
    assert type(found) is type(taken)


def test_the_function_itself_tells_of_arguments_that_there_are_none_of() -> None:
    @numbers_checked
    def half(of: float) -> float:
        return of / 2

    assert half(of=np.float64(3)) == 1.5
    with pytest.raises(TypeError, match="unexpected keyword argument 'what'"):
        half(what=3)
