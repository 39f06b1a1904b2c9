"""The expressions in ``{{ }}``: a small subset of Python's expression syntax.

``Expression`` is one formula, ``Template`` a JSON value whose texts may hold formulas. Parsed by
`ast` against an allow-list and evaluated here: no eval, no attributes of Python objects, no
patterns. Length, depth, steps and output are bounded; every fault is an `ExpressionError` that
names the column. A whole ``{{ x }}`` keeps the type of its value, otherwise text is put together;
``{{{{`` writes ``{{``. To add a function see `expression_functions`, syntax: `expression_eval`.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from typing import Final, TypeVar

from agenthive.core.expressions.compiler import Compiler, Frame, Run
from agenthive.core.expressions.functions import Meter, Oops, as_text
from agenthive.core.values import JSONValue
from agenthive.errors import ExpressionError

MAX_LENGTH: Final = 4096
"""Characters one expression may have."""

ROOTS: Final = frozenset({"tasks", "inputs", "run"})
"""The names a task's parameters may use."""

_T = TypeVar("_T")
_OPEN, _CLOSE = "{{", "}}"
_PAIRS: Final = {"(": ")", "[": "]", "{": "}"}
_SPACES: Final = str.maketrans("\n\r\t\f", "    ")


class Expression:
    """One compiled formula. ``task_names`` and ``input_names`` are what it reads by name."""

    __slots__ = ("_run", "input_names", "plain", "task_names", "text")

    def __init__(self, text: str, compiler: Compiler, run: Run) -> None:
        self.text = text
        self.task_names = frozenset(compiler.task_names)
        self.input_names = frozenset(compiler.input_names)
        self.plain = compiler.plain
        self._run = run

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def evaluate(self, scope: Mapping[str, JSONValue]) -> JSONValue:
        """The value for ``scope`` (root name -> value). Raises ExpressionError."""
        meter = Meter()
        value = self.run(scope, meter)
        if not self.plain:
            _guarded(self.text, lambda: meter.produced(value))
        return value

    def run(self, scope: Mapping[str, JSONValue], meter: Meter) -> JSONValue:
        """As ``evaluate``, on an account shared with others; the output is not measured."""
        return _guarded(self.text, lambda: self._run(Frame(scope, meter)))


def compile_expression(text: str, roots: Collection[str] = ROOTS) -> Expression:
    """The expression written as ``text``, which may use ``roots``. Raises ExpressionError."""
    if len(text) > MAX_LENGTH:
        raise _error(text, 0, f"an expression may have at most {MAX_LENGTH:,} characters")
    return _compiled(text, frozenset(roots))


@lru_cache(maxsize=4096)
def _compiled(text: str, roots: frozenset[str]) -> Expression:
    body = text.strip()
    if not body:
        raise _error(text, 1, "the expression is empty")
    tree = _parsed(text, body.translate(_SPACES))
    compiler = Compiler(roots, lambda node: _column(body, node.col_offset))
    return Expression(text, compiler, _guarded(text, lambda: compiler.compile(tree)))


def _parsed(text: str, body: str) -> ast.expr:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(body, mode="eval").body
    except SyntaxError as fault:
        raise _error(text, max(1, fault.offset or 1), f"{fault.msg}") from None
    except (ValueError, MemoryError, RecursionError):
        raise _error(text, 1, "this cannot be read as an expression") from None


def _column(body: str, offset: int) -> int:
    """From ast's count of UTF-8 bytes to a count of characters, from 1."""
    if body.isascii():
        return offset + 1
    return len(body.encode()[:offset].decode(errors="ignore")) + 1


def _guarded(text: str, act: Callable[[], _T]) -> _T:
    try:
        return act()
    except Oops as oops:
        raise _error(text, oops.column, str(oops)) from None
    except RecursionError:
        raise _error(text, 1, "the data nests too deep") from None


def _error(text: str, column: int, why: str) -> ExpressionError:
    shown = text.strip()
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    shown = "".join(char if char.isprintable() else "?" for char in shown)
    place = f"column {column}: " if column else ""
    return ExpressionError(f"{place}{why} (in {_OPEN} {shown} {_CLOSE})")


_Fill = Callable[[Mapping[str, JSONValue], Meter], JSONValue]


class Template:
    """A JSON value whose texts may hold ``{{ expressions }}``.

    ``constant`` means there are none: ``render`` then gives back the very value it was made of, as
    it does for every part without one. ``task_names`` and ``input_names`` are what is read by name.
    """

    __slots__ = ("_fill", "constant", "input_names", "task_names", "value")

    def __init__(self, value: JSONValue, fill: _Fill | None, found: list[Expression]) -> None:
        self.value = value
        self.constant = fill is None
        self.task_names = frozenset[str]().union(*(one.task_names for one in found))
        self.input_names = frozenset[str]().union(*(one.input_names for one in found))
        self._fill = fill

    @classmethod
    def compile(cls, value: JSONValue, roots: Collection[str] = ROOTS) -> Template:
        """Find the expressions in ``value``. Raises ExpressionError, which says where."""
        found: list[Expression] = []
        try:
            fill = _filler(value, "", frozenset(roots), found)
        except RecursionError:
            raise ExpressionError("the value nests too deep to look for expressions") from None
        return cls(value, fill, found)

    def render(self, scope: Mapping[str, JSONValue]) -> JSONValue:
        """The value with every expression replaced by what it gives. Raises ExpressionError."""
        return self.value if self._fill is None else self._fill(scope, Meter())


