"""The page's modules hold to the types that their comments state."""

import shutil
import subprocess
from importlib.resources import files

import pytest

TSC = shutil.which("tsc")


@pytest.mark.skipif(TSC is None, reason="no TypeScript compiler (tsc) on this machine")
def test_modules_keep_their_types():
    config = files("cellprism.report").joinpath("static/jsconfig.json")
    done = subprocess.run([TSC, "-p", str(config)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
