from __future__ import annotations

from pathlib import Path

import pytest

from cellprism.run import RunFolder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real test data beside the repository; skips where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the shared data folder lies not beside the repository")
    return folder


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The demo's run folder, made once for all tests."""
    from cellprism.demo import run_demo

    return run_demo(tmp_path_factory.mktemp("demo") / "run")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes by their argument: packed ones hold the time, and two workers must collect the same tests."""
    return argname if isinstance(val, bytes) else None
