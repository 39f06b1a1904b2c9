"""The shipped JSON Schema: current, valid, and of one mind with the loader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from agenthive.authoring import load, loads
from agenthive.authoring.dialect.json_schema import build_schema, format_schema, read_shipped_schema
from agenthive.authoring.readers.problems import Problems
from agenthive.authoring.readers.size_limits import OPERATOR
from agenthive.authoring.readers.sources import read_text
from agenthive.errors import ConfigurationError

from .definitions import BAD, FULL, MINIMAL

ROOT = Path(__file__).parents[2]
VALIDATOR = jsonschema.Draft202012Validator(build_schema())

# What only the loader can say: names that must exist, texts that are a language of their own,
# secrets, Unicode forms, the order of keys.
BEYOND = {
    "dialect is not first",
    "duplicate agent",
    "duplicate task",
    "undefined agent",
    "undefined dependency",
    "self-dependency",
    "cycle",
    "name not composed",
    "bad expression",
    "unknown root",
    "reads no ancestor",
    "reads an undefined task",
    "reads itself",
    "undeclared input",
    "undeclared input of an agent",
    "secret default",
    "literal token",
    "literal after a scheme",
    "bad reference",
    "open reference",
    "bad variable",
    "literal header",
    "compensation agent",
    "expression of an agent",
    "empty reference",
    "header is a number",
    "header with a bad reference",
    "duration without end",
}

GOOD = [
    MINIMAL,
    FULL,
    "agenthive: 1\n" + MINIMAL.replace("agent_name", "agent"),
    MINIMAL + "global_timeout: null\n",
    MINIMAL + "global_timeout: 1.5h\n",
    MINIMAL + "parallel_execution: false\nmax_parallel: 1\n",
    MINIMAL + "inputs: {a: 1, b: null, c: [1], d: {type: secret}, e: {required: true}, f: {}}\n",
    MINIMAL + "inputs: {n: {type: integer, default: null}}\n",
]
STRUCTURE = [
    MINIMAL.replace("agent_name", "agent"),
    "agenthive: 1\n" + MINIMAL.replace("agent_name: a", "agent_name: a, agent: a"),
    "agenthive: true\n" + MINIMAL,
    MINIMAL + "global_timeout: 5 s\n",
    MINIMAL + "global_timeout: 5x\n",
    MINIMAL + "max_parallel: null\n",
    MINIMAL + "inputs: {a: {typ: any}}\n",
    MINIMAL + "inputs: {a/b: 1}\n",
    MINIMAL + "description: 1\n",
    MINIMAL.replace("name: w", "name: '  '"),
    MINIMAL.replace("name: t", "name: ''"),
]


def plain(text: str) -> Any:
    return read_text(text, "yaml", OPERATOR, Problems("x")).to_plain()


def test_schema_is_valid_and_current() -> None:
    jsonschema.Draft202012Validator.check_schema(build_schema())
    assert read_shipped_schema() == format_schema(), (
        "run: python -m agenthive.authoring.dialect.generate"
    )


@pytest.mark.parametrize("text", GOOD)
def test_accepts_what_the_loader_accepts(text: str) -> None:
    loads(text)
    VALIDATOR.validate(plain(text))


@pytest.mark.parametrize("text", STRUCTURE)
def test_refuses_what_the_loader_refuses(text: str) -> None:
    with pytest.raises(ConfigurationError):
        loads(text)
    assert not VALIDATOR.is_valid(plain(text))


@pytest.mark.parametrize("name", [name for name in BAD if name not in BEYOND])
def test_refuses_bad_structure(name: str) -> None:
    try:
        data = plain(BAD[name][0])
    except ConfigurationError:
        return  # no data model at all: nothing a schema could be asked about
    assert not VALIDATOR.is_valid(data)


@pytest.mark.parametrize("name", sorted(BEYOND))
def test_accepts_what_only_the_loader_can_refuse(name: str) -> None:
    VALIDATOR.validate(plain(BAD[name][0]))


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*workflow.yaml")), ids=str)
def test_examples_are_valid(path: Path) -> None:
    loaded = load(path)
    assert loaded.warnings == ()
    VALIDATOR.validate(plain(path.read_text()))


def test_schema_is_json_of_one_meaning() -> None:
    assert json.loads(read_shipped_schema()) == build_schema()
