"""How a command speaks: ``--quiet``, ``--verbose`` and ``--json`` of every command, and the log of its steps."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer

from cellprism.errors import InputError

__all__ = ["VOICE", "Voice", "voiced", "write_log"]


@dataclass
class Voice:
    """What one command has been asked to say, and what it said."""

    quiet: bool = False
    verbose: bool = False
    json: bool = False
    command: str = ""
    place: Path | None = None
    """Folder that the command writes or adds to."""
    begun: float = field(default_factory=time.time)
    steps: list[tuple[float, str]] = field(default_factory=list)

    @property
    def shows_progress(self) -> bool:
        """Whether bars and lines of progress are welcome."""
        return not (self.quiet or self.json)

    def begin(self, ctx: Any) -> None:
        """Take the three options out of a command's arguments, and forget the command before.

        Raises
        ------
        InputError
            Where more than one is given.
        """
        asked = {name: bool(ctx.params.pop(name, False)) for name in ("quiet", "verbose", "json")}
        given = [f"--{name}" for name, on in asked.items() if on]
        if len(given) > 1:
            raise InputError("a command speaks in one way", " and ".join(given), "leave one out")
        self.quiet, self.verbose, self.json = asked.values()
        self.command = _path(ctx)
        place = ctx.params.get("output") or ctx.params.get("run_dir")
        self.place = place if isinstance(place, Path) else None
        self.begun, self.steps = time.time(), []

    def forget(self) -> None:
        """Speak as one does unasked."""
        self.quiet = self.verbose = self.json = False

    def step(self, line: str) -> str | None:
        """Keep a step, and give the line to show of it, if one is to be shown."""
        now = time.time()
        self.steps.append((now, line))
        if self.json:
            from cellprism.run.write import log_record

            return json.dumps(log_record(line, now, self.begun), ensure_ascii=False)
        if self.quiet:
            return None
        return f"· {now - self.begun:7.1f} s  {line}" if self.verbose else f"· {line}"

    def end(self) -> str | None:
        """The one line for standard output where JSON is asked for: what was done, and the ``run.json`` that came of it."""
        if not self.json:
            return None
        told: dict[str, Any] = {"command": self.command, "seconds": round(time.time() - self.begun, 2)}
        told["output"] = None if self.place is None else str(self.place)
        if self.place is not None and (self.place / "run.json").is_file():
            told["run"] = json.loads((self.place / "run.json").read_text(encoding="utf-8"))
        return json.dumps(told, ensure_ascii=False)

    def error(self, line: str, code: int, error: BaseException) -> str:
        """The words of an error, as JSON where that is asked for."""
        if not self.json:
            return line
        told: dict[str, Any] = {"error": line.removeprefix("Error: "), "exit": code}
        if isinstance(error, InputError):
            told |= {"rule": error.rule, "met": error.met, "remedy": error.remedy}
        return json.dumps(told, ensure_ascii=False)


VOICE = Voice()
"""Of the command that runs."""


def write_log(folder: Path) -> None:
    """``run.log``: a JSON line for each step so far, behind those of the command that made the folder."""
    from cellprism.files import replacing
    from cellprism.folder.manifest import note_again
    from cellprism.folder.stage import LOG
    from cellprism.run.write import log_record

    lines = [json.dumps(log_record(line, at, VOICE.begun), ensure_ascii=False) for at, line in VOICE.steps]
    before = (folder / LOG).read_text(encoding="utf-8") if (folder / LOG).is_file() else ""
    with replacing(folder / LOG) as beside:
        beside.write_text(before + "".join(f"{line}\n" for line in lines), encoding="utf-8")
    note_again(folder, [LOG])


def voiced(command: Any) -> Any:
    """The command, with the three options; its subcommands too."""
    inner = getattr(command, "commands", {})
    for one in inner.values():
        voiced(one)
    if not inner and not getattr(command, "speaks", False):
        command.params.extend(_options())
        command.speaks = True
    return command


@cache
def _options() -> list[Any]:
    app = typer.Typer(add_completion=False)

    @app.command()
    def options(
        quiet: Annotated[bool, typer.Option("--quiet", help="Show results and errors, no steps.")] = False,
        verbose: Annotated[bool, typer.Option("--verbose", help="Show when each step began.")] = False,
        json: Annotated[
            bool, typer.Option("--json", help="Steps and errors as JSON lines, the result as one on standard output.")
        ] = False,
    ) -> None:
        pass

    found: list[Any] = typer.main.get_command(app).params
    return found


def _path(ctx: Any) -> str:
    """Names of the command and of the groups that it is in, without that of the program."""
    names: list[str] = []
    while ctx.parent is not None:
        names.insert(0, str(ctx.info_name))
        ctx = ctx.parent
    return " ".join(names)
