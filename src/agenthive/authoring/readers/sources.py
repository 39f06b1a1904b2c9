"""Reads a file, a text or a Python mapping into nodes.

A file is read up to the size limit and no further; only regular files and pipes are read. Binary
data is refused before a parser sees it.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Final

from agenthive.authoring.readers.json import read_json
from agenthive.authoring.readers.nodes import NOWHERE, SourceNode
from agenthive.authoring.readers.problems import Problems
from agenthive.authoring.readers.size_limits import MAX_DEPTH, TOO_DEEP, SizeLimits, number_fault
from agenthive.authoring.readers.yaml import read_yaml
from agenthive.infra.text_validation import is_text

FORMATS: Final = ("yaml", "json")
_ALLOWED_CONTROLS: Final = frozenset("\t\n\r\x85")


def read_file(path: Path, limits: SizeLimits, problems: Problems) -> SourceNode:
    """Read a file: JSON if its name ends in ``.json``, else YAML. Raises ConfigurationError."""
    text = _decode_text(_read_bytes(path, limits, problems), problems)
    return read_text(text, "json" if path.suffix.lower() == ".json" else "yaml", limits, problems)


def read_text(text: str, format: str, limits: SizeLimits, problems: Problems) -> SourceNode:
    """Read a text in ``format`` yaml or json. Raises ConfigurationError."""
    if len(text) > limits.max_bytes or len(text.encode(errors="replace")) > limits.max_bytes:
        problems.abort(NOWHERE, "", _too_large_message(limits))
    _refuse_binary(text, problems)
    node = read_json(text, problems) if format == "json" else read_yaml(text, problems)
    if node is None:
        problems.abort(NOWHERE, "", "the file is empty; a workflow needs a name, agents and tasks")
    return node


def _too_large_message(limits: SizeLimits) -> str:
    return f"the file is larger than {limits.max_bytes:,} bytes; split the workflow"


def _read_bytes(path: Path, limits: SizeLimits, problems: Problems) -> bytes:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            problems.abort(NOWHERE, "", "is a directory; give the path of a workflow file")
        if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
            problems.abort(NOWHERE, "", "is not a regular file; give the path of a workflow file")
        with path.open("rb") as file:
            data = file.read(limits.max_bytes + 1)
    except FileNotFoundError:
        problems.abort(NOWHERE, "", "no such file; check the path")
    except (OSError, ValueError) as fault:
        reason = getattr(fault, "strerror", None) or "the path is not valid"
        problems.abort(NOWHERE, "", f"cannot be read: {reason}")
    if len(data) > limits.max_bytes:
        problems.abort(NOWHERE, "", _too_large_message(limits))
    return data


def _decode_text(data: bytes, problems: Problems) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        if b"\0" in data[:4096]:
            problems.abort(NOWHERE, "", "is a binary file; a workflow is a text file")
        before = data[: fault.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode(errors="replace")) + 1
        problems.abort((line, column), "", "is not valid UTF-8; save the file as UTF-8")


def _refuse_binary(text: str, problems: Problems) -> None:
    if text.isprintable():
        return
    lines = text.split("\n")
    for line_number, line in enumerate(lines, 1):
        if line.isprintable():
            continue
        for column, char in enumerate(line, 1):
            if (char < " " or "\x7f" <= char < "\xa0") and char not in _ALLOWED_CONTROLS:
                message = f"contains the control character U+{ord(char):04X}; is it a binary file?"
                problems.abort((line_number, column), "", message)


NO_TEXT: Final = "is not text: invalid UTF-8, or an unpaired surrogate"


def from_python(value: object, problems: Problems, path: str = "", depth: int = 0) -> SourceNode:
    """Convert Python data (maps, lists, tuples, JSON scalars). Raises ConfigurationError."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, int | float) and (fault := number_fault(value)):
        problems.abort(NOWHERE, path, fault)
    if isinstance(value, str) and not is_text(value):
        problems.abort(NOWHERE, path, NO_TEXT)
    if value is None or isinstance(value, bool | int | float | str):
        return SourceNode(value)
    if depth >= MAX_DEPTH:
        problems.abort(NOWHERE, path[:200], TOO_DEEP)
    if not isinstance(value, Mapping | list | tuple):
        problems.abort(
            NOWHERE, path, f"a value of type {type(value).__name__} cannot be converted to JSON"
        )
    if isinstance(value, Mapping):
        return SourceNode(_map_from_python(value, problems, path, depth))
    return SourceNode(
        [from_python(item, problems, f"{path}[{i}]", depth + 1) for i, item in enumerate(value)]
    )


def _map_from_python(
    value: Mapping[object, object], problems: Problems, path: str, depth: int
) -> dict[str, SourceNode]:
    nodes: dict[str, SourceNode] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            problems.abort(NOWHERE, path, f"a key must be text, not {type(key).__name__}")
        if not is_text(key):
            problems.abort(NOWHERE, path, NO_TEXT)
        inner_path = f"{path}.{key}" if path else key
        nodes[key] = from_python(item, problems, inner_path, depth + 1)
    return nodes
