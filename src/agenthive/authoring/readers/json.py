"""JSON text to nodes, with places.

Refused beyond what RFC 8259 refuses: duplicate keys, NaN and Infinity, numbers that do not fit,
more than 64 levels. Works through the text with a stack of its own, so depth costs no recursion.
"""

from __future__ import annotations

from bisect import bisect_right
from json import JSONDecodeError, JSONDecoder
from typing import Final, NoReturn

from agenthive.authoring.readers.nodes import Node, Place, Scalar
from agenthive.authoring.readers.problems import Problems
from agenthive.authoring.readers.size_limits import MAX_DEPTH, TOO_DEEP, number_fault

_DECODER: Final = JSONDecoder()
_SPACE: Final = " \t\n\r"
_WORDS: Final[dict[str, Scalar]] = {"null": None, "true": True, "false": False}
_NUMBER: Final = frozenset("+-.0123456789eE")
_NAMES: Final = frozenset("NaInfinityul-tresd")


def read_json(text: str, problems: Problems) -> Node | None:
    """The value of ``text``; None if it is blank. Raises ConfigurationError."""
    if not text.strip(_SPACE):
        return None
    return _Reader(text, problems).read()


class _Reader:
    """One pass over the text. ``_open`` holds the collections that are not closed yet."""

    def __init__(self, text: str, problems: Problems) -> None:
        self._text = text
        self._problems = problems
        self._at = 0
        self._root = Node(None)
        self._lines = [0]
        start = text.find("\n")
        while start >= 0:
            self._lines.append(start + 1)
            start = text.find("\n", start + 1)
        self._open: list[Node] = []
        self._key: list[str] = []

    def read(self) -> Node:
        complete = self._value()
        while self._open:
            complete = self._follow() if complete else self._value()
        if self._skip():
            self._stop("something follows the end of the JSON value; remove it")
        return self._root

    def _place(self, at: int) -> Place:
        line = bisect_right(self._lines, at)
        return line, at - self._lines[line - 1] + 1

    def _stop(self, what: str, at: int | None = None) -> NoReturn:
        self._problems.stop(self._place(self._at if at is None else at), "", what)

    def _skip(self) -> str:
        text, at = self._text, self._at
        while at < len(text) and text[at] in _SPACE:
            at += 1
        self._at = at
        return text[at] if at < len(text) else ""

    def _value(self) -> bool:
        """Read a scalar or the opening of a collection; whether that is the whole value."""
        char = self._skip()
        place = self._place(self._at)
        if char not in ("{", "["):
            self._put(Node(self._scalar(char), place))
            return True
        node = Node({} if char == "{" else [], place)
        if len(self._open) >= MAX_DEPTH:
            self._stop(TOO_DEEP)
        self._put(node)
        self._at += 1
        if self._skip() == ("}" if char == "{" else "]"):
            self._at += 1
            return True
        self._open.append(node)
        self._key.append("")
        self._next(node)
        return False

    def _next(self, node: Node) -> None:
        if isinstance(node.value, dict):
            self._read_key(node)

    def _follow(self) -> bool:
        """What comes after a value: the end of its collection (True) or a comma (False)."""
        node = self._open[-1]
        closing = "}" if isinstance(node.value, dict) else "]"
        char = self._skip()
        if char not in (",", closing):
            self._stop(f"not JSON: expected ',' or '{closing}'")
        self._at += 1
        if char == ",":
            self._next(node)
            return False
        self._open.pop()
        self._key.pop()
        return True

    def _read_key(self, node: Node) -> None:
        if self._skip() != '"':
            self._stop("not JSON: expected a key in double quotes")
        place = self._place(self._at)
        key = self._string()
        if key in node.keys:
            line, column = node.keys[key]
            self._problems.stop(
                place,
                "",
                f"duplicate key {key[:60]!r}; it stands at line {line}, column {column} too",
            )
        node.keys[key] = place
        self._key[-1] = key
        if self._skip() != ":":
            self._stop("not JSON: expected ':' after a key")
        self._at += 1

    def _put(self, node: Node) -> None:
        if not self._open:
            self._root = node
            return
        parent = self._open[-1].value
        if isinstance(parent, list):
            parent.append(node)
        elif isinstance(parent, dict):
            parent[self._key[-1]] = node

    def _scalar(self, char: str) -> Scalar:
        if char == '"':
            return self._string()
        if char in _NUMBER and not self._text.startswith("-I", self._at):
            return self._number()
        word = self._run_of(_NAMES)
        if word in ("NaN", "Infinity", "-Infinity"):
            self._stop(number_fault(float(word.replace("Infinity", "inf"))))
        if word not in _WORDS:
            self._stop("not JSON: expected a value")
        self._at += len(word)
        return _WORDS[word]

    def _run_of(self, chars: frozenset[str]) -> str:
        end = self._at
        while end < len(self._text) and self._text[end] in chars:
            end += 1
        return self._text[self._at : end]

    def _string(self) -> str:
        try:
            value, end = _DECODER.raw_decode(self._text, self._at)
        except JSONDecodeError as fault:
            self._stop(f"not JSON: {fault.msg}", fault.pos)
        if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
            self._stop("half of a surrogate pair is not text; write the whole character")
        self._at = end
        return str(value)

    def _number(self) -> Scalar:
        word = self._run_of(_NUMBER)
        value = parse_number(word)
        if value is None:
            self._stop("not JSON: a number is malformed")
        fault = number_fault(value)
        if fault:
            self._stop(fault)
        self._at += len(word)
        return value


def parse_number(word: str) -> int | float | None:
    """A number by RFC 8259 section 6; None if it is not one."""
    body = word.removeprefix("-")
    digits = len(body) - len(body.lstrip("0123456789"))
    if digits == 0 or (digits > 1 and body[0] == "0"):
        return None
    if digits == len(body):
        return int(word[:25])
    rest = body[digits:]
    if rest[0] == "." and not rest[1:2].isdigit():
        return None
    try:
        return float(word)
    except ValueError:
        return None
