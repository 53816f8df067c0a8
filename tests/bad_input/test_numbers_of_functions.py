"""Numbers that cannot be, in Python: each public function refuses them by name, before it looks at anything else."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import cellprism as prism
from cellprism import embed, recovery, simulate
from cellprism.embed.autoencoder import AutoencoderModel
from cellprism.embed.dgd import DGDModel
from cellprism.embed.drvi import DRVIModel
from cellprism.embed.pca import PCAModel
from cellprism.embed.scvi import SCVIModel
from cellprism.errors import InputError
from cellprism.numeric import as_declared, numbers_checked
from cellprism.run import RunOptions
from cellprism.sae.training import TrainingOptions
from cellprism.steering import Edit

MADE_BY_CALLERS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "SAEConfig": (prism.SAEConfig, {"width": 8}),
    "SAEConfig.paper": (prism.SAEConfig.paper, {}),
    "Edit": (Edit, {}),
    "TrainingOptions": (TrainingOptions, {}),
    "RunOptions": (RunOptions, {"data": "cells.h5ad", "output": "out"}),
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
BAD = [np.nan, np.inf, -np.inf, np.float32("nan"), True, np.True_, "x", "nan", 1j, [np.nan], [1j]]


@pytest.mark.parametrize(("name", "parameter"), NUMBERS, ids=lambda v: v)
def test_what_is_no_number_is_refused_by_name(name: str, parameter: str) -> None:
    function, least = FUNCTIONS[name]
    for bad in BAD:
        with pytest.raises(InputError, match=f"`{parameter}`"):
            function(**(least | {parameter: bad}))


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
