"""The judge is judged: a sound case passes, and each promise that is broken in it is found."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from agenthive.simulation.case import SimulationCase
from agenthive.simulation.oracles.budget import BUDGET_CHECKS
from agenthive.simulation.oracles.flow import FLOW_CHECKS
from agenthive.simulation.oracles.human_input import HUMAN_INPUT_CHECKS
from agenthive.simulation.oracles.judge import CHECKS, judge
from agenthive.simulation.oracles.model_turns import TURN_CHECKS
from agenthive.simulation.oracles.rate_limits import RATE_LIMIT_CHECKS

SECOND = 1_000_000


def spec(**more: Any) -> dict[str, Any]:
    return {
        "name": "w",
        "agents": [{"name": "x", "max_concurrency": 1}, {"name": "y"}],
        "tasks": [
            {"name": "a", "agent": "x", "compensate": {"agent": "y", "action": "u"}},
            {
                "name": "b",
                "agent": "y",
                "effect": "once",
                "depends_on": ["a"],
                "parameters": {"n": "{{ tasks.a.result.n }}", "m": "{{ tasks.a.result.n.x }}"},
            },
            {"name": "c", "agent": "y", "compensate": {"agent": "y", "action": "u"}},
        ],
        "max_parallel": 2,
    } | more


def call(task: str, **more: Any) -> dict[str, Any]:
    return {
        "run": "r",
        "task": task,
        "attempt": 1,
        "key": f"k{task}",
        "parameters": {"n": 1} if task == "b" else {},
        "agent": "x" if task == "a" else "y",
        "dependencies": {"a": {"n": 1}} if task == "b" else {},
    } | more


def replied(task: str, result: Any, **more: Any) -> dict[str, Any]:
    reply = {"result": {"n": result}, "fault": None, "usage": {"model": "m"}}
    return {"run": "r", "task": task, "attempt": 1, "reply": reply} | more


def started(task: str, **more: Any) -> dict[str, Any]:
    return {"type": "task.started", "at": 5, "task": task, "attempt": 1, "key": f"k{task}"} | more


def succeeded(task: str, result: Any, **more: Any) -> dict[str, Any]:
    return {
        "type": "task.succeeded",
        "at": 6,
        "task": task,
        "attempt": 1,
        "result": {"n": result},
        "usage": {"model": "m"},
    } | more


def failed(task: str, **more: Any) -> dict[str, Any]:
    fault = {"kind": "agent_error", "message": "no", "retriable": False}
    return {"type": "task.failed", "at": 6, "task": task, "attempt": 1, "fault": fault} | more


def sound() -> SimulationCase:
    """a, b and c succeed, one after the other."""
    case = SimulationCase(
        {"r": spec()},
        [
            (1, "acknowledged", {"token": 1, "run": "r"}),
            (1, "called", call("a")),
            (2, "replied", replied("a", 1)),
            (3, "called", call("b")),
            (3, "called", call("c")),
            (4, "replied", replied("c", 3)),
            (5, "replied", replied("b", 2)),
            (6, "ended", {"run": "r", "status": "completed"}),
        ],
    )
    case.journal["r"] = [
        {"type": "run.submitted", "at": 1},
        {"type": "run.started", "at": 2},
        started("a", at=3),
        succeeded("a", 1, at=4),
        started("b"),
        started("c"),
        succeeded("c", 3),
        succeeded("b", 2, at=7),
    ]
    case.hive = [
        {"type": "hive.run_opened", "at": 1, "run": "r"},
        {"type": "hive.run_closed", "at": 9, "run": "r", "status": "completed", "events": 8},
    ]
    case.durable_at = {"r": [0, 0, 0, 3, 3, 3, 6, 7]}
    return case


def drop(kind: str, task: str = "") -> Callable[[SimulationCase], None]:
    """Take the first such event out of the journal."""

    def change(case: SimulationCase) -> None:
        events = case.journal["r"]
        one = next(e for e in events if e["type"] == kind and e.get("task", "") == task)
        at = events.index(one)
        del events[at], case.durable_at["r"][at]

    return change


def put(*events: dict[str, Any], at: int = 99) -> Callable[[SimulationCase], None]:
    """Put events into the journal, as late as can be."""

    def change(case: SimulationCase) -> None:
        case.journal["r"][at:at] = [copy.deepcopy(event) for event in events]
        case.durable_at["r"] += [99] * len(events)

    return change


def see(what: str, data: dict[str, Any], *, at: int = 99) -> Callable[[SimulationCase], None]:
    return lambda case: case.observations.insert(at, (9, what, data))


def edit(kind: str, task: str, **fields: Any) -> Callable[[SimulationCase], None]:
    def change(case: SimulationCase) -> None:
        one = next(e for e in case.journal["r"] if e["type"] == kind and e.get("task", "") == task)
        one |= fields

    return change


def ending(status: str) -> Callable[[SimulationCase], None]:
    def change(case: SimulationCase) -> None:
        case.hive[-1]["status"] = status
        case.observations[-1][2]["status"] = status

    return change


def both(*changes: Callable[[SimulationCase], None]) -> Callable[[SimulationCase], None]:
    def change(case: SimulationCase) -> None:
        for one in changes:
            one(case)

    return change


def set_spec(**fields: Any) -> Callable[[SimulationCase], None]:
    return lambda case: case.specs["r"].update(fields)


def task(number: int, **fields: Any) -> Callable[[SimulationCase], None]:
    return lambda case: case.specs["r"]["tasks"][number].update(fields)


def never_ends(case: SimulationCase) -> None:
    case.finished = False


def forgotten(case: SimulationCase) -> None:
    del case.hive[-1], case.observations[-1]


def crashed(case: SimulationCase) -> None:
    case.crashes = 1


def nothing_on_disk(case: SimulationCase) -> None:
    case.journal.clear()


def early_ack(case: SimulationCase) -> None:
    case.durable_at["r"] = [at + 1 for at in case.durable_at["r"]]


def call_number(number: int, **fields: Any) -> Callable[[SimulationCase], None]:
    def change(case: SimulationCase) -> None:
        calls = [data for _, what, data in case.observations if what == "called"]
        calls[number] |= fields

    return change


def hive(*events: dict[str, Any]) -> Callable[[SimulationCase], None]:
    return lambda case: case.hive.extend(events)


CLOSED = {"type": "hive.run_closed", "at": 9, "run": "r", "status": "completed", "events": 8}
WAITS = {"type": "task.failed", "at": 7, "task": "b", "attempt": 1}
LIMITED = {"kind": "rate_limited", "message": "slow", "retry_after": 2.0, "retriable": True}
ENDS = both(drop("task.succeeded", "b"), ending("failed"))
UNDO_A, UNDO_C = (started(f"{name}#undo", at=8) for name in "ac")
BROKEN: list[tuple[str, Callable[[SimulationCase], None]]] = [
    ("does not come to an end", never_ends),
    ("neither ended nor waiting", forgotten),
    ("acknowledged and not in the journal", nothing_on_disk),
    ("acknowledged before it was on disk", early_ack),
    ("ended twice, differently", see("ended", {"run": "r", "status": "failed"})),
    ("reported completed, recorded failed", lambda case: case.hive[-1].update(status="failed")),
    ("closed twice", hive(CLOSED)),
    ("closed with 8 events, holds 9", put({"type": "run.resumed", "at": 8, "away": 1})),
    ("the hive opened ['r', 's']", hive({"type": "hive.run_opened", "at": 9, "run": "s"})),
    ("called without a recorded intent", drop("task.started", "c")),
    ("called without a recorded intent", edit("task.started", "b", key="other")),
    ("called without a recorded intent", edit("task.started", "b", attempt=2)),
    ("called without a recorded intent", lambda case: case.durable_at.update(r=[0] * 2 + [9] * 6)),
    ("the idempotency key changed", see("called", call("a", attempt=2, key="new"))),
    ("shares its idempotency key", call_number(2, key="ka")),
    ("effect 'once' was called again", see("called", call("b", attempt=2))),
    ("an ended task changed again", put(succeeded("a", 1, at=9))),
    ("a response of attempt 2 counted", edit("task.succeeded", "a", attempt=2)),
    ("recorded a result that no call returned", edit("task.succeeded", "b", result={"n": 7})),
    ("started before 'a' had succeeded", drop("task.succeeded", "a")),
    ("received another result of 'a'", call_number(1, dependencies={"a": 8})),
    ("received 8 as n, the result contains 1", call_number(1, parameters={"n": 8})),
    ("4 attempts, 3 allowed", put(*(started("c", at=8, attempt=n) for n in (2, 3, 4)))),
    (
        "2 attempts, 1 allowed",
        both(task(2, retry={"max_attempts": 1}), put(started("c", at=8, attempt=2))),
    ),
    (
        "2 attempts, 1 allowed",
        both(
            set_spec(agents=[{"name": "x"}, {"name": "y", "retry": {"max_attempts": 1}}]),
            put(started("c", at=8, attempt=2)),
        ),
    ),
    ("one attempt was called twice", see("called", call("c"))),
    (
        "retried before its time",
        put(failed("c", at=8, fault=LIMITED), started("c", at=9, attempt=2)),
    ),
    ("2 calls at once, 1 allowed", set_spec(max_parallel=1)),
    ("2 calls at once in all, 1 allowed", lambda case: setattr(case, "max_calls", 1)),
    ("2 calls at once at x", both(call_number(1, agent="x"), call_number(2, agent="x"))),
    (
        "failed after 1 of 3 attempts",
        both(
            set_spec(failure_strategy="continue_on_failure"),
            drop("task.succeeded", "c"),
            put(failed("c", at=8, fault={"kind": "connection", "message": "no"})),
        ),
    ),
    ("cancelled, without effect", see("cancel", {"run": "r"})),
    (
        "booked 2 times",
        put(
            {"type": "task.late_reply", "at": 9, "task": "a", "attempt": 1, "usage": {"model": "m"}}
        ),
    ),
    (
        "booked 2 times",
        hive(
            {
                "type": "hive.usage_after_end",
                "at": 9,
                "run": "r",
                "task": "a",
                "attempt": 1,
                "usage": {"model": "m"},
            }
        ),
    ),
    ("returned and its usage was never booked", edit("task.succeeded", "a", usage=None)),
    ("times decrease", edit("run.started", "", at=4)),
    ("hive: times decrease", hive({"type": "hive.clock_stepped_back", "at": 8, "by": 1})),
    ("timed out too early", put({"type": "run.timed_out", "at": 299 * SECOND})),
    (
        "started after the timeout of the run",
        both(set_spec(timeout=1.0), put(started("c", at=9 * SECOND, attempt=2))),
    ),
    ("started after the run had stopped", put({"type": "run.cancel_requested", "at": 4}, at=4)),
    (
        "started after the run had stopped",
        both(task(2, continue_on_failure=False), put(failed("c", at=4), at=4)),
    ),
    ("compensated in the wrong order", put(UNDO_A, UNDO_C)),
    ("compensated, but not everything was compensated", both(put(UNDO_C), ending("compensated"))),
    ("failed without compensating ['c', 'a']", ENDS),
    ("completed, though not every task succeeded", drop("task.succeeded", "b")),
    ("partially completed with 3 of 3", ending("partially_completed")),
    ("cancelled without a request", ending("cancelled")),
    ("failed, though every task succeeded", ending("failed")),
]


def test_a_sound_case_passes() -> None:
    assert judge(sound()) == []


@pytest.mark.parametrize(("line", "change"), BROKEN)
def test_a_broken_promise_is_found(line: str, change: Callable[[SimulationCase], None]) -> None:
    case = sound()
    change(case)
    assert any(line in found for found in judge(case)), judge(case)


def test_every_check_has_been_seen_to_find_something() -> None:
    elsewhere = {
        *FLOW_CHECKS,
        *HUMAN_INPUT_CHECKS,
        BUDGET_CHECKS[0],
        *RATE_LIMIT_CHECKS,
        *TURN_CHECKS,
    }
    silent = {check.__name__ for check in CHECKS if check not in elsewhere}
    for _, change in BROKEN:
        case = sound()
        change(case)
        silent -= {check.__name__ for check in CHECKS if list(check(case))}
    assert silent == set()


LOST = {"type": "task.lost", "at": 7, "task": "b", "attempt": 1}
BLOCKED = {"type": "task.blocked", "at": 7, "task": "c", "reason": "agent", "detail": "-"}
FINE: list[Callable[[SimulationCase], None]] = [
    both(forgotten, drop("task.succeeded", "b"), put(LOST), crashed),
    both(forgotten, drop("task.succeeded", "b"), put(BLOCKED), crashed),
    both(
        task(2, retry={"max_attempts": 1}),
        lambda case: case.journal["r"].insert(6, {"type": "task.lost", "at": 6, "task": "c"}),
        lambda case: case.journal["r"].insert(7, started("c", at=6, attempt=2)),
        edit("task.succeeded", "c", attempt=2),
        lambda case: case.observations[5][2].update(attempt=2),
        lambda case: case.durable_at["r"].extend([9, 9]),
    ),
    both(
        put({"type": "run.timed_out", "at": 301 * SECOND}),
        ending("failed"),
        put(UNDO_C, UNDO_A),
        ending("compensated"),
        lambda case: case.hive[-1].update(at=400 * SECOND),
        edit("run.started", "", at=1),
        lambda case: [e.update(at=302 * SECOND) for e in case.journal["r"][-2:]],
    ),
    lambda case: case.observations.insert(7, (9, "replied", replied("b", 2))),
    lambda case: case.observations.insert(7, (9, "crashed", {})),
]


@pytest.mark.parametrize("change", FINE)
def test_what_is_allowed_is_not_blamed(change: Callable[[SimulationCase], None]) -> None:
    case = sound()
    change(case)
    if case.hive[-1]["type"] == "hive.run_closed":
        case.hive[-1]["events"] = len(case.journal["r"])
    assert judge(case) == []


def test_the_judge_knows_nothing_of_what_it_judges() -> None:
    import ast
    from pathlib import Path

    from agenthive.simulation import case
    from agenthive.simulation.oracles import budget, flow, human_input, model_turns, rate_limits
    from agenthive.simulation.oracles import judge as oracle

    judges = (
        case,
        oracle,
        flow,
        rate_limits,
        budget,
        human_input,
        model_turns,
    )
    own = {module.__name__ for module in judges}
    for module in judges:
        tree = ast.parse(Path(module.__file__).read_text("utf-8"))
        modules = {
            getattr(node, "module", None) or ",".join(alias.name for alias in node.names)
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
        }
        assert not any("agenthive" in name for name in modules - own)
