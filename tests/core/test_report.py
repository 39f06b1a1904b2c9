"""What a run came to, folded from its records; and the story, the reasons, the replay."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agenthive.core.history.replay import decode_events, find_submission, replay
from agenthive.core.history.report import EXIT_CODES, RunReport, build_report
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Record
from agenthive.core.model.calls import Fault, ToolCall, Usage
from agenthive.core.model.control_flow import WaitSpec
from agenthive.core.model.states import CLOSED, RunStatus
from agenthive.core.model.workflow import Effect, FailureStrategy, TaskSpec, ToolSpec
from agenthive.core.values import SECOND
from agenthive.errors import InvalidTransition, StoreCorrupt
from tests.core.rig import AT_ONCE, FAULT, FINAL, NO_RETRY, START, Bench, flow, task, undo

USED = Usage(model="m", input_tokens=10, output_tokens=5, cost=2_000_000_000)


def told(bench: Bench, run: str = "r") -> RunReport:
    return build_report(bench.graphs[run], bench.disk.records(run))


def test_a_whole_run() -> None:
    bench = Bench()
    bench.run(flow(task("a", retry=AT_ONCE), task("b", "a"), task("c", "b")))
    bench.wait(1)
    bench.answer("a", fault=FAULT, usage=USED)
    bench.wait(2)
    bench.answer("a", {"x": 1}, usage=USED)
    bench.wait(3)
    bench.answer("b", None)
    bench.answer("c", fault=FINAL)
    found = told(bench)
    assert (found.run_id, found.name, found.status) == ("r", "w", "failed")
    assert found.results == {"a": {"x": 1}, "b": None}
    assert found.errors == {"c": "no"}
    assert (found.completed_tasks, found.total_tasks) == (2, 3)
    assert found.execution_time == 6.0
    assert (found.cost_usd, found.tokens) == (4.0, 30)
    a = found.tasks["a"]
    assert (a.status, a.attempts, a.cost_usd, a.tokens) == ("succeeded", 2, 4.0, 30)
    assert (a.started, a.ended) == (START, START + 3 * SECOND)
    assert (a.result, a.error) == ({"x": 1}, msgspec.UNSET)
    c = found.tasks["c"]
    assert (c.status, c.error, c.result, c.cost_usd) == ("failed", "no", msgspec.UNSET, 0.0)
    assert found.exit_code == 1
    assert not found.timed_out


def test_one_token_costs_what_it_costs() -> None:
    bench = Bench()
    bench.run(flow(task("a"), task("b")))
    bench.answer("a", usage=Usage(model="m", input_tokens=1, cost=None))
    bench.answer("b", usage=Usage(model="m", output_tokens=2, cost=1))
    found = told(bench)
    assert (found.cost_usd, found.tokens, found.unpriced) == (1e-09, 3, 1)
    assert (found.tasks["a"].cost_usd, found.tasks["b"].cost_usd) == (0.0, 1e-09)


def test_whom_a_task_calls() -> None:
    bench = Bench()
    tool = ToolSpec(name="look", agent="eyes", action="look about")
    bench.run(flow(task("a", tools=(tool,)), TaskSpec(name="b", wait_for=WaitSpec(signal="go"))))
    bench.answer("a~1", "hm", asks=(ToolCall(id="1", name="look"),))
    found = {name: (one.agent, one.action) for name, one in told(bench).tasks.items()}
    assert found == {
        "a": ("a", "do"),
        "a~1": ("a", "do"),
        "a~1[0]": ("eyes", "look about"),
        "b": ("", ""),
    }


def test_late_answers_are_paid() -> None:
    bench = Bench()
    bench.run(flow(task("a"), task("b")))
    bench.crash()
    bench.turn()
    bench.answer("a", usage=USED, attempt=1)
    found = told(bench)
    assert (found.cost_usd, found.tokens) == (2.0, 15)
    assert found.results == {}
    assert found.tasks["a"].ended == START + SECOND


def test_an_open_run() -> None:
    bench = Bench()
    bench.submit(flow(task("a"), task("b", "a", compensate=undo())))
    bench.now += 5 * SECOND
    bench.turn()
    bench.now += 5 * SECOND
    bench.answer("a", fault=FAULT, draw=0.9)
    found = told(bench)
    assert (found.status, found.execution_time) == ("waiting", 5.0)
    assert (found.exit_code, found.errors) == (8, {"a": "gone"})
    assert set(found.tasks) == {"a", "b"}
    b = found.tasks["b"]
    assert (b.status, b.attempts, b.started, b.ended) == ("waiting", 0, None, None)
    assert b.error is msgspec.UNSET


def test_a_run_that_never_started() -> None:
    bench = Bench()
    bench.submit(flow(task("a")))
    bench.now += 3 * SECOND
    bench.cancel()
    bench.turn()
    found = told(bench)
    assert (found.status, found.execution_time, found.exit_code) == ("cancelled", 3.0, 130)
    queued = Bench(max_runs=0)
    queued.run(flow(task("a")))
    assert (told(queued).status, told(queued).execution_time) == ("queued", 0.0)


@pytest.mark.parametrize("status", sorted(CLOSED))
def test_exit_codes(status: RunStatus) -> None:
    expected = {"completed": 0, "partially_completed": 7, "cancelled": 130}
    assert EXIT_CODES[status] == expected.get(status, 1)


def test_timed_out_has_an_exit_code_of_its_own() -> None:
    bench = Bench()
    bench.run(flow(task("a"), timeout=5.0))
    bench.wait(6)
    bench.stop("a")
    found = told(bench)
    assert (found.status, found.timed_out, found.exit_code) == ("failed", True, 9)
    assert found.tasks["a"].status == "cancelled"


def test_compensations_are_shown_once_they_are_needed() -> None:
    bench = Bench()
    bench.run(flow(task("a", compensate=undo()), task("b", "a", retry=NO_RETRY)))
    assert set(told(bench).tasks) == {"a", "b"}
    bench.answer("a", 1)
    bench.answer("b", fault=FAULT)
    assert told(bench).tasks["a#undo"].status == "running"
    bench.answer("a#undo", "undone")
    found = told(bench)
    assert (found.status, found.completed_tasks, found.total_tasks) == ("compensated", 1, 2)
    assert found.results == {"a": 1, "a#undo": "undone"}
    assert found.tasks["a"].status == "compensated"


# Why a task has no result.


def test_why_skipped() -> None:
    bench = Bench()
    bench.run(
        flow(
            task("ok", continue_on_failure=True),
            task("a"),
            task("b", "ok", "a"),
            task("c", "b"),
            task("far", "slow"),
            task("slow"),
            failure_strategy=FailureStrategy.STOP,
        )
    )
    bench.answer("ok", fault=FINAL)
    bench.answer("a", fault=FINAL)
    bench.answer("slow")
    assert told(bench).errors == {
        "ok": "no",
        "a": "no",
        "b": "skipped: task 'a' failed",
        "c": "skipped: task 'b' was skipped",
        "far": "skipped: the run stopped",
    }


def test_why_skipped_names_no_failure_that_was_tolerated() -> None:
    bench = Bench()
    bench.run(
        flow(task("ok", continue_on_failure=True), task("a"), task("b", "ok", "x"), task("x"))
    )
    bench.answer("ok", fault=FINAL)
    bench.answer("a", fault=FINAL)
    assert told(bench).errors["b"] == "skipped: the run stopped"


def test_why_skipped_behind_a_call_that_was_stopped() -> None:
    bench = Bench()
    bench.run(
        flow(task("a"), task("read", effect=Effect.NONE), task("b", "read"), task("c", "read"))
    )
    bench.answer("a", fault=FINAL)
    bench.stop("read")
    assert told(bench).errors["b"] == "skipped: task 'read' was cancelled"


def test_blocked_lost_and_unknown() -> None:
    bench = Bench()
    bench.run(
        flow(
            task("a", agent="x"),
            task("b", effect=Effect.ONCE),
            task("c", effect=Effect.ONCE),
            task("d", retry=AT_ONCE),
        )
    )
    bench.answer("c", fault=Fault(kind="timeout", message="too slow"))
    bench.crash(missing={"x": "bring x"})
    bench.turn()
    found = told(bench)
    assert found.errors == {
        "a": "bring x",
        "b": "the process ended during the call; outcome unknown",
        "c": "too slow",
    }
    assert found.tasks["b"].status == found.tasks["c"].status == "unknown_outcome"
    assert found.tasks["d"].error is msgspec.UNSET


# Replay.


def test_facts_are_numbered() -> None:
    bench = Bench()
    bench.run(flow(task("a")))
    bench.answer("a", 1)
    numbered = list(decode_events(bench.disk.records("r")))
    assert [number for number, _ in numbered] == list(range(1, len(numbered) + 1))
    assert [fact for _, fact in numbered] == bench.events()
    assert isinstance(numbered[0][1], ev.RunSubmitted)


def test_replay_of_a_part() -> None:
    bench = Bench()
    bench.run(flow(task("a")))
    records = bench.disk.records("r")
    bench.answer("a")
    assert replay(bench.graphs["r"], records).status is RunStatus.RUNNING
    assert replay(bench.graphs["r"], []).status is RunStatus.QUEUED
    with pytest.raises(InvalidTransition):
        replay(bench.graphs["r"], bench.disk.records("r")[1:])


def bare(*events: ev.Event) -> list[Record]:
    payload = ev.encode(events)
    return [Record(stream="r", seq=1, count=len(events), at=1, type="run", payload=payload)]


def test_submission() -> None:
    fact = ev.RunSubmitted(at=1, run="r", name="w", definition="d")
    assert find_submission(bare(fact, ev.RunStarted(at=2))) == fact
    wrong: list[list[Record]] = [[], bare(ev.RunStarted(at=2), fact)]
    for records in wrong:
        with pytest.raises(StoreCorrupt, match="is not its submission"):
            find_submission(records)


def test_events_survive_the_journal() -> None:
    many: list[Any] = [
        ev.RunSubmitted(at=1, run="r", name="w", definition="d", inputs={"x": [1]}),
        ev.TaskFailed(at=2, task="t", attempt=1, fault=FAULT, draw=0.5, usage=USED),
        ev.LateReply(at=3, task="t", attempt=1, succeeded=False, usage=USED),
    ]
    assert ev.decode_run_events(ev.encode(many)) == many
    hive: list[Any] = [
        ev.BreakerOpened(at=1, endpoint="x", until=2, failures=3),
        ev.UsageAfterEnd(at=1, run="r", task="t", attempt=1, usage=USED),
    ]
    assert ev.decode_hive_events(ev.encode(hive)) == hive
    with pytest.raises(msgspec.ValidationError):
        ev.decode_run_events(ev.encode(hive))
    with pytest.raises(msgspec.ValidationError):
        ev.decode_hive_events(ev.encode(many))
