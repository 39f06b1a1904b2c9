"""Numbers in definitions: at each numeric key of the JSON Schema, an odd number is refused there.

The keys come from the schema, so a new key is tested from the day it is added.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from agenthive.authoring import loads
from agenthive.authoring.dialect.json_schema import build_schema
from agenthive.errors import ConfigurationError

NUMERIC = {"number", "integer"}
ODD = ["1e308", "-1e308", "1" + "0" * 400, str(2**70), "NaN", "Infinity", ".nan", ".inf", "-1.5"]


def list_numeric_keys(
    schema: dict[str, Any], definitions: dict[str, Any], path: tuple[str, ...], seen: frozenset[str]
) -> Iterator[tuple[str, ...]]:
    """Paths of the keys that take a number; ``[]`` is an item of a list, ``*`` a free name."""
    if not isinstance(schema, dict):
        return
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        if name in seen or name not in definitions:
            return
        schema, seen = definitions[name], seen | {name}
    types = schema.get("type", ())
    if NUMERIC & ({types} if isinstance(types, str) else set(types)):
        yield path
    for key, value in schema.get("properties", {}).items():
        yield from list_numeric_keys(value, definitions, (*path, key), seen)
    for key, step in (("items", "[]"), ("additionalProperties", "*")):
        if isinstance(schema.get(key), dict):
            yield from list_numeric_keys(schema[key], definitions, (*path, step), seen)
    for key in ("oneOf", "anyOf"):
        for value in schema.get(key, ()):
            yield from list_numeric_keys(value, definitions, path, seen)


SCHEMA = build_schema()
KEYS = sorted(set(list_numeric_keys(SCHEMA, SCHEMA["$defs"], (), frozenset())))  # type: ignore[arg-type]


def write_definition(path: tuple[str, ...], number: str) -> str:
    """A definition in flow style, good as JSON and as YAML, with only a number at a path."""
    if not path:
        return number
    inner = write_definition(path[1:], number)
    name = "x" if path[0] == "*" else path[0]
    return f"[{inner}]" if path[0] == "[]" else f'{{"{name}": {inner}}}'


def test_the_schema_has_numeric_keys() -> None:
    assert len(KEYS) >= 30


@pytest.mark.parametrize("format", ["yaml", "json"])
@pytest.mark.parametrize("path", KEYS, ids=".".join)
def test_an_odd_number_is_refused_with_its_place(path: tuple[str, ...], format: str) -> None:
    for number in ODD:
        definition = write_definition(path, number)
        with pytest.raises(ConfigurationError) as caught:
            loads(definition, "w", format)
        place = f"w:1:{definition.index(number) + 1}:"
        assert place in str(caught.value), (number, str(caught.value))
