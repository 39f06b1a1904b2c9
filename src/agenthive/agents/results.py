"""Results of Python code as plain JSON: `encode_result`, and where in a result a problem is.

Converted: dataclasses, attrs classes, msgspec structs, pydantic models, named tuples, mappings,
sequences, sets, dates, times, durations, `Decimal`, `UUID`, enums, paths, bytes (as base64), and
numbers and arrays of numpy. Refused, with the place: NaN and infinity, half of a surrogate pair,
cycles, keys that are neither text nor a number, and any other object. A result that cannot be kept
is a bad end: the code ran, and would return the same again.

To convert another type: a line in `_convert`.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any, Final

import msgspec

from agenthive.agents.faults import fault_reply, summarise_error
from agenthive.core.engine.reply_validation import MAX_DEPTH
from agenthive.core.model.calls import Reply
from agenthive.core.policies.fault_classes import FaultClass
from agenthive.core.values import JSONValue
from agenthive.errors import APIError, ResultTooLarge

#: The largest result, in bytes of JSON.
MAX_RESULT: Final = 16 * 2**20
#: Values of a result that are searched for the one that cannot be kept.
_MAX_SEARCHED: Final = 1_000_000
#: Values that are inspected by themselves, because they hold no others.
_LEAVES: Final = (str, bytes, bytearray, memoryview, int, float, type(None))


class UnkeptResult(APIError):
    """A result that the journal cannot keep; the message names the place and the reason."""


def result_reply(result: Any) -> Reply:
    """The reply with a result of Python code; a fault if the result cannot be kept."""
    try:
        return Reply(result=encode_result(result))
    except UnkeptResult as error:
        return fault_reply("invalid_reply", error.message, FaultClass.BAD_END)


def encode_result(result: Any) -> JSONValue:
    """The result as plain JSON, which shares no object with ``result``.

    Raises UnkeptResult, also for more than `MAX_RESULT` bytes.
    """
    try:
        plain = msgspec.to_builtins(result, str_keys=True, enc_hook=_convert)
        check_size(plain, MAX_RESULT)
        # The run must see what a replay will read from the journal: plain JSON that shares no
        # object with the code that made it, which might change it later.
        return msgspec.json.decode(msgspec.json.encode(plain))  # type: ignore[no-any-return]
    except APIError as error:
        raise UnkeptResult(f"it ran, and {error.message}") from None
    except BaseException as error:
        # Converting calls methods of the result's own classes, which may raise anything, exit()
        # included. Nothing here waits, so it cannot be the end of this call from outside.
        raise UnkeptResult(_describe_problem(result, error)) from None


def check_size(value: Any, most: int) -> int:
    """The size of a value as JSON, in bytes.

    Raises ResultTooLarge if it is more than ``most`` bytes, and ValueError if the value has no JSON
    form (NaN, infinity).
    """
    size = len(json.dumps(value, allow_nan=False, ensure_ascii=False).encode())
    if size > most:
        raise ResultTooLarge(f"the result is larger than {most} bytes")
    return size


def _convert(value: Any) -> Any:
    """A value of a type that msgspec does not know as one that it knows. Raises TypeError."""
    for plain_type in (str, int, float):
        if isinstance(value, plain_type):  # Of a subclass, such as numpy's numbers.
            return plain_type(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    module = type(value).__module__.partition(".")[0]
    if module == "numpy" and hasattr(value, "tolist"):
        return value.tolist()
    if callable(getattr(value, "model_dump", None)):  # A model of pydantic.
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Set | Sequence):
        return list(value)
    raise TypeError(f"an object of type {_type_name(value)} cannot be kept")


def _describe_problem(result: Any, error: BaseException) -> str:
    """Where the first value is that cannot be kept, and why."""
    try:
        place, reason = _find_problem(result)
    except BaseException:
        place, reason = "", ""
    problem = f"{place}: {reason}" if place else f"result: {summarise_error(error)}"
    return f"it ran, and its result cannot be kept: {problem}"


def _find_problem(result: Any) -> tuple[str, str]:
    """The place and the reason of the first value that cannot be kept; empty if none is found."""
    pending: list[tuple[str, Any, int]] = [("result", result, 0)]
    for _ in range(_MAX_SEARCHED):
        if not pending:
            break
        place, value, depth = pending.pop()
        if depth > MAX_DEPTH:
            shown = place if len(place) < 80 else f"{place[:60]} ..."
            return shown, f"it is nested more than {MAX_DEPTH} levels deep, or contains itself"
        if isinstance(value, _LEAVES):
            if reason := _find_leaf_problem(value):
                return place, reason
            continue
        try:
            children = _list_children(place, value)
        except _BadKey as error:
            return place, str(error)
        except Exception as error:
            return place, str(error)
        pending += [(child, item, depth + 1) for child, item in reversed(children)]
    return "", ""


class _BadKey(ValueError):
    """A key of a mapping that JSON cannot have."""


def _list_children(place: str, value: Any) -> list[tuple[str, Any]]:
    """The values directly in a value, with their places. Raises any exception."""
    if isinstance(value, Mapping):
        return list(_list_entries(place, value))
    if isinstance(value, list | tuple | Set | Sequence):
        return [(f"{place}[{number}]", item) for number, item in enumerate(value)]
    fields = _list_fields(value)
    if fields is not None:
        return [
            (f"{place}.{name}", getattr(value, name)) for name in fields if hasattr(value, name)
        ]
    # A value without parts, or one that is converted to something with parts.
    plain = msgspec.to_builtins(value, str_keys=True, enc_hook=_convert)
    if isinstance(plain, _LEAVES):
        if reason := _find_leaf_problem(plain):
            raise ValueError(reason)
        return []
    return _list_children(place, plain)


def _list_fields(value: Any) -> Iterable[str] | None:
    """The names of the fields of an object; None if it has none that are known."""
    for name in ("__dataclass_fields__", "__struct_fields__"):
        fields = getattr(type(value), name, None)
        if fields is not None:
            return list(fields)
    attributes = getattr(type(value), "__attrs_attrs__", None)
    return None if attributes is None else [attribute.name for attribute in attributes]


def _list_entries(place: str, mapping: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    for key, item in mapping.items():
        try:
            ((name, _),) = msgspec.to_builtins(
                {key: None}, str_keys=True, enc_hook=_convert
            ).items()
        except Exception:
            raise _BadKey(f"a key of type {_type_name(key)} cannot be kept") from None
        if reason := _find_leaf_problem(name):
            raise _BadKey(f"a key cannot be kept: {reason}")
        yield (f"{place}.{name}" if name.isidentifier() else f"{place}[{name!r}]"), item


def _find_leaf_problem(value: Any) -> str:
    """Why a value without parts cannot be kept; empty if it can."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} cannot be kept: JSON has no such number".replace("nan", "NaN")
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return "the text contains half of a surrogate pair and cannot be kept"
    return ""


def _type_name(value: Any) -> str:
    kind = type(value)
    return (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )
