"""The judge of models that have turns is judged: what is right passes, what is not is found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from agenthive.simulation.case import SimulationCase
from agenthive.simulation.oracles.model_turns import TURN_CHECKS

TOOL = {"name": "look", "agent": "eyes", "action": "act look"}
SPEC = {
    "agents": [{"name": name, "type": "custom", "endpoint": name} for name in ("a", "b", "eyes")],
    "tasks": [
        {
            "name": "q",
            "agent": "a",
            "action": "do",
            "tools": [TOOL],
            "max_turns": 3,
            "fallback": [{"agent": "b"}],
        },
    ],
}
ASKED = {"id": "1", "name": "look", "arguments": {"n": 5}}


def started(task: str, agent: str) -> dict[str, Any]:
    return {"type": "task.started", "task": task, "attempt": 1, "agent": agent, "key": task}


def succeeded(task: str, result: Any, *asks: Any) -> dict[str, Any]:
    found = {"type": "task.succeeded", "task": task, "attempt": 1, "result": result}
    return found | ({"asks": list(asks)} if asks else {})


def called(task: str, agent: str, action: str = "do", **more: Any) -> tuple[int, str, Any]:
    data = {"run": "r", "task": task, "agent": agent, "action": action, "parameters": {}}
    return (0, "called", data | {"turns": [], "dependencies": {}} | more)


def told(content: str = '{"n":1}', failed: bool = False, said: Any = "hm") -> Any:
    return {
        "said": said,
        "note": "",
        "outcomes": [{"asked": ASKED, "content": content, "failed": failed}],
    }


def sound() -> SimulationCase:
    """Two turns, with a tool between them."""
    found = SimulationCase(
        {"r": SPEC},
        [
            called("q~1", "a"),
            called("q~1[0]", "eyes", "act look", parameters={"n": 5}),
            called("q~2", "a", turns=[told()]),
        ],
    )
    found.journal["r"] = [
        {"type": "run.submitted", "run": "r"},
        started("q~1", "a"),
        succeeded("q~1", "hm", ASKED),
        started("q~1[0]", "eyes"),
        succeeded("q~1[0]", {"n": 1}),
        started("q~2", "a"),
        succeeded("q~2", "well"),
    ]
    found.hive = [{"type": "hive.run_closed", "run": "r", "status": "completed"}]
    return found


def lines(found: SimulationCase) -> list[str]:
    return [line for check in TURN_CHECKS for line in check(found)]


def test_what_is_right_passes() -> None:
    assert lines(sound()) == []


def swap(i: int, j: int) -> Callable[[SimulationCase], None]:
    def change(case: SimulationCase) -> None:
        facts = case.journal["r"]
        facts[i], facts[j] = facts[j], facts[i]

    return change


def see(number: int, **data: Any) -> Callable[[SimulationCase], None]:
    return lambda case: case.observations[number][2].update(data)


def fact(number: int, **data: Any) -> Callable[[SimulationCase], None]:
    return lambda case: case.journal["r"][number].update(data)


def fails_first(case: SimulationCase) -> None:
    """The first model could not, and the next one goes on."""
    case.journal["r"][2:5] = [
        {
            "type": "task.failed",
            "task": "q~1",
            "attempt": 1,
            "fault": {"kind": "x", "retriable": False},
        },
    ]
    case.journal["r"][3]["agent"] = "b"
    case.observations[1:] = [called("q~2", "b")]


def test_who_goes_on_may() -> None:
    found = sound()
    fails_first(found)
    assert lines(found) == []


def left(case: SimulationCase, breaker: int | None = 5, closed: int = 9) -> None:
    """The first model's breaker is open, and the next one goes on."""
    fails_first(case)
    fault = {"kind": "breaker_open", "retriable": False}
    case.journal["r"][1:3] = [{"type": "task.faulted", "task": "q~1", "at": 7, "fault": fault}]
    del case.observations[0]
    if breaker is not None:
        where = "custom a"
        case.hive += [
            {"type": "hive.breaker_opened", "endpoint": where, "at": breaker},
            {"type": "hive.breaker_closed", "endpoint": where, "at": closed},
        ]


@pytest.mark.parametrize(("opened", "closed"), [(5, 9), (7, 7), (5, 7), (7, 9)])
def test_what_waits_for_a_breaker_may_be_left_to_others(opened: int, closed: int) -> None:
    found = sound()
    left(found, opened, closed)
    assert lines(found) == []


def left_to_nobody(case: SimulationCase) -> None:
    left(case)
    case.journal["r"][2:] = [msgspec.json.decode(msgspec.json.encode(case.journal["r"][1]))]
    case.journal["r"][2]["task"] = "q~2"
    case.observations.clear()


def left_by_a_tool(case: SimulationCase) -> None:
    left(case)
    case.journal["r"][1]["task"] = "q"


def asks_on(turns: int) -> Callable[[SimulationCase], None]:
    def change(case: SimulationCase) -> None:
        for number in range(2, turns + 1):
            key = f"q~{number}"
            facts = case.journal["r"]
            facts[-1].update(asks=[ASKED])
            facts += [started(f"{key}[0]", "eyes"), succeeded(f"{key}[0]", {"n": 1})]
            facts += [started(f"q~{number + 1}", "a"), succeeded(f"q~{number + 1}", "well")]

    return change


def again_by_the_first(case: SimulationCase) -> None:
    fails_first(case)
    case.journal["r"][3]["agent"] = "a"


def nobody_is_left(case: SimulationCase) -> None:
    fails_first(case)
    failed = {"type": "task.failed", "task": "q~2", "attempt": 1, "fault": {"retriable": False}}
    case.journal["r"][-1:] = [failed, started("q~3", "b"), succeeded("q~3", "x")]


def stops_without_a_loop(case: SimulationCase, again: int = 0) -> None:
    """The run goes on until every task has ended; its model asks once more and is stopped."""
    asks = [ASKED] * again or [{**ASKED, "arguments": {"n": 6}}]
    case.specs["r"] = SPEC | {"failure_strategy": "continue_on_failure"}
    case.journal["r"][6] = succeeded("q~2", "well", *asks)
    case.hive[0]["status"] = "failed"


def repeats_without_end(case: SimulationCase) -> None:
    tool = {**TOOL, "repeats": 1}
    case.specs["r"] = SPEC | {"tasks": [{**SPEC["tasks"][0], "tools": [tool]}]}
    asks_on(2)(case)


WRONG: dict[str, Callable[[SimulationCase], None]] = {
    "q~1: moved to a fallback, but its breaker was not open": lambda case: left(case, None),
    "q~1: moved to a fallback, but its breaker was not": lambda case: left(case, 8),
    "moved to a fallback, but its breaker was not open": lambda case: left(case, 5, 6),
    "q~2: moved to a fallback, but there is none": left_to_nobody,
    "q: moved to a fallback, but is not a turn": left_by_a_tool,
    "started before the previous turn had ended": swap(2, 5),
    "started before q~1[0] had ended": swap(4, 5),
    "requested nothing": fact(2, asks=[]),
    "called without a request": fact(2, asks=[{**ASKED, "problem": "no"}]),
    "eyes was called for act fetch": see(1, action="act fetch"),
    "b was called for act look": see(1, agent="b"),
    "requested was {'n': 5}": see(1, parameters={"n": 6}),
    "other turns than there were": see(2, turns=[]),
    "received results of other tools": see(2, turns=[{**told(), "outcomes": []}]),
    "the model received nothing, not": see(2, turns=[told("nothing")]),
    "the model received a failure": see(2, turns=[told(failed=True)]),
    "a has the turn of b": again_by_the_first,
    "no fallback agent was left": nobody_is_left,
    "one turn too many": asks_on(4),
    "still requests a tool": fact(6, asks=[ASKED]),
    "stopped after q~2, though it was in no loop": stops_without_a_loop,
    "continued, though a request was repeated too often": repeats_without_end,
    "called as a whole": lambda case: case.journal["r"].append(started("q", "a")),
}


@pytest.mark.parametrize(("says", "change"), list(WRONG.items()), ids=list(WRONG))
def test_what_is_wrong_is_found(says: str, change: Callable[[SimulationCase], None]) -> None:
    found = sound()
    change(found)
    assert any(says in line for line in lines(found)), lines(found)


def test_as_many_turns_as_are_allowed() -> None:
    found = sound()
    asks_on(2)(found)
    assert lines(found) == []


def test_a_model_in_a_loop_may_be_stopped() -> None:
    found = sound()
    stops_without_a_loop(found, again=5)
    assert lines(found) == []


def test_every_check_has_been_seen_to_find_something() -> None:
    silent = {check.__name__ for check in TURN_CHECKS}
    for change in WRONG.values():
        found = sound()
        change(found)
        silent -= {check.__name__ for check in TURN_CHECKS if list(check(found))}
    assert silent == set()
