"""The judge of flow and of people is judged: what is sound passes, what is not is found."""

from __future__ import annotations

from typing import Any

import pytest

from agenthive.simulation.case import SimulationCase
from agenthive.simulation.oracles.flow import FLOW_CHECKS
from agenthive.simulation.oracles.human_input import HUMAN_INPUT_CHECKS

SECOND = 1_000_000
CHECKS = (*FLOW_CHECKS, *HUMAN_INPUT_CHECKS)
Event = dict[str, Any]


def fact(kind: str, task: str = "", at: int = 5, **more: Any) -> Event:
    named = {"task": task} if task else {}
    return {"type": kind, "at": at} | named | more


def begun(task: str, at: int = 5) -> Event:
    return fact("task.started", task, at, attempt=1, key=f"k{task}")


def gave(task: str, result: Any) -> Event:
    return fact("task.succeeded", task, attempt=1, result=result)


def call(task: str, run: str = "r", **more: Any) -> tuple[str, Event]:
    given = {"run": run, "task": task, "attempt": 1, "agent": "x", "action": "do"}
    return "called", given | {"parameters": {}, "dependencies": {}} | more


def said(token: int, what: str, **more: Any) -> tuple[str, Event]:
    return "said", {"token": token, "what": what, "run": "r"} | more


def told(token: int) -> tuple[str, Event]:
    return "acknowledged", {"token": token, "run": ""}


def world(
    tasks: list[Event],
    journal: list[Event],
    *seen: tuple[str, Event],
    child: list[Event] | None = None,
    hive: list[Event] | None = None,
) -> SimulationCase:
    """A run ``r`` and perhaps its child ``r.c``, everything on disk before anything is seen."""
    inner = {"name": "inner", "tasks": [{"name": "i", "agent": "x"}]}
    specs = {"r": {"name": "w", "tasks": [{"agent": "x"} | t for t in tasks]}, "r.c": inner}
    case = SimulationCase(specs, [(i, what, data) for i, (what, data) in enumerate(seen)])
    case.journal["r"] = [fact("run.submitted"), *journal]
    if child is not None:
        parent = {"run": "r", "task": "t"}
        case.journal["r.c"] = [fact("run.submitted", parent=parent, inputs={}), *child]
    case.hive = hive or []
    case.durable_at = {run: [0] * len(events) for run, events in case.journal.items()}
    case.people_answered = True
    return case


def closed(run: str, status: str = "completed") -> Event:
    return fact("hive.run_closed", run=run, status=status)


T: Event = {"name": "t"}
WHEN = T | {"when": "tasks.a.result.n % 2 == 0"}
AFTER = {"name": "after", "depends_on": ["t"]}
EACH = T | {"for_each": {"items": "-", "max_parallel": 1}, "parameters": {"item": "{{ item }}"}}
REPEAT = T | {"repeat_until": {"until": "result.stop", "max_rounds": 2}}
CHILD = {"name": "t", "agent": "", "workflow": {"name": "inner"}}
ASKS = T | {"approval": {"approvers": ["ann", "bob"], "quorum": 2, "deadline": 9.0}}
WAITS = T | {"wait_for": {"signal": "s"}, "parameters": {"signal": "{{ signal }}"}}
ONCE = T | {"effect": "once"}
DO = {"agent": "x", "action": "do", "parameters": {}}
REQUESTED = fact("task.approval_requested", "t", digest="d1", payload=DO)
EXPANDED = fact("task.expanded", "t", items=["one", "two"])
OPENED = fact("task.child_opened", "t", run="r.c")
DELAYED = fact("task.delayed", "t", 0, until=9 * SECOND)


def agrees(actor: str, at: int = 6, *, approved: bool = True) -> Event:
    return fact("task.approval_given", "t", at, actor=actor, approved=approved, digest="d1")


def says(token: int, actor: str, *, approved: bool = True, digest: str = "d1") -> tuple[str, Event]:
    return said(token, "answer", task="t", actor=actor, approved=approved, digest=digest)


def ended(status: str = "completed", **more: Any) -> Event:
    return fact("task.child_ended", "t", run="r.c", status=status, **more)


def comes(data: str, identity: str = "") -> Event:
    return fact("run.signal_received", name="s", data=data, id=identity)


def sends(token: int, data: str, identity: str = "") -> tuple[str, Event]:
    return said(token, "signal", name="s", data=data, id=identity)


def takes(data: str, task: str = "t") -> tuple[str, Event]:
    return call(task, parameters={"signal": data})


BOTH = (says(1, "ann"), says(2, "bob"))
SOUND: dict[str, SimulationCase] = {
    "a condition": world(
        [{"name": "a"}, WHEN, AFTER],
        [gave("a", {"n": 2}), fact("task.decided", "t", go=True), begun("t"), begun("after")],
    ),
    "left out": world([WHEN, AFTER], [fact("task.decided", "t", go=False)]),
    "a time": world(
        [T | {"delay": 9.0}], [DELAYED, fact("task.woke", "t", 9 * SECOND), begun("t", 9 * SECOND)]
    ),
    "until": world([T | {"until": "1970-01-01T00:00:09Z"}], [DELAYED, begun("t", 10 * SECOND)]),
    "items": world(
        [EACH, AFTER],
        [EXPANDED, begun("t[0]"), gave("t[0]", 1), begun("t[1]"), gave("t[1]", 2)],
        call("t[0]", parameters={"item": "one"}),
        ("replied", {"run": "r", "task": "t[0]", "attempt": 1}),
        call("t[1]", parameters={"item": "two"}),
        call("after", dependencies={"t": [1, 2]}),
    ),
    "rounds": world(
        [REPEAT],
        [
            begun("t~1"),
            gave("t~1", {"stop": False}),
            fact("task.round_ended", "t", round=1, done=False),
            begun("t~2"),
            gave("t~2", {"stop": True}),
            fact("task.round_ended", "t", round=2, done=True),
        ],
        call("t~1", parameters={"round": 1, "previous": None}),
        call("t~2", parameters={"round": 2, "previous": {"stop": False}}),
    ),
    "a child": world(
        [CHILD, AFTER],
        [OPENED, ended(result={"i": 4})],
        call("after", dependencies={"t": {"i": 4}}),
        child=[gave("i", 4)],
        hive=[closed("r.c"), closed("r")],
    ),
    "approvals": world(
        [ASKS],
        [REQUESTED, agrees("ann"), agrees("bob"), begun("t")],
        *BOTH,
        told(1),
        told(2),
        call("t"),
    ),
    "a deadline": world(
        [T | {"approval": {"deadline": 9.0, "on_deadline": "approve"}}],
        [REQUESTED, fact("task.woke", "t", 10 * SECOND), begun("t", 11 * SECOND)],
        call("t"),
    ),
    "too late": world(
        [T],
        [],
        said(1, "late", task="t", actor="ann"),
        ("refused_answer", {"token": 1, "reason": "-"}),
        hive=[fact("hive.answer_after_end", run="r")],
    ),
    "a signal": world([WAITS], [comes("one", "i")], sends(1, "one", "i"), told(1), takes("one")),
    "a decision": world(
        [ONCE],
        [fact("task.lost", "t"), fact("task.resolved", "t", outcome="retry")],
        said(1, "resolve", task="t", outcome="retry", result=None),
        told(1),
    ),
}

