from pathlib import Path

import pytest
from report.make_run import make_run

from cellprism.report import build


@pytest.fixture(scope="session")
def small_run(tmp_path_factory) -> Path:
    return make_run(tmp_path_factory.mktemp("small") / "run")


@pytest.fixture(scope="session")
def small_page(small_run) -> Path:
    return build(small_run)
