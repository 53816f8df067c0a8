"""The one exception for input that cannot be used; warnings of cells that cannot, and of an embedding that is odd."""

from __future__ import annotations

import sys
import warnings

__all__ = ["CellsLeftOut", "EmbeddingRemark", "InputError", "warn"]


class InputError(ValueError):
    """Input that breaks a rule; its message names the rule, the value met and the remedy.

    Parameters
    ----------
    rule
        What must hold, as a clause ("the embedding must be finite").
    met
        What was found instead ("3 NaN values, the first in cell 'AAAC-1'").
    remedy
        What the user can do ("drop these cells or embed them again").

    Notes
    -----
    It is a :class:`ValueError`, so code that catches that keeps working. The command line turns it into exit
    code 2 and one message; any other exception is a defect of this package and keeps its traceback.
    """

    def __init__(self, rule: str, met: str, remedy: str) -> None:
        self.rule, self.met, self.remedy = rule, met, remedy
        super().__init__(f"{rule[:1].upper()}{rule[1:]}; met {met}. Remedy: {remedy.rstrip('.')}.")

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str, str]]:
        return type(self), (self.rule, self.met, self.remedy)


class CellsLeftOut(UserWarning):
    """Cells that do not enter a test, or a change of its unit, because of what they lack."""


class EmbeddingRemark(UserWarning):
    """Something odd about an embedding that can be used: a dimension that dwarfs the others, or says nothing, or cells far off."""


def warn(note: str, category: type[Warning] = UserWarning) -> None:
    """Warn of something at the line that called this package, however many of its functions and wrappers lie between.

    Parameters
    ----------
    note
        What to say.
    category
        Its kind, such as :class:`CellsLeftOut`.

    Examples
    --------
    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     prism.errors.warn("one cell lies far off", prism.errors.EmbeddingRemark)
    >>> str(caught[0].message)
    'one cell lies far off'
    """
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "cellprism":
        level, frame = level + 1, frame.f_back
    warnings.warn(note, category, stacklevel=level)
