"""Reads JSON text into nodes with places.

Stricter than RFC 8259: duplicate keys, NaN and Infinity, integers of more than 64 bits and more
than 64 levels of nesting are refused. The parser keeps its own stack instead of recursing, so that
deep nesting cannot exhaust the stack of the interpreter.
"""

from __future__ import annotations

from bisect import bisect_right
from json import JSONDecodeError, JSONDecoder
from typing import Final, NoReturn

from agenthive.authoring.readers.nodes import Place, Scalar, SourceNode
from agenthive.authoring.readers.problems import Problems
from agenthive.authoring.readers.size_limits import MAX_DEPTH, TOO_DEEP, number_fault

_DECODER: Final = JSONDecoder()
_SPACE: Final = " \t\n\r"
_WORDS: Final[dict[str, Scalar]] = {"null": None, "true": True, "false": False}
_NUMBER: Final = frozenset("+-.0123456789eE")
_NAMES: Final = frozenset("NaInfinityul-tresd")


def read_json(text: str, problems: Problems) -> SourceNode | None:
    """Parse ``text``; return None if it is blank. Raises ConfigurationError."""
    if not text.strip(_SPACE):
        return None
    return _Reader(text, problems).read()


class _Reader:
    """Parses a text in one pass. ``_open_nodes`` is the stack of collections not yet closed."""

    def __init__(self, text: str, problems: Problems) -> None:
        self._text = text
        self._problems = problems
        self._position = 0
        self._root = SourceNode(None)
        self._lines = [0]
        start = text.find("\n")
        while start >= 0:
            self._lines.append(start + 1)
            start = text.find("\n", start + 1)
        self._open_nodes: list[SourceNode] = []
        self._keys: list[str] = []

    def read(self) -> SourceNode:
        complete = self._read_value()
        while self._open_nodes:
            complete = self._read_separator() if complete else self._read_value()
        if self._skip_space():
            self._abort("not JSON: unexpected text after the end of the value; remove it")
        return self._root

    def _place_at(self, position: int) -> Place:
        line = bisect_right(self._lines, position)
        return line, position - self._lines[line - 1] + 1

    def _abort(self, message: str, position: int | None = None) -> NoReturn:
        self._problems.abort(
            self._place_at(self._position if position is None else position), "", message
        )

    def _skip_space(self) -> str:
        text, position = self._text, self._position
        while position < len(text) and text[position] in _SPACE:
            position += 1
        self._position = position
        return text[position] if position < len(text) else ""

    def _read_value(self) -> bool:
        """Read a scalar or the start of a collection; return whether the value is complete."""
        char = self._skip_space()
        place = self._place_at(self._position)
        if char not in ("{", "["):
            self._attach_node(SourceNode(self._read_scalar(char), place))
            return True
        node = SourceNode({} if char == "{" else [], place)
        if len(self._open_nodes) >= MAX_DEPTH:
            self._abort(TOO_DEEP)
        self._attach_node(node)
        self._position += 1
        if self._skip_space() == ("}" if char == "{" else "]"):
            self._position += 1
            return True
        self._open_nodes.append(node)
        self._keys.append("")
        self._read_next_key(node)
        return False

    def _read_next_key(self, node: SourceNode) -> None:
        if isinstance(node.value, dict):
            self._read_key(node)

    def _read_separator(self) -> bool:
        """Read what follows a value: the end of its collection (True) or a comma (False)."""
        node = self._open_nodes[-1]
        closing = "}" if isinstance(node.value, dict) else "]"
        char = self._skip_space()
        if char not in (",", closing):
            self._abort(f"not JSON: expected ',' or '{closing}'")
        self._position += 1
        if char == ",":
            self._read_next_key(node)
            return False
        self._open_nodes.pop()
        self._keys.pop()
        return True

    def _read_key(self, node: SourceNode) -> None:
        if self._skip_space() != '"':
            self._abort("not JSON: expected a key in double quotes")
        place = self._place_at(self._position)
        key = self._read_string()
        if key in node.keys:
            line, column = node.keys[key]
            self._problems.abort(
                place,
                "",
                f"duplicate key {key[:60]!r}; it is already at line {line}, column {column}",
            )
        node.keys[key] = place
        self._keys[-1] = key
        if self._skip_space() != ":":
            self._abort("not JSON: expected ':' after a key")
        self._position += 1

    def _attach_node(self, node: SourceNode) -> None:
        if not self._open_nodes:
            self._root = node
            return
        parent = self._open_nodes[-1].value
        if isinstance(parent, list):
            parent.append(node)
        elif isinstance(parent, dict):
            parent[self._keys[-1]] = node

    def _read_scalar(self, char: str) -> Scalar:
        if char == '"':
            return self._read_string()
        if char in _NUMBER and not self._text.startswith("-I", self._position):
            return self._read_number()
        word = self._scan_chars(_NAMES)
        if word in ("NaN", "Infinity", "-Infinity"):
            self._abort(number_fault(float(word.replace("Infinity", "inf"))))
        if word not in _WORDS:
            self._abort("not JSON: expected a value")
        self._position += len(word)
        return _WORDS[word]

    def _scan_chars(self, chars: frozenset[str]) -> str:
        end = self._position
        while end < len(self._text) and self._text[end] in chars:
            end += 1
        return self._text[self._position : end]

    def _read_string(self) -> str:
        try:
            value, end = _DECODER.raw_decode(self._text, self._position)
        except JSONDecodeError as fault:
            self._abort(f"not JSON: {fault.msg}", fault.pos)
        if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
            self._abort("an unpaired surrogate is not a character; write the whole pair")
        self._position = end
        return str(value)

    def _read_number(self) -> Scalar:
        word = self._scan_chars(_NUMBER)
        value = parse_number(word)
        if value is None:
            self._abort("not JSON: malformed number")
        fault = number_fault(value)
        if fault:
            self._abort(fault)
        self._position += len(word)
        return value


def parse_number(word: str) -> int | float | None:
    """Parse a number by RFC 8259, section 6; None if it is malformed."""
    body = word.removeprefix("-")
    digits = len(body) - len(body.lstrip("0123456789"))
    if digits == 0 or (digits > 1 and body[0] == "0"):
        return None
    if digits == len(body):
        return int(word[:25])
    remainder = body[digits:]
    if remainder[0] == "." and not remainder[1:2].isdigit():
        return None
    try:
        return float(word)
    except ValueError:
        return None
