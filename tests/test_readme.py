"""What the README says is true: its commands parse, its Python runs, its files exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import matplotlib
import pytest
from typer.testing import CliRunner

from cellprism.cli import app

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[str]:
    lines = [line.split("  #")[0].strip() for block in blocks("bash") for line in block.splitlines()]
    return [part.strip() for line in lines for part in line.split("&&")]


def test_it_opens_with_the_two_commands() -> None:
    first = blocks("bash")[0].splitlines()
    assert first == [
        "pip install -c constraints.txt . && cellprism demo",
        "pip install -c constraints.txt -e '.[test]' && pytest -q",
    ]
    assert README.index("```bash") < README.index("![") < README.index("```python")
    assert (ROOT / "constraints.txt").is_file()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert "test" in extras


@pytest.mark.parametrize("command", [c for c in commands() if c.startswith("cellprism ")])
def test_every_option_it_names_exists(command: str) -> None:
    words = shlex.split(command)[1:]
    shown = CliRunner().invoke(app, [words[0], "--help"], terminal_width=200)
    assert shown.exit_code == 0
    for option in (w for w in words if w.startswith("-")):
        assert option in shown.stdout, option


def test_every_command_it_names_exists() -> None:
    shown = CliRunner().invoke(app, ["--help"], terminal_width=200).stdout
    for cell in re.findall(r"^\| (`cellprism .*?`) \|", README, flags=re.MULTILINE):
        for name in re.findall(r"`(?:cellprism )?(\w+)`", cell):
            assert name in shown


def test_the_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks("python")
    assert len([line for line in code.splitlines() if line and not line.startswith(("import", "from"))]) == 5
    monkeypatch.chdir(tmp_path)
    with matplotlib.rc_context({"backend": "agg"}):
        exec(compile(code, "README.md", "exec"), {})
    assert "top_set" in capsys.readouterr().out
    assert (tmp_path / "feature7.png").stat().st_size > 10_000


def test_links_and_pictures_exist() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", README):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target


def test_ci_takes_its_commands_from_here() -> None:
    script = [sys.executable, str(ROOT / ".ci" / "readme_command.py"), "2"]
    install = subprocess.run([*script, "install"], capture_output=True, text=True, check=True).stdout.strip()
    run = subprocess.run([*script, "run"], capture_output=True, text=True, check=True).stdout.strip()
    assert (install, run) == ("pip install -c constraints.txt -e '.[test]'", "pytest -q")
