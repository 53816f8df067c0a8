"""Print the N-th command of the README's first code block, or the part of it before or after ``&&``.

Usage: readme_command.py N [install|run]
"""

import re
import sys
from pathlib import Path


def commands(readme: str) -> list[str]:
    """Commands of the first fenced shell block."""
    block = re.search(r"```(?:bash|sh|console)\n(.*?)```", readme, flags=re.DOTALL)
    if block is None:
        raise SystemExit("README.md has no shell block")
    return [line for line in block.group(1).splitlines() if line.strip() and not line.startswith("#")]


if __name__ == "__main__":
    command = commands((Path(__file__).resolve().parents[1] / "README.md").read_text())[int(sys.argv[1]) - 1]
    install, _, run = command.partition(" && ")
    sys.stdout.write({"install": install, "run": run}.get(sys.argv[2] if len(sys.argv) > 2 else "", command) + "\n")
