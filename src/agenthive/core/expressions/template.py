"""Expressions and templates: the entry points of the language.

An `Expression` is one compiled expression; a `Template` is a JSON value with texts that may contain
expressions in ``{{ }}``. A text that consists of one ``{{ x }}`` keeps the type of its value;
otherwise the values are joined to a text. ``{{{{`` stands for ``{{``. Every error is an
`ExpressionError` that names the column, and within a template the path of the text.

This module never interprets an expression itself: see `compiler` for the syntax and `functions` for
the functions. To add a place where expressions may occur: compile it with the names of `names`.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from typing import Final, TypeVar

from agenthive.core.expressions.compiler import Compiler, Evaluator, Frame
from agenthive.core.expressions.functions import EvaluationError, Meter, as_text
from agenthive.core.values import JSONValue
from agenthive.errors import ExpressionError

MAX_LENGTH: Final = 4096
"""Characters of one expression, at most."""

ROOTS: Final = frozenset({"tasks", "inputs", "run"})
"""The root names that every expression may use, except for the label of an item."""

_T = TypeVar("_T")
_OPEN, _CLOSE = "{{", "}}"
_PAIRS: Final = {"(": ")", "[": "]", "{": "}"}
_SPACES: Final = str.maketrans("\n\r\t\f", "    ")


class Expression:
    """One compiled expression. Immutable, and so shared by all runs."""

    __slots__ = ("_evaluator", "input_names", "plain", "task_names", "text")

    def __init__(self, text: str, compiler: Compiler, evaluator: Evaluator) -> None:
        #: The source text.
        self.text = text
        #: Tasks that it reads, by name.
        self.task_names = frozenset(compiler.task_names)
        #: Inputs that it reads, by name.
        self.input_names = frozenset(compiler.input_names)
        #: Whether it is only a look-up: its value is then not larger than what exists already.
        self.plain = compiler.plain
        self._evaluator = evaluator

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def evaluate(self, scope: Mapping[str, JSONValue]) -> JSONValue:
        """The value for ``scope`` (root name -> value). Raises ExpressionError."""
        meter = Meter()
        value = self.evaluate_metered(scope, meter)
        if not self.plain:
            _translate_errors(self.text, lambda: meter.charge_output(value))
        return value

    def evaluate_metered(self, scope: Mapping[str, JSONValue], meter: Meter) -> JSONValue:
        """As `evaluate`, with a meter that others share; does not measure the output."""
        return _translate_errors(self.text, lambda: self._evaluator(Frame(scope, meter)))


def compile_expression(text: str, roots: Collection[str] = ROOTS) -> Expression:
    """Compile the expression ``text``, which may use the names ``roots``.

    Raises ExpressionError. Results are cached, as runs of one definition compile the same texts.
    """
    if len(text) > MAX_LENGTH:
        raise _build_error(text, 0, f"an expression may have at most {MAX_LENGTH:,} characters")
    return _compile_cached(text, frozenset(roots))


@lru_cache(maxsize=4096)
def _compile_cached(text: str, roots: frozenset[str]) -> Expression:
    body = text.strip()
    if not body:
        raise _build_error(text, 1, "the expression is empty")
    tree = _parse_body(text, body.translate(_SPACES))
    compiler = Compiler(roots, lambda node: _character_column(body, node.col_offset))
    return Expression(text, compiler, _translate_errors(text, lambda: compiler.compile(tree)))


def _parse_body(text: str, body: str) -> ast.expr:
    try:
        # Python warns about constructs such as ``1 is 1``; the compiler refuses or accepts them.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(body, mode="eval").body
    except SyntaxError as fault:
        raise _build_error(text, max(1, fault.offset or 1), f"{fault.msg}") from None
    except (ValueError, MemoryError, RecursionError):
        raise _build_error(text, 1, "this cannot be read as an expression") from None


def _character_column(body: str, offset: int) -> int:
    """The column in characters, from 1, for an offset of `ast` in UTF-8 bytes, from 0."""
    if body.isascii():
        return offset + 1
    return len(body.encode()[:offset].decode(errors="ignore")) + 1


def _translate_errors(text: str, action: Callable[[], _T]) -> _T:
    """Run ``action``; raise its EvaluationError as an ExpressionError about ``text``."""
    try:
        return action()
    except EvaluationError as error:
        raise _build_error(text, error.column, str(error)) from None
    except RecursionError:
        raise _build_error(text, 1, "the data nests too deep") from None


def _build_error(text: str, column: int, reason: str) -> ExpressionError:
    excerpt = text.strip()
    excerpt = excerpt if len(excerpt) <= 80 else excerpt[:77] + "..."
    # Control characters of a definition must not reach a terminal.
    excerpt = "".join(char if char.isprintable() else "?" for char in excerpt)
    place = f"column {column}: " if column else ""
    return ExpressionError(f"{place}{reason} (in {_OPEN} {excerpt} {_CLOSE})")


_Renderer = Callable[[Mapping[str, JSONValue], Meter], JSONValue]


class Template:
    """A JSON value with texts that may contain ``{{ expressions }}``.

    Parts without expressions are not copied: `render` returns the same objects.
    """

    __slots__ = ("_renderer", "constant", "input_names", "task_names", "value")

    def __init__(
        self, value: JSONValue, renderer: _Renderer | None, expressions: list[Expression]
    ) -> None:
        #: The value with its expressions as texts.
        self.value = value
        #: Whether it contains no expressions.
        self.constant = renderer is None
        #: Tasks that its expressions read, by name.
        self.task_names = frozenset[str]().union(
            *(expression.task_names for expression in expressions)
        )
        #: Inputs that its expressions read, by name.
        self.input_names = frozenset[str]().union(
            *(expression.input_names for expression in expressions)
        )
        self._renderer = renderer

    @classmethod
    def compile(cls, value: JSONValue, roots: Collection[str] = ROOTS) -> Template:
        """Compile the expressions in ``value``, which may use the names ``roots``.

        Raises ExpressionError; its message has the path of the text.
        """
        expressions: list[Expression] = []
        try:
            renderer = _build_renderer(value, "", frozenset(roots), expressions)
        except RecursionError:
            raise ExpressionError("the value nests too deep to look for expressions") from None
        return cls(value, renderer, expressions)

    def render(self, scope: Mapping[str, JSONValue]) -> JSONValue:
        """The value with every expression replaced by its value for ``scope`` (root name -> value).

        One meter bounds the work and the output of all expressions together. Raises
        ExpressionError.
        """
        return self.value if self._renderer is None else self._renderer(scope, Meter())


def _build_renderer(
    value: JSONValue, path: str, roots: frozenset[str], expressions: list[Expression]
) -> _Renderer | None:
    """A function that renders ``value``; None if it contains no expressions."""
    if isinstance(value, str):
        return _build_text_renderer(value, path, roots, expressions) if _OPEN in value else None
    if isinstance(value, list):
        return _build_list_renderer(value, path, roots, expressions)
    if isinstance(value, dict):
        return _build_map_renderer(value, path, roots, expressions)
    return None


def _build_list_renderer(
    value: list[JSONValue], path: str, roots: frozenset[str], expressions: list[Expression]
) -> _Renderer | None:
    renderers = {
        i: _build_renderer(item, f"{path}[{i}]", roots, expressions) for i, item in enumerate(value)
    }
    dynamic = {i: render for i, render in renderers.items() if render is not None}

    def render(scope: Mapping[str, JSONValue], meter: Meter) -> JSONValue:
        copy = list(value)
        for i, part in dynamic.items():
            copy[i] = part(scope, meter)
        return copy

    return render if dynamic else None


def _build_map_renderer(
    value: dict[str, JSONValue], path: str, roots: frozenset[str], expressions: list[Expression]
) -> _Renderer | None:
    renderers = {
        key: _build_renderer(item, f"{path}.{key}" if path else key, roots, expressions)
        for key, item in value.items()
    }
    dynamic = {key: render for key, render in renderers.items() if render is not None}

    def render(scope: Mapping[str, JSONValue], meter: Meter) -> JSONValue:
        return value | {key: part(scope, meter) for key, part in dynamic.items()}

    return render if dynamic else None


def _build_text_renderer(
    value: str, path: str, roots: frozenset[str], expressions: list[Expression]
) -> _Renderer:
    parts = _prefix_errors(path, lambda: _split_text(value, roots))
    own_expressions = [part for part in parts if isinstance(part, Expression)]
    expressions.extend(own_expressions)
    if len(parts) == 1 and own_expressions:
        return lambda scope, meter: _prefix_errors(
            path, lambda: _render_value(own_expressions[0], scope, meter)
        )
    return lambda scope, meter: _prefix_errors(path, lambda: _render_parts(parts, scope, meter))


def _render_value(part: Expression, scope: Mapping[str, JSONValue], meter: Meter) -> JSONValue:
    value = part.evaluate_metered(scope, meter)
    _translate_errors(part.text, lambda: meter.charge_output(value))
    return value


def _render_parts(
    parts: list[str | Expression], scope: Mapping[str, JSONValue], meter: Meter
) -> JSONValue:
    return "".join(
        part if isinstance(part, str) else _render_text(part, scope, meter) for part in parts
    )


def _render_text(part: Expression, scope: Mapping[str, JSONValue], meter: Meter) -> str:
    value = _render_value(part, scope, meter)
    return _translate_errors(part.text, lambda: as_text(meter, value))


def _prefix_errors(path: str, action: Callable[[], _T]) -> _T:
    try:
        return action()
    except ExpressionError as fault:
        if path:
            raise ExpressionError(f"{path}: {fault.message}") from None
        raise


def _split_text(text: str, roots: frozenset[str]) -> list[str | Expression]:
    """The parts of a text, in order: plain texts, and expressions."""
    parts: list[str | Expression] = []
    plain, start = "", 0
    while (opening := text.find(_OPEN, start)) >= 0:
        plain += text[start:opening]
        # Four braces: an escaped pair.
        if text.startswith(_OPEN, opening + 2):
            plain, start = plain + _OPEN, opening + 4
            continue
        end = _find_end(text, opening + 2)
        if plain:
            parts.append(plain)
        parts.append(_compile_at(text, opening + 2, end, roots))
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


def _find_end(text: str, start: int) -> int:
    """The index of the ``}}`` of an expression: the first one outside its quotes and brackets."""
    open_brackets: list[str] = []
    quote = ""
    i = start
    while i < len(text) and i - start <= MAX_LENGTH:
        char = text[i]
        if quote:
            # A backslash escapes the character after it, which may be the quote.
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
        f"column {start - 1}: unclosed expression {_OPEN}; add {_CLOSE} within {MAX_LENGTH:,} "
        f"characters, or write {_OPEN}{_OPEN} for two braces"
    )
