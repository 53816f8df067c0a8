"""How a command ends: errors, signals and broken pipes, each told in a line, with what is kept."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Final, NoReturn

from typer.core import TyperGroup

from cellprism.cli.arguments import checking
from cellprism.cli.voice import VOICE, voiced
from cellprism.cli.words import spoken
from cellprism.data.opened import closes_what_it_opens
from cellprism.errors import InputError

__all__ = ["Commands", "end_well", "plain", "tell"]

_SIGNALS: Final = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class _Stopped(Exception):
    """A signal or Ctrl-C, in a form that typer does not take for itself."""

    def __init__(self, cause: KeyboardInterrupt) -> None:
        self.cause = cause


class _Signal(KeyboardInterrupt):
    """SIGTERM or SIGHUP, as an exception, so that what is at work can tidy up."""

    def __init__(self, number: int) -> None:
        self.number = number


class Commands(TyperGroup):
    """The commands; typer would swallow an interrupt before it could be said what is kept."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command by name, its options checked."""
        command = super().get_command(ctx, cmd_name)
        return None if command is None else checking(voiced(command))

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            with closes_what_it_opens():
                done = super().invoke(ctx)
            if (line := VOICE.end()) is not None:
                print(line)  # noqa: T201
            return done
        except KeyboardInterrupt as stopped:
            raise _Stopped(stopped) from None
        except EOFError as error:  # typer says "Aborted!" to it
            raise RuntimeError(f"unexpected end of a file: {error}") from error


def plain(text: object) -> str:
    """Text for a terminal: without control characters, which could move its cursor or change its colours."""
    return "".join(c if c.isprintable() or c in "\n\t" else "�" for c in str(text))


def tell(line: str) -> None:
    """Write a line to standard error, or nowhere where that is closed or full: words never end the work."""
    try:
        if sys.stderr is not None:
            print(plain(line), file=sys.stderr, flush=True)  # noqa: T201
    except (OSError, ValueError):
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for the rest of the process


def end_well(call: Callable[[], Any]) -> None:
    """Call, and turn what users can mend, and what the machine refuses, into one message and an exit code."""
    _fill_closed_streams()
    with _signals():
        try:
            call()
        except InputError as error:
            _end(f"Error: {spoken(str(error))}", 2, error)
        except FloatingPointError as error:
            _end(f"Error: {error}", 1, error)
        except _Stopped as stopped:
            _end_interrupted(stopped.cause)
        except KeyboardInterrupt as stopped:
            _end_interrupted(stopped)
        except RuntimeError as error:
            if "DefaultCPUAllocator" not in str(error):  # how torch says that there is not so much memory
                raise
            _end("Error: the memory does not suffice.", 1, error)
        except MemoryError as error:
            _end(f"Error: the memory does not suffice. {error}".strip(), 1, error)
        except OSError as error:
            if error.errno is None:  # of no system call
                raise
            if isinstance(error, FileNotFoundError) and error.filename is None and not _has_folder():
                _end(
                    "Error: the folder that this was started in is gone. Go to another (cd) and start again.", 1, error
                )
            where = f": {error.filename}" if error.filename is not None else ""
            _end(f"Error: {error.strerror or os.strerror(error.errno)}{where}.", 1, error)
        finally:
            VOICE.forget()


def _has_folder() -> bool:
    """Whether the folder that the process works in still exists."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


def _end(line: str, code: int, error: BaseException) -> NoReturn:
    tell(VOICE.error("\n".join([line, *getattr(error, "__notes__", [])]), code, error))
    sys.exit(code)


def _end_interrupted(stopped: KeyboardInterrupt) -> NoReturn:
    number = stopped.number if isinstance(stopped, _Signal) else signal.SIGINT
    kept = " ".join(getattr(stopped, "__notes__", [])) or "Nothing was written."
    tell(VOICE.error(f"Interrupted. {kept}", 128 + number, stopped))
    sys.exit(128 + number)


@contextmanager
def _signals() -> Iterator[None]:
    """Turn signals that end a process into exceptions; those that the caller ignores (``nohup``) stay ignored."""

    def raise_it(number: int, frame: FrameType | None) -> None:
        raise _Signal(number)

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            if signal.getsignal(number) == signal.SIG_DFL:
                before[number] = signal.signal(number, raise_it)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _fill_closed_streams() -> None:
    """Point closed standard streams to nowhere: the next file opened would take their number, and their words."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - for the rest of the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that the terminal cannot write must not end a finished run
            stream.reconfigure(errors="backslashreplace")
