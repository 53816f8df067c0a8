"""Work spread over the workers of Dask, where a client is active (the extra ``dask``)."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from cellprism.errors import InputError

__all__ = ["connected", "is_lazy", "on_workers", "over", "parts_for"]

T = TypeVar("T")

_TASKS = 4  # a worker: one that is slow, or is lost, holds the others up for so much less
_REACHED = 10  # seconds in which a scheduler must answer
_JOINED = 120  # seconds in which the first worker must have come
_ON_A_WORKER: ContextVar[bool] = ContextVar("_ON_A_WORKER", default=False)


def connected() -> Any | None:
    """The active ``distributed.Client``; None where there is none, and in what a worker has been given to do."""
    distributed = sys.modules.get("distributed")  # a client that is active has been imported
    if distributed is None or _ON_A_WORKER.get():
        return None
    try:
        return distributed.default_client()
    except ValueError:
        return None


@contextmanager
def on_workers(address: str | None) -> Iterator[None]:
    """Be connected to the scheduler at this address, or of this scheduler file (``.json``); None = as before.

    Raises
    ------
    InputError
        If Dask is not installed, no scheduler answers, or it has no worker.
    """
    if address is None:
        yield
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise InputError("Dask's workers need the extra `dask`", str(error), "pip install 'cellprism[dask]'") from error
    where = {"scheduler_file": address} if address.endswith(".json") else {"address": address}
    if "scheduler_file" in where:
        _check_scheduler_file(Path(address))
    try:
        client = Client(**where, timeout=_REACHED)  # type: ignore[no-untyped-call,unused-ignore]
    except (OSError, TimeoutError, ValueError) as error:
        raise InputError(
            "a scheduler of Dask must answer",
            f"none at {address}: {error}",
            "check the address, as dask-scheduler says it",
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=_JOINED)
        except TimeoutError as error:
            raise InputError(
                "a scheduler of Dask needs workers", f"none at {address} within {_JOINED} s", "start dask worker, too"
            ) from error
        yield


def _check_scheduler_file(path: Path) -> None:
    """Dask itself would wait for the file without end."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        content = None
        met = f"{path}: {error}"
    else:
        met = f"{path} without an address"
    if not isinstance(content, dict) or not isinstance(content.get("address"), str):
        raise InputError(
            "a scheduler of Dask must answer",
            met,
            "give the file that dask-scheduler wrote, once it is there, or the address",
        )


def is_lazy(values: Any) -> bool:
    """Whether these are a collection of Dask, such as an array whose blocks are yet to be read."""
    return hasattr(values, "__dask_graph__")


def parts_for(client: Any, n: int, most: int) -> list[slice]:
    """Consecutive parts of ``range(n)``: some for each worker, of ``most`` at most, and at least one."""
    workers = max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
    step = max(1, min(most, -(-n // (_TASKS * workers))))
    return [slice(start, min(start + step, n)) for start in range(0, max(n, 1), step)]


def over(client: Any, function: Callable[..., T], pieces: Sequence[Any], *shared: Any) -> list[T]:
    """``[function(piece, *shared) for piece in pieces]``, each on a worker; what all of them need travels to every worker once.

    A piece whose worker is lost goes to another one. A lazy piece is made on the worker that takes it.

    Raises
    ------
    InputError
        If a worker runs another version of cellprism.
    """
    _refuse_other_versions(client)
    own = version("cellprism")
    sent = client.scatter(list(shared), broadcast=True, hash=False) if shared else []
    here = [client.compute(piece) if is_lazy(piece) else piece for piece in pieces]
    futures = [client.submit(_on_a_worker, own, function, piece, *sent, pure=False) for piece in here]
    found: list[T] = client.gather(futures)
    return found


def _on_a_worker(expected: str, function: Callable[..., T], *arguments: Any) -> T:
    """Do this piece by this worker alone; asked again here, since a worker may have come since the others were asked."""
    _same_version({"this worker": version("cellprism")}, expected)
    token = _ON_A_WORKER.set(True)
    try:
        return function(*arguments)
    finally:
        _ON_A_WORKER.reset(token)


def _refuse_other_versions(client: Any) -> None:
    def theirs() -> str:  # travels as code: a worker may have no cellprism
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("cellprism")
        except PackageNotFoundError:
            return "none"

    _same_version(client.run(theirs, on_error="ignore"), version("cellprism"))


def _same_version(found: dict[str, str], expected: str) -> None:
    for worker, other in found.items():
        if other != expected:
            raise InputError(
                "Dask's workers run the same version of cellprism as what calls them",
                f"{expected} here, {other} on {worker}",
                f"install cellprism=={expected} in the environment of the workers and start them again",
            )
