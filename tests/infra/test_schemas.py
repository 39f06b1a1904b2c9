"""Schemas that are used and those that are not, and what a value is told."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthive.infra import schemas

TREE = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "below": {"items": {"$ref": "#"}}},
    "required": ["name"],
    "additionalProperties": False,
}
GOOD: dict[str, dict[str, Any]] = {
    "empty": {},
    "plain": {"type": "object", "properties": {"a": {"type": "integer"}}},
    "tree": TREE,
    "either branch": {"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}},
    "defs": {"$ref": "#/$defs/a~1b%20c", "$defs": {"a/b c": {"type": "integer"}}},
    "flag": {"properties": {"a": True, "b": False}, "items": True},
    "property called $ref": {"properties": {"$ref": {"type": "string"}, "$id": {}}},
    "value that looks like one": {"const": {"$ref": "http://x"}, "enum": [{"$id": "x"}]},
    "to a flag": {"$ref": "#/$defs/any", "$defs": {"any": True}},
    "linear pattern": {"pattern": "^(a+)+$"},
}
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "type": ({"properties": {"a": {"type": "strng"}}}, "properties.a.type: "),
    "bound": ({"minimum": "x"}, 'minimum: "x" is not of type "number"'),
    "remote": ({"items": {"$ref": "https://example.com/x.json"}}, "items: $ref: "),
    "file": ({"$ref": "file:///etc/passwd"}, "agenthive fetches none"),
    "nowhere": ({"$ref": "#/$defs/b", "$defs": {"a": {}}}, "there is no schema at '#/$defs/b'"),
    "own name": ({"properties": {"a": {"$id": "x"}}}, "properties.a: $id is not supported"),
    "dynamic": ({"$dynamicRef": "#x"}, "$dynamicRef is not supported"),
    "itself": ({"$ref": "#"}, "back to itself"),
    "each other": (
        {"$ref": "#/$defs/a", "$defs": {"a": {"not": {"$ref": "#/$defs/b"}}, "b": {"$ref": "#"}}},
        "back to itself",
    ),
    "pattern": ({"pattern": "("}, 'pattern: "(" is not a "regex"'),
    "look-around": ({"pattern": "(?=a)a"}, "have no look-around"),
    "back-reference": ({"pattern": r"(a)\1"}, "have no look-around or back-references"),
    "huge pattern": ({"pattern": "((a{1000}){1000}){1000}"}, "must be small"),
    "items as a list": ({"items": [{}]}, "items: "),
    "doubling": (
        {
            "$ref": "#/$defs/0",
            "$defs": {str(i): {"anyOf": [{"$ref": f"#/$defs/{i + 1}"}] * 2} for i in range(40)}
            | {"40": {"type": "null"}},
        },
        "alternatives within alternatives",
    ),
    "doubling with depth": (
        {"anyOf": [{"items": {"$ref": "#"}}, {"items": {"$ref": "#"}}]},
        "alternatives within alternatives",
    ),
    "overlapping names": (
        {"properties": {"a": {"$ref": "#"}}, "patternProperties": {"^a": {"$ref": "#"}}},
        "alternatives within alternatives",
    ),
    "many parts": ({"properties": {str(i): {} for i in range(2000)}}, "2,000 parts"),
}


@pytest.mark.parametrize("name", GOOD)
def test_used(name: str) -> None:
    assert schemas.check_schema(GOOD[name]) == ""
    schemas.compile_schema(GOOD[name])(1)


@pytest.mark.parametrize("name", BAD)
def test_refused(name: str) -> None:
    schema, why = BAD[name]
    start = time.process_time()
    said = schemas.check_schema(schema)
    assert time.process_time() - start < 2
    assert why in said
    assert len(said) <= 500


def test_depth_is_bounded() -> None:
    schema: dict[str, Any] = {}
    for _ in range(100_000):
        schema = {"not": schema}
    assert "64 levels" in schemas.check_schema(schema)
    while schema:  # taken apart by hand: Python frees so deep a value by recursion
        schema = schema.pop("not")


@pytest.mark.parametrize(
    ("schema", "value", "said"),
    [
        ({"type": "integer"}, 1, ""),
        ({"type": "integer"}, "hunter2", 'it is not of type "integer"'),
        (TREE, {"name": "a", "below": [{"name": "b"}]}, ""),
        (TREE, {"name": "a", "below": [{"name": "b"}, {"name": 5}]}, "below[1].name: "),
        (TREE, {"below": []}, '"name" is a required property'),
        (TREE, {"name": "a", "x": "hunter2"}, "('x' was unexpected)"),
        ({"enum": ["a", "b"]}, "hunter2", "it is not one of"),
        ({"pattern": "^[a-z]+$"}, "hunter2", "it does not match"),
        ({"maximum": 3}, 10**30, "it is greater than the maximum of 3"),
        ({"type": "number"}, float("nan"), "it is not"),
        ({"items": {"minLength": 3}}, ["\ud800"], "utf-8"),
    ],
)
def test_first_fault(schema: dict[str, Any], value: Any, said: str) -> None:
    found = schemas.compile_schema(schema)(value)
    assert said in found
    assert bool(said) == bool(found)
    assert "hunter2" not in found


def test_the_deepest_result_is_looked_through() -> None:
    value: Any = "x"
    for _ in range(schemas.DEEPEST_VALUE):
        value = [value]
    schema: dict[str, Any] = {"items": {"$ref": "#"}, "not": {"type": "string"}}
    for _ in range(25):
        schema = {"allOf": [schema]}
    assert schemas.check_schema(schema) == ""
    path = "[0]" * schemas.DEEPEST_VALUE
    assert (
        schemas.compile_schema(schema)(value) == path + ': {"type":"string"} is not allowed for it'
    )


def test_patterns_and_long_lists_take_no_time() -> None:
    start = time.process_time()
    assert schemas.compile_schema({"pattern": "^(a+)+$"})("a" * 1_000_000 + "b")
    assert schemas.compile_schema({"items": {"type": "integer"}})(["x"] * 1_000_000)
    assert time.process_time() - start < 5


def test_a_schema_that_was_not_checked_raises() -> None:
    with pytest.raises(ValueError, match="not valid"):
        schemas.compile_schema({"type": "strng"})


KEYS = st.sampled_from(
    ["$ref", "$defs", "properties", "items", "anyOf", "not", "type", "pattern", "enum", "required"]
) | st.text(max_size=3)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["$ref", "anyOf", "oneOf", "allOf"])
def test_the_longest_way_down_fits_the_stack(kind: str) -> None:
    value: Any = "x"
    for _ in range(schemas.DEEPEST_VALUE):
        value = [value]
    for length in (46, 90, 97):
        chain: dict[str, Any] = {"0": {"items": {"$ref": "#"}, "not": {"type": "string"}}}
        for i in range(length):
            below = {"$ref": f"#/$defs/{i}"}
            chain[str(i + 1)] = below if kind == "$ref" else {kind: [below]}
        schema = {"$ref": f"#/$defs/{length}", "$defs": chain}
        if not schemas.check_schema(schema):
            assert schemas.compile_schema(schema)(value)
    assert schemas.check_schema(schema)


@given(st.dictionaries(KEYS, JSON | st.sampled_from(["#", "#/$defs/a"]), max_size=5), JSON)
def test_anything_is_told_and_nothing_raises(schema: dict[str, Any], value: Any) -> None:
    if not schemas.check_schema(schema):
        assert isinstance(schemas.compile_schema(schema)(value), str)
