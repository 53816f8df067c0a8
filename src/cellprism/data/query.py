"""Rows of a table by a condition in words: read and compared here, never run as code.

``cell_type == 'B' and age > 30``, ``0.2 < time <= 0.6``, ``cluster in [1, 2]``, ``not doublet``; ``&``, ``|`` and ``~`` stand for
and, or and not. Names of columns with blanks or other signs stand in backticks: ```my type` == 'B'``.
"""

from __future__ import annotations

import ast
import io
import operator
import tokenize
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellprism.data.missing import groups, missing
from cellprism.data.read import describe_keys
from cellprism.errors import InputError

__all__ = ["rows_where"]

_LONGEST: Final = 5_000
_WORDS: Final = {"&": "and", "|": "or", "~": "not", "&&": "and", "||": "or"}
_ORDER: Final[dict[type[ast.cmpop], Callable[[Any, Any], Any]]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip
_Mask = NDArray[np.bool_]


def rows_where(table: pd.DataFrame, query: str) -> _Mask:
    """(rows,) True where a condition on the columns holds.

    Parameters
    ----------
    table
        Its columns are what the condition may name.
    query
        Comparisons of columns with texts, numbers or lists, joined by and, or, not and parentheses. Texts are equal where
        they are written alike, so that ``cluster == 1`` holds for the text "1"; ``== None`` is what is missing, which
        equals nothing else and is neither smaller nor larger than anything.

    Raises
    ------
    InputError
        If it is no such condition; the message names what is wrong and the columns there are.

    Examples
    --------
    >>> from cellprism.data.query import rows_where
    >>> chosen = rows_where(cells.obs, "cell_type == 'B' and donor != 'a'")
    >>> chosen.shape
    (200,)
    """
    return _Query(table, query).mask()


class _Query:
    def __init__(self, table: pd.DataFrame, query: str) -> None:
        self.table, self.query = table, query
        self.columns = {str(c): c for c in table.columns}
        self.quoted: dict[str, str] = {}

    def mask(self) -> _Mask:
        try:
            tree = ast.parse(self._plain(), mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError) as error:
            raise self._wrong(getattr(error, "msg", None) or str(error)) from error
        return self._truth(tree.body)

    def _wrong(self, what: str) -> InputError:
        blank = next((c for c in self.columns if not c.isidentifier()), "my type")
        return InputError(
            "a choice of cells is a comparison of their columns",
            f"{self.query[:80]!r}: {what}; columns: {describe_keys(self.columns)}",
            f"write something like cell_type == 'B', texts in quotes, and names with blanks in backticks, as in `{blank}` == 'B'",
        )

    def _plain(self) -> str:
        """The condition with names in backticks replaced, and signs by words, outside of texts."""
        if len(self.query) > _LONGEST:
            raise ValueError(f"longer than {_LONGEST} characters")
        out, rest, quote = [], self.query.strip().replace("\n", " "), ""
        while rest:
            sign, rest = rest[0], rest[1:]
            if quote:
                out.append(sign)
                if sign == "\\" and rest:
                    out.append(rest[0])
                    rest = rest[1:]
                elif sign == quote:
                    quote = ""
            elif sign == "`":
                name, end, rest = rest.partition("`")
                if not end:
                    raise ValueError("a backtick is not closed")
                placeholder = f"column_{len(self.quoted)}_"
                self.quoted[placeholder] = name
                out.append(f" {placeholder} ")
            else:
                quote = sign if sign in "'\"" else ""
                out.append(sign)
        tokens = tokenize.generate_tokens(io.StringIO("".join(out).strip()).readline)
        return " ".join(
            _WORDS.get(t.string, t.string) for t in tokens if t.type not in (tokenize.NEWLINE, tokenize.ENDMARKER)
        )

    def _truth(self, node: ast.expr) -> _Mask:
        if isinstance(node, ast.BoolOp):
            parts = [self._truth(value) for value in node.values]
            together = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
            return np.asarray(together.reduce(parts), dtype=bool)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return ~self._truth(node.operand)
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            each = [self._compared(sides[i], op, sides[i + 1]) for i, op in enumerate(node.ops)]
            return np.asarray(np.logical_and.reduce(each), dtype=bool)
        if isinstance(node, ast.Name):
            column = self._column(node)
            names = set(groups(column).names)
            if names <= {"True", "False"}:
                return np.asarray(groups(column).text() == "True", dtype=bool)
            raise self._wrong(f"{self._name(node)!r} is neither true nor false: compare it with a value")
        raise self._wrong(f"{ast.unparse(node)!r} is not a comparison")

    def _compared(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> _Mask:
        if isinstance(op, (ast.In, ast.NotIn)):
            if not isinstance(right, (ast.List, ast.Tuple, ast.Set)):
                raise self._wrong(f"'in' needs a list in brackets, not {ast.unparse(right)!r}")
            hits = [self._equal(left, item) for item in right.elts]
            found = np.logical_or.reduce(hits) if hits else np.zeros(len(self.table), dtype=bool)
            return np.asarray(found if isinstance(op, ast.In) else ~found, dtype=bool)
        if isinstance(op, ast.Eq):
            return self._equal(left, right)
        if isinstance(op, ast.NotEq):
            return ~self._equal(left, right)
        if type(op) not in _ORDER:
            raise self._wrong("columns are compared by ==, !=, <, <=, >, >=, in and not in")
        numbers = [self._numbers(side) for side in (left, right)]
        with np.errstate(invalid="ignore"):
            return np.broadcast_to(np.asarray(_ORDER[type(op)](*numbers), dtype=bool), (len(self.table),))

    def _equal(self, left: ast.expr, right: ast.expr) -> _Mask:
        a, b = self._value(left), self._value(right)
        if not isinstance(a, pd.Series):
            a, b = b, a
        if not isinstance(a, pd.Series):
            raise self._wrong("one side of a comparison must be a column")
        if b is None:
            return missing(a)
        if not isinstance(b, pd.Series):
            if pd.api.types.is_numeric_dtype(a) and isinstance(b, (int, float)):
                return np.asarray(a.to_numpy(dtype=float, na_value=np.nan) == float(b))
            b = pd.Series([b], dtype=object)
        known, other = groups(a), groups(b)
        second = other.text() if len(other.number) == len(known.number) else np.repeat(other.text(), len(known.number))
        return np.asarray((known.text() == second) & (known.number >= 0), dtype=bool)

    def _numbers(self, node: ast.expr) -> Any:
        value = self._value(node)
        if isinstance(value, pd.Series):
            if not pd.api.types.is_numeric_dtype(value):
                raise self._wrong(f"{self._name(node)!r} holds no numbers, so it has no smaller and larger")
            return value.to_numpy(dtype=float, na_value=np.nan)
        if isinstance(value, (int, float)):
            return float(value)
        raise self._wrong(f"{ast.unparse(node)!r} is no number, so it has no smaller and larger")

    def _value(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Name):
            return self._column(node)
        if isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, (str, int, float))):
            return node.value
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
            number = self._value(node.operand)
            if isinstance(number, (int, float)):
                return -number if isinstance(node.op, ast.USub) else number
        raise self._wrong(f"{ast.unparse(node)!r} is neither a column nor a text or number")

    def _name(self, node: ast.expr) -> str:
        return self.quoted.get(node.id, node.id) if isinstance(node, ast.Name) else ast.unparse(node)

    def _column(self, node: ast.Name) -> pd.Series[Any]:
        name = self._name(node)
        if name not in self.columns:
            raise self._wrong(f"there is no column {name!r}")
        return self.table[self.columns[name]]
