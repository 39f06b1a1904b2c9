"""Numbers in definitions: at each numeric key of the JSON Schema, one is refused or does no harm.

The keys come from the schema, so a new key is tested from the day it is added: it must be added to
`definition`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from agenthive import Hive
from agenthive.authoring import loads
from agenthive.authoring.dialect.json_schema import build_schema
from agenthive.core.model.states import RunStatus
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.errors import ConfigurationError, RunNotFound

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


# What is accepted is run.

RETRY = {"max_attempts": 2, "initial_delay": 0.01, "max_delay": 0.02, "exponential_base": 2}
APPROVAL = {
    "message": "ok?",
    "deadline": 0.05,
    "on_deadline": "approve",
    "quorum": 1,
    "approvers": ["ann", "bob"],
    "escalate": {"after": 0.02, "to": ["bob"]},
}
CALL = {"agent": "f", "action": "call", "timeout": 5}
AGENT = {
    "name": "f",
    "type": "custom",
    "endpoint": "custom://f",
    "timeout": 5,
    "max_concurrency": 2,
    "max_cost": 0.001,
    "cost_limit": 1,
    "circuit_breaker": {
        "failure_threshold": 3,
        "recovery_timeout": 0.05,
        "half_open_max_calls": 1,
    },
    "rate_limit": {
        "requests_per_minute": 1000,
        "requests_per_hour": 10_000,
        "requests_per_day": 100_000,
        "concurrent_requests": 5,
        "tokens_per_minute": 100_000,
    },
    "retry_config": RETRY,
}
SMALL = ["0", "-0.0", "1.0", "1e-300", "0.1", "3.0000000000000001", "null"]
LARGE = ["9007199254740993", "1000000000000000", str(2**63 - 1), str(2**63), "1e15"]
OTHER = ["true", '"5"', "-1", "[1]", "{}"]


def definition() -> dict[str, Any]:
    """A good definition with a number at each numeric key; it completes in a moment."""
    tool = {
        "name": "tool",
        "description": "A tool.",
        "repeats": 2,
        "max_cost": 0.001,
        "max_result": 1000,
        "retry_config": RETRY,
        "approval": APPROVAL,
        "reconcile": CALL,
    }
    top: dict[str, Any] = {"agenthive": 1, "global_timeout": 5, "max_parallel": 4}
    top |= {"budget": {"limit": 10}, "agents": [AGENT]}
    task = {
        "priority": 1,
        "estimated_duration": 1,
        "cost_limit": 1,
        "max_cost": 0.001,
        "heartbeat_timeout": 4,
        "retry_config": RETRY,
        "cache": {"ttl": 5},
        "compensate": CALL | {"retry_config": RETRY},
    }
    model = {"name": "m", "type": "ai_agent", "endpoint": "offline://extractive", "max_cost": 0.01}
    tasks = [
        {"name": "plain", **CALL, **task},
        {"name": "each", **CALL, "for_each": {"items": [1, 2], "max_items": 5, "max_parallel": 2}},
        {"name": "rounds", **CALL, "repeat_until": {"until": "True", "max_rounds": 2}},
        {"name": "late", **CALL, "delay": 0.01},
        {"name": "asks", **CALL, "approval": APPROVAL},
        {"name": "once", **CALL, "effect": "once", "reconcile": CALL},
        {"name": "waits", "wait_for": {"signal": "ready", "timeout": 5}},
        {
            "name": "turns",
            "agent": "m",
            "action": "chat_completion",
            "parameters": {"text": "x"},
            "max_turns": 3,
            "tools": [CALL | tool],
        },
        {"name": "child", "workflow": {**top, "name": "kid", "tasks": [{"name": "x", **CALL}]}},
    ]
    return {**top, "name": "w", "agents": [AGENT, model], "tasks": tasks}


def put_number(path: tuple[str, ...], number: str) -> str:
    """The good definition as JSON, with a number at every place of a path; "" if there is none."""
    whole = json.loads(json.dumps(definition()))
    places = [whole]
    for step in path[:-1]:
        found = [place if step == "[]" else place.get(step) for place in places]
        places = [one for one in found if isinstance(one, dict)]
        places += [one for item in found if isinstance(item, list) for one in item]
    places = [place for place in places if isinstance(place, dict) and path[-1] in place]
    for place in places:
        place[path[-1]] = "@"
    return json.dumps(whole).replace('"@"', number) if places else ""


def load_spec(text: str, format: str) -> tuple[WorkflowSpec | None, str]:
    """The definition, or what is wrong with it."""
    try:
        return loads(text, "w", format).spec, ""
    except ConfigurationError as error:
        return None, str(error)


async def play(hive: Hive, spec: WorkflowSpec, *, seconds: float) -> RunStatus:
    """Run for at most some seconds; an approval passes at its deadline."""
    run = await hive.submit(spec)
    with suppress(RunNotFound):  # a run without money has ended
        await hive.signals.send(run, "ready")
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while await hive.wait_for_end(run) == RunStatus.WAITING:  # noqa: ASYNC110 - a deadline
                await asyncio.sleep(0.01)
    return (await hive.report(run)).status


@pytest.mark.slow
@pytest.mark.parametrize("path", KEYS, ids=".".join)
async def test_a_number_is_refused_with_its_place_or_does_no_harm(path: tuple[str, ...]) -> None:
    specs = {}
    for number in (*SMALL, *LARGE, *OTHER):
        text = put_number(path, number)
        assert text, f"add {'.'.join(path)} to the definition"
        for format in ("yaml", "json"):
            spec, problem = load_spec(text, format)
            assert spec or "w:1:" in problem, number
            if spec:
                specs[number] = spec
    # The smallest and the largest show what the others would.
    for number in {*[*specs][:1], *[*specs][-1:]}:
        async with Hive.open() as hive:
            hive.agents.register("f", lambda action, parameters: 1)
            await play(hive, specs[number], seconds=0.3)
            good = loads(json.dumps(definition()), "w", "json").spec
            assert await play(hive, good, seconds=10) == "completed"