BROKEN: list[tuple[str, SimulationCase]] = [
    (
        "though it was to be skipped",
        world([WHEN], [fact("task.decided", "t", go=False), begun("t")]),
    ),
    (
        "r/after: started, though it was",
        world([WHEN, AFTER], [fact("task.decided", "t", go=False), begun("after")]),
    ),
    ("before its condition was evaluated", world([WHEN], [begun("t")])),
    (
        "its condition gave True for 3",
        world([{"name": "a"}, WHEN], [gave("a", {"n": 3}), fact("task.decided", "t", go=True)]),
    ),
    ("started before its time", world([T | {"delay": 9.0}], [DELAYED, begun("t")])),
    ("waits until 9000000, not 8000000", world([T | {"delay": 8.0}], [DELAYED])),
    ("woken before its time", world([T | {"delay": 9.0}], [DELAYED, fact("task.woke", "t")])),
    ("mapped twice", world([EACH], [EXPANDED, EXPANDED])),
    ("there is no such item", world([EACH], [EXPANDED, begun("t[2]")])),
    (
        "received two",
        world([EACH], [EXPANDED, begun("t[0]")], call("t[0]", parameters={"item": "two"})),
    ),
    (
        "got [2, 1] as results of 't'",
        world(
            [EACH, AFTER],
            [EXPANDED, gave("t[0]", 1), gave("t[1]", 2)],
            call("after", dependencies={"t": [2, 1]}),
        ),
    ),
    (
        "2 items at once, 1 allowed",
        world(
            [EACH],
            [EXPANDED],
            call("t[0]", parameters={"item": "one"}),
            call("t[1]", parameters={"item": "two"}),
        ),
    ),
    (
        "started after another item had failed",
        world(
            [EACH],
            [
                EXPANDED,
                begun("t[0]"),
                fact("task.failed", "t[0]", fault={"retriable": False}),
                begun("t[1]"),
            ],
        ),
    ),
    ("one iteration too many", world([REPEAT], [begun("t~3")])),
    (
        "started after the last iteration",
        world([REPEAT], [fact("task.round_ended", "t", round=1, done=True), begun("t~2")]),
    ),
    (
        "iteration 2 ended out of order",
        world([REPEAT], [fact("task.round_ended", "t", round=2, done=False)]),
    ),
    (
        "iteration 1 gave True",
        world(
            [REPEAT],
            [gave("t~1", {"stop": True}), fact("task.round_ended", "t", round=1, done=False)],
        ),
    ),
    (
        "received iteration 7",
        world([REPEAT], [], call("t~1", parameters={"round": 7, "previous": 0})),
    ),
    (
        "another previous result",
        world([REPEAT], [gave("t~1", 1)], call("t~2", parameters={"round": 2, "previous": 5})),
    ),
    ("t: started twice", world([CHILD], [OPENED, OPENED], child=[])),
    ("its child run r.c does not exist", world([CHILD], [OPENED])),
    (
        "recorded its child run as failed, it is completed",
        world([CHILD], [OPENED, ended("failed")], child=[], hive=[closed("r.c")]),
    ),
    (
        "recorded 3, its child run gave 4",
        world(
            [CHILD], [OPENED, ended(result={"i": 3})], child=[gave("i", 4)], hive=[closed("r.c")]
        ),
    ),
    (
        "ended before its child run r.c",
        world([CHILD], [OPENED], child=[], hive=[closed("r"), closed("r.c")]),
    ),
    (
        "was cancelled, but its child run r.c was not",
        world([CHILD], [OPENED, fact("run.cancel_requested")], child=[]),
    ),
    (
        "another result of 't' than its child run gave",
        world(
            [CHILD, AFTER],
            [OPENED, ended(result={"i": 1})],
            call("after", dependencies={"t": 2}),
            child=[],
            hive=[closed("r.c")],
        ),
    ),
    (
        "completed, though t failed",
        world(
            [CHILD],
            [OPENED, ended("failed")],
            child=[],
            hive=[closed("r.c", "failed"), closed("r")],
        ),
    ),
    (
        "completed, though t[0] failed",
        world([EACH], [fact("task.failed", "t[0]", fault={})], hive=[closed("r")]),
    ),
    ("reported as waiting at 1", world([T], [], call("t"), ("parked", {"run": "r"}))),
    (
        "r: reported as waiting at 1",
        world([CHILD], [OPENED], call("i", "r.c"), ("parked", {"run": "r"}), child=[]),
    ),
    ("called before an approval was requested", world([ASKS], [], call("t"))),
    ("called with 1 approvals", world([ASKS], [REQUESTED, agrees("ann")], *BOTH, call("t"))),
    (
        "called, though it was rejected",
        world(
            [ASKS],
            [REQUESTED, agrees("ann"), agrees("bob"), agrees("ann", approved=False)],
            *BOTH,
            call("t"),
        ),
    ),
    (
        "called, though it was rejected",
        world([ASKS], [REQUESTED, fact("task.woke", "t", 10 * SECOND)], call("t")),
    ),
    (
        "was approved, ",
        world(
            [ASKS],
            [REQUESTED, agrees("ann"), agrees("bob")],
            *BOTH,
            call("t", parameters={"to": "mallory"}),
        ),
    ),
    (
        "r/t: called before an approval was requested",
        world([CHILD | {"approval": {}}], [OPENED], child=[]),
    ),
    (
        "eve counts and is not an approver",
        world([ASKS], [REQUESTED, agrees("eve")], says(1, "eve")),
    ),
    ("ann counts twice", world([ASKS], [REQUESTED, agrees("ann"), agrees("ann")], *BOTH)),
    (
        "bob counts after the decision",
        world(
            [ASKS],
            [REQUESTED, agrees("ann", approved=False), agrees("bob")],
            *BOTH,
            says(3, "ann", approved=False),
        ),
    ),
    (
        "ann counts and never responded so",
        world([ASKS], [REQUESTED, agrees("ann")], says(1, "ann", digest="d2")),
    ),
    ("was acknowledged, and is not on disk", world([ASKS], [REQUESTED], says(1, "ann"), told(1))),
    (
        "was refused, and that is not on disk",
        world([ASKS], [REQUESTED], says(1, "ann"), ("refused_answer", {"token": 1, "reason": "-"})),
    ),
    (
        "the signal 'i' counts 2 times",
        world([WAITS], [comes("one", "i"), comes("one", "i")], sends(1, "one", "i")),
    ),
    ("which was never sent", world([WAITS], [comes("one")])),
    (
        "took the signal one, and two",
        world(
            [WAITS | {"for_each": {}}], [comes("one")], takes("one", "t[0]"), takes("two", "t[1]")
        ),
    ),
    (
        "2 tasks took the signal one",
        world(
            [WAITS, WAITS | {"name": "u"}],
            [comes("one")],
            sends(1, "one"),
            takes("one"),
            takes("one", "u"),
        ),
    ),
    (
        "a task took two, though others came before",
        world(
            [WAITS], [comes("one"), comes("two")], sends(1, "one"), sends(2, "two"), takes("two")
        ),
    ),
    (
        "stopped waiting, though 's' had arrived",
        world([WAITS], [comes("one"), fact("task.woke", "t")], sends(1, "one")),
    ),
    (
        "resolved as retry, which was never stated",
        world([ONCE], [fact("task.lost", "t"), fact("task.resolved", "t", outcome="retry")]),
    ),
    (
        "resolved, though its outcome was known",
        world(
            [ONCE],
            [begun("t"), fact("task.resolved", "t", outcome="retry")],
            said(1, "resolve", task="t", outcome="retry", result=None),
        ),
    ),
]


def lines(case: SimulationCase) -> list[str]:
    return [line for check in CHECKS for line in check(case)]


@pytest.mark.parametrize("name", SOUND)
def test_what_is_sound_passes(name: str) -> None:
    assert lines(SOUND[name]) == []


@pytest.mark.parametrize(("line", "case"), BROKEN, ids=[line for line, _ in BROKEN])
def test_a_broken_promise_is_found(line: str, case: SimulationCase) -> None:
    assert any(line in found for found in lines(case)), lines(case)


def test_every_check_has_been_seen_to_find_something() -> None:
    found = {check.__name__ for check in CHECKS for _, case in BROKEN if list(check(case))}
    assert found == {check.__name__ for check in CHECKS}
