"""Reads YAML text into nodes with places.

Works on the events of the parser, so that no Python object is built before it is checked. Refused:
aliases, anchors, tags, duplicate keys, keys that are not text, more than one document, more than 64
levels of nesting, NaN and Infinity. Scalars follow the core schema of YAML 1.2: ``no``,
``12:30:45`` and dates are text. This is the only file that reads YAML.
"""

from __future__ import annotations

from typing import Final, NoReturn

import yaml

from agenthive.authoring.readers.nodes import Place, Scalar, SourceNode
from agenthive.authoring.readers.problems import Problems
from agenthive.authoring.readers.size_limits import MAX_DEPTH, TOO_DEEP, number_fault

_WORDS: Final[dict[str, Scalar]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NOT_FINITE: Final = {
    sign + word for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")
} | {".nan", ".NaN", ".NAN"}
_DIGITS: Final = frozenset("0123456789")
_LOADER: Final = getattr(yaml, "CLoader", yaml.Loader)


def read_yaml(text: str, problems: Problems) -> SourceNode | None:
    """Parse the document of ``text``; return None if it is blank. Raises ConfigurationError."""
    try:
        return _Reader(problems).read(text)
    except yaml.MarkedYAMLError as fault:
        mark = fault.problem_mark or fault.context_mark
        place = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        reason = fault.problem or fault.context or "cannot be read"
        problems.abort(place, "", f"not YAML: {reason}{_suggest_fix(reason, text, place)}")
    except yaml.YAMLError:
        problems.abort((0, 0), "", "not YAML: contains a character that YAML does not allow")


def _suggest_fix(reason: str, text: str, place: Place) -> str:
    lines = text.split("\n", place[0])
    if place[0] and "\t" in lines[min(place[0], len(lines)) - 1][: place[1]]:
        return "; indent with spaces, not tabs"
    if "mapping values are not allowed" in reason:
        return "; quote a text that contains ': '"
    return ""


class _Reader:
    """Parses a text in one pass. ``_open_nodes`` is the stack of collections not yet closed."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._open_nodes: list[SourceNode] = []
        self._keys: list[str | None] = []
        self._root: SourceNode | None = None
        self._documents = 0

    def read(self, text: str) -> SourceNode | None:
        for event in yaml.parse(text, Loader=_LOADER):
            self._handle_event(event)
        return self._root

    def _handle_event(self, event: yaml.Event) -> None:
        mark = event.start_mark
        place = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        match event:
            case yaml.ScalarEvent():
                self._refuse_extras(event, place)
                self._read_scalar(event, place)
            case yaml.MappingStartEvent():
                self._refuse_extras(event, place)
                self._open_collection(SourceNode({}, place), place)
            case yaml.SequenceStartEvent():
                self._refuse_extras(event, place)
                self._open_collection(SourceNode([], place), place)
            case yaml.CollectionEndEvent():
                self._open_nodes.pop()
                self._keys.pop()
            case yaml.AliasEvent():
                self._abort(place, "aliases (*name) are not allowed; write the value out")
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    self._abort(place, "a file contains one workflow; remove the second document")

    def _abort(self, place: Place, message: str) -> NoReturn:
        self._problems.abort(place, "", message)

    def _refuse_extras(self, event: yaml.NodeEvent, place: Place) -> None:
        if event.anchor is not None:
            self._abort(place, "anchors (&name) are not allowed; write the value out")
        if getattr(event, "tag", None) is not None:
            self._abort(place, "tags (!name) are not allowed; remove the tag")

    def _open_collection(self, node: SourceNode, place: Place) -> None:
        if len(self._open_nodes) >= MAX_DEPTH:
            self._abort(place, TOO_DEEP)
        self._attach_node(node, place)
        self._open_nodes.append(node)
        self._keys.append(None)

    def _read_scalar(self, event: yaml.ScalarEvent, place: Place) -> None:
        plain = event.implicit[0] and not event.style
        if self._expects_key():
            self._read_key(str(event.value), plain, place)
        elif plain:
            self._attach_node(
                SourceNode(self._resolve_scalar(str(event.value), place), place), place
            )
        else:
            self._attach_node(SourceNode(str(event.value), place), place)

    def _expects_key(self) -> bool:
        return (
            bool(self._open_nodes)
            and isinstance(self._open_nodes[-1].value, dict)
            and (self._keys[-1] is None)
        )

    def _read_key(self, key: str, plain: bool, place: Place) -> None:
        node = self._open_nodes[-1]
        if plain and not isinstance(resolve_plain(key), str):
            self._abort(place, f'a key must be text; quote it: "{key[:40]}"')
        if key in node.keys:
            line, column = node.keys[key]
            self._abort(
                place, f"duplicate key {key[:60]!r}; it is already at line {line}, column {column}"
            )
        node.keys[key] = place
        self._keys[-1] = key

    def _attach_node(self, node: SourceNode, place: Place) -> None:
        if not self._open_nodes:
            self._root = node
            return
        parent = self._open_nodes[-1].value
        if isinstance(parent, list):
            parent.append(node)
            return
        assert isinstance(parent, dict)
        key = self._keys[-1]
        if key is None:
            self._abort(place, "a key must be text, not a list or a map")
        parent[key] = node
        self._keys[-1] = None

    def _resolve_scalar(self, text: str, place: Place) -> Scalar:
        value = resolve_plain(text)
        fault = number_fault(value) if isinstance(value, int | float) else ""
        if fault:
            self._abort(place, fault)
        return value


def resolve_plain(text: str) -> Scalar:
    """Resolve a plain scalar by the core schema of YAML 1.2 (section 10.3.2)."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if text in _NOT_FINITE:
        return float(text.replace(".", "", 1))
    return _parse_number(text)


def _parse_number(text: str) -> Scalar:
    for prefix, base, digits in (("0o", 8, "01234567"), ("0x", 16, "0123456789abcdefABCDEF")):
        if text.startswith(prefix):
            return int(text[2:20], base) if text[2:] and set(text[2:]) <= set(digits) else text
    body = text[1:] if text[0] in "+-" else text
    if body and set(body) <= _DIGITS:
        return int(text[:25])
    return float(text) if _is_float(body) else text


def _is_float(body: str) -> bool:
    mantissa, exponent = body, "0"
    for letter in "eE":
        if letter in body:
            mantissa, _, exponent = body.partition(letter)
            break
    exponent = exponent[1:] if exponent[:1] in ("+", "-") else exponent
    whole, _, fraction = mantissa.partition(".")
    return (
        bool(whole or fraction)
        and set(whole + fraction) <= _DIGITS
        and bool(exponent)
        and set(exponent) <= _DIGITS
    )