def _filler(
    value: JSONValue, path: str, roots: frozenset[str], found: list[Expression]
) -> _Fill | None:
    if isinstance(value, str):
        return _fill_text(value, path, roots, found) if _OPEN in value else None
    if isinstance(value, list):
        return _fill_list(value, path, roots, found)
    if isinstance(value, dict):
        return _fill_map(value, path, roots, found)
    return None


def _fill_list(
    value: list[JSONValue], path: str, roots: frozenset[str], found: list[Expression]
) -> _Fill | None:
    fills = {i: _filler(item, f"{path}[{i}]", roots, found) for i, item in enumerate(value)}
    live = {i: fill for i, fill in fills.items() if fill is not None}

    def fill(scope: Mapping[str, JSONValue], meter: Meter) -> JSONValue:
        copy = list(value)
        for i, part in live.items():
            copy[i] = part(scope, meter)
        return copy

    return fill if live else None


def _fill_map(
    value: dict[str, JSONValue], path: str, roots: frozenset[str], found: list[Expression]
) -> _Fill | None:
    fills = {
        key: _filler(item, f"{path}.{key}" if path else key, roots, found)
        for key, item in value.items()
    }
    live = {key: fill for key, fill in fills.items() if fill is not None}

    def fill(scope: Mapping[str, JSONValue], meter: Meter) -> JSONValue:
        return value | {key: part(scope, meter) for key, part in live.items()}

    return fill if live else None


def _fill_text(value: str, path: str, roots: frozenset[str], found: list[Expression]) -> _Fill:
    parts = _at(path, lambda: _split(value, roots))
    own = [part for part in parts if isinstance(part, Expression)]
    found.extend(own)
    if len(parts) == 1 and own:
        return lambda scope, meter: _at(path, lambda: _whole(own[0], scope, meter))
    return lambda scope, meter: _at(path, lambda: _joined(parts, scope, meter))


def _whole(part: Expression, scope: Mapping[str, JSONValue], meter: Meter) -> JSONValue:
    value = part.run(scope, meter)
    _guarded(part.text, lambda: meter.produced(value))
    return value


def _joined(
    parts: list[str | Expression], scope: Mapping[str, JSONValue], meter: Meter
) -> JSONValue:
    return "".join(
        part if isinstance(part, str) else _interpolated(part, scope, meter) for part in parts
    )


def _interpolated(part: Expression, scope: Mapping[str, JSONValue], meter: Meter) -> str:
    value = _whole(part, scope, meter)
    return _guarded(part.text, lambda: as_text(meter, value))


def _at(path: str, act: Callable[[], _T]) -> _T:
    try:
        return act()
    except ExpressionError as fault:
        if path:
            raise ExpressionError(f"{path}: {fault.message}") from None
        raise


def _split(text: str, roots: frozenset[str]) -> list[str | Expression]:
    """The pieces of a text: plain ones and expressions, in order."""
    parts: list[str | Expression] = []
    plain, start = "", 0
    while (at := text.find(_OPEN, start)) >= 0:
        plain += text[start:at]
        if text.startswith(_OPEN, at + 2):
            plain, start = plain + _OPEN, at + 4
            continue
        end = _end(text, at + 2)
        if plain:
            parts.append(plain)
        parts.append(_compile_at(text, at + 2, end, roots))
        plain, start = "", end + 2
    plain += text[start:]
    return [*parts, plain] if plain or not parts else parts


def _compile_at(text: str, start: int, end: int, roots: frozenset[str]) -> Expression:
    try:
        return compile_expression(text[start:end], roots)
    except ExpressionError as fault:
        line = text.count("\n", 0, start)
        if line or start > 2:
            column = start - text.rfind("\n", 0, start) - 2
            raise ExpressionError(
                f"expression at line {line + 1}, character {column} of the text: {fault.message}"
            ) from None
        raise


def _end(text: str, start: int) -> int:
    """Where the ``}}`` of an expression is: outside its quotes and brackets."""
    open_brackets: list[str] = []
    quote = ""
    i = start
    while i < len(text) and i - start <= MAX_LENGTH:
        char = text[i]
        if quote:
            i += char == "\\"
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char in _PAIRS:
            open_brackets.append(_PAIRS[char])
        elif open_brackets and char == open_brackets[-1]:
            open_brackets.pop()
        elif text.startswith(_CLOSE, i):
            return i
        i += 1
    raise ExpressionError(
        f"column {start - 1}: {_OPEN} without its {_CLOSE} (write {_OPEN}{_OPEN} for two braces)"
    )
