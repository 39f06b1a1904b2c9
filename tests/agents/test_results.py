"""Results of Python code: what is converted, and where that is which cannot be kept."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import math
import pathlib
import types
import uuid
from typing import Any, NamedTuple, TypedDict

import msgspec
import pydantic
import pytest

from agenthive.agents.results import MAX_RESULT, UnkeptResult, encode_result, result_reply
from agenthive.core.policies.fault_classes import FaultClass


class Colour(enum.Enum):
    RED = "red"


class Model(pydantic.BaseModel):
    name: str = "a"
    at: datetime.date = datetime.date(2026, 1, 2)
    path: pathlib.Path = pathlib.Path("/x")
    price: float = 1.5


@dataclasses.dataclass
class Item:
    name: str
    price: float = 1.0
    more: Any = None


class Entry(TypedDict):
    at: datetime.datetime


class Pair(NamedTuple):
    left: int
    right: int


class Struct(msgspec.Struct):
    items: list[Any]


class Text(str):
    """A subclass, as libraries have them."""


class Number(float):
    """As numpy's float64 is one."""


class Mapped(collections.UserDict[str, Any]):
    """A mapping that is no dict."""


UTC = datetime.UTC
KEPT: list[tuple[Any, Any]] = [
    (Model(), {"name": "a", "at": "2026-01-02", "path": "/x", "price": 1.5}),
    ({"m": [Model(name="b")]}, {"m": [Model(name="b").model_dump(mode="json")]}),
    (Item("a"), {"name": "a", "price": 1.0, "more": None}),
    (
        Item("a", more=Item("b")),
        {"name": "a", "price": 1.0, "more": {"name": "b", "price": 1.0, "more": None}},
    ),
    (Entry(at=datetime.datetime(2026, 1, 2, 3, tzinfo=UTC)), {"at": "2026-01-02T03:00:00Z"}),
    (Struct([1]), {"items": [1]}),
    (Pair(1, 2), [1, 2]),
    (pathlib.Path("/a/b"), "/a/b"),
    ({"p": pathlib.PurePosixPath("a")}, {"p": "a"}),
    (decimal.Decimal("1.10"), "1.10"),
    ({1}, [1]),
    (frozenset(["a"]), ["a"]),
    (Colour.RED, "red"),
    ({Colour.RED: 1}, {"red": 1}),
    (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (b"bytes", "Ynl0ZXM="),
    (datetime.time(1, 2), "01:02:00"),
    (datetime.timedelta(seconds=90), "PT90S"),
    (collections.deque([1, 2]), [1, 2]),
    (range(3), [0, 1, 2]),
    (types.MappingProxyType({"a": 1}), {"a": 1}),
    (Mapped({"a": pathlib.Path("b")}), {"a": "b"}),
    (Text("a"), "a"),
    ({Text("a"): Text("b")}, {"a": "b"}),
    (Number(1.5), 1.5),
    ({1: "a", 2.5: "b"}, {"1": "a", "2.5": "b"}),
    (2**70, 2**70),
    ("ä😀", "ä😀"),
]


@pytest.mark.parametrize(("value", "plain"), KEPT, ids=lambda value: type(value).__name__)
def test_what_is_converted(value: Any, plain: Any) -> None:
    assert encode_result(value) == plain


def circle() -> Any:
    value: dict[str, Any] = {}
    value["next"] = [value]
    return value


class Hostile(collections.UserDict[str, Any]):
    def __iter__(self) -> Any:
        raise RuntimeError("never mind")


@dataclasses.dataclass
class Bad:
    items: list[Any]


UNKEPT: list[tuple[Any, str]] = [
    (math.nan, "result: NaN cannot be kept"),
    ({"items": [1, 2, 3, {"price": math.nan}]}, "result.items[3].price: NaN cannot be kept"),
    ([math.inf], "result[0]: inf cannot be kept"),
    (Bad([Number("-inf")]), "result.items[0]: -inf cannot be kept"),
    (Model(price=math.nan), "result.price: NaN cannot be kept"),
    ({"m": [Model(price=math.nan)]}, "result.m[0].price: NaN cannot be kept"),
    (Struct([{"a b": "\ud800"}]), "result.items[0]['a b']: the text contains half"),
    ({"\ud800": 1}, "result: a key cannot be kept: the text contains half"),
    ({(1, 2): 3}, "result: a key of type tuple cannot be kept"),
    ({"a": {None: 1}}, "result.a: a key of type NoneType cannot be kept"),
    ({"a": object()}, "result.a: an object of type object cannot be kept"),
    ([lambda: 1], "result[0]: an object of type function cannot be kept"),
    ((i for i in range(3)), "result: an object of type generator cannot be kept"),
    ([1j], "result[0]: an object of type complex cannot be kept"),
    ({"e": ValueError("x")}, "result.e: an object of type ValueError cannot be kept"),
    (circle(), "nested more than 100 levels deep, or contains itself"),
    (Hostile(), "result: "),
    ("x" * (MAX_RESULT + 1), "larger than"),
]


@pytest.mark.parametrize(("value", "words"), UNKEPT, ids=range(len(UNKEPT)))
def test_what_cannot_be_kept_is_a_bad_end_with_its_place(value: Any, words: str) -> None:
    with pytest.raises(UnkeptResult) as caught:
        encode_result(value)
    assert words in caught.value.message
    assert caught.value.message.startswith("it ran, and ")
    fault = result_reply(value).fault
    assert fault is not None
    assert (fault.kind, fault.class_) == ("invalid_reply", FaultClass.BAD_END)
    assert fault.message == caught.value.message


def test_the_result_shares_nothing_with_the_function() -> None:
    mine = {"a": [1]}
    kept = encode_result(mine)
    mine["a"].append(2)
    assert kept == {"a": [1]}
