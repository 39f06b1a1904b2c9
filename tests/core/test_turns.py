"""A model's turns, the tools it asks for, those who come after it, and when it is stopped."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agenthive.core.journal import run_events as ev
from agenthive.core.machine.machine import step
from agenthive.core.machine.model_turns import TRUNCATION_MARK, build_history
from agenthive.core.model.calls import Fault, ToolCall
from agenthive.core.model.control_flow import ApprovalSpec, EachSpec, ReconcileSpec, RepeatSpec
from agenthive.core.model.states import RunStatus
from agenthive.core.model.workflow import (
    Effect,
    FailureStrategy,
    ToolSpec,
    WorkflowSpec,
)
from tests.core.rig import FAULT, FINAL, NO_RETRY, Bench, Machine, flow, task, undo


def tool(name: str = "look", agent: str = "eyes", **more: Any) -> ToolSpec:
    return ToolSpec(name=name, agent=agent, action=more.pop("action", name), **more)


def ask(name: str = "look", id: str = "1", problem: str = "", **arguments: Any) -> ToolCall:
    return ToolCall(id=id, name=name, arguments=arguments, problem=problem)


def asking(*tools: ToolSpec, **more: Any) -> WorkflowSpec:
    """One task whose model may ask for tools; what comes after reads its result."""
    about = {"max_turns": 4} | more
    return flow(
        task("q", tools=tools or (tool(),), **about),
        task("z", "q", parameters={"said": "{{ tasks.q.result }}"}),
    )


def begun(spec: WorkflowSpec | None = None) -> Bench:
    bench = Bench()
    bench.run(spec or asking())
    return bench


def fault_of(bench: Bench, name: str = "q") -> Fault:
    state = bench.state()
    return state.faults[state.graph.index[name]]


def test_what_it_asks_for_is_called_and_it_is_told() -> None:
    bench = begun()
    first = bench.calls["r", "q~1"].call
    assert ([offer.name for offer in first.tools], first.turns) == (["look"], ())
    bench.answer("q~1", "hm", asks=(ask(at="x"), ask(id="2", at="y")))
    assert bench.open_calls() == ["r/q~1[0]", "r/q~1[1]"]
    called = bench.calls["r", "q~1[1]"]
    assert (called.agent.name, called.call.action) == ("eyes", "look")
    assert (called.call.parameters, called.call.dependencies) == ({"at": "y"}, {})
    bench.answer("q~1[1]", {"seen": 2})
    bench.answer("q~1[0]", "one")
    (turn,) = bench.calls["r", "q~2"].call.turns
    assert turn.said == "hm"
    told = [(one.asked.id, one.content, one.failed) for one in turn.outcomes]
    assert told == [("1", "one", False), ("2", '{"seen":2}', False)]
    bench.answer("q~2", "done")
    assert bench.calls["r", "z"].call.parameters == {"said": "done"}
    bench.answer("z")
    assert (bench.status(), bench.state().succeeded_count) == ("completed", 2)


def test_a_model_that_asks_for_nothing_has_one_turn() -> None:
    bench = begun()
    bench.answer("q~1", "at once")
    bench.answer("z")
    assert bench.results()["q"] == "at once"


def test_every_turn_and_every_tool_has_a_key_of_its_own() -> None:
    bench = begun()
    bench.answer("q~1", asks=(ask(), ask(id="2", at=1)))
    bench.answer("q~1[0]", fault=FAULT)
    bench.wait(2)
    bench.answer("q~1[0]")
    bench.answer("q~1[1]")
    keys = {made.call.task: made.call.key for made in bench.made}
    assert len(set(keys.values())) == len(keys) == 4
    assert len({m.call.key for m in bench.made if m.call.task == "q~1[0]"}) == 1


def test_parameters_are_made_of_the_arguments() -> None:
    made = tool(parameters={"url": "https://x/{{ arguments.id }}", "for": "{{ inputs.who }}"})
    bench = Bench()
    bench.run(asking(made), inputs={"who": "ann"})
    bench.answer("q~1", asks=(ToolCall(id="a", name="look", arguments={"id": 7}),))
    assert bench.calls["r", "q~1[0]"].call.parameters == {"url": "https://x/7", "for": "ann"}


def test_what_cannot_be_called_is_told_like_a_failure() -> None:
    bench = begun()
    bench.answer("q~1", asks=(ask(problem="no such tool"), ask("other", id="2")))
    (turn,) = bench.calls["r", "q~2"].call.turns
    told = [(one.content, one.failed) for one in turn.outcomes]
    assert told == [("no such tool", True), ("there is no tool 'other'", True)]


def test_a_tool_that_fails_fails_nothing_else() -> None:
    bench = begun(asking(tool(retry=NO_RETRY)))
    bench.answer("q~1", asks=(ask(),))
    bench.answer("q~1[0]", fault=FINAL)
    (turn,) = bench.calls["r", "q~2"].call.turns
    assert (turn.outcomes[0].content, turn.outcomes[0].failed) == ("no", True)
    bench.answer("q~2", "well then")
    bench.answer("z")
    assert bench.status() == "completed"


def test_a_long_result_is_cut() -> None:
    bench = begun(asking(tool(max_result=10)))
    bench.answer("q~1", asks=(ask(),))
    bench.answer("q~1[0]", "x" * 100)
    assert bench.calls["r", "q~2"].call.turns[0].outcomes[0].content == "x" * 10 + TRUNCATION_MARK


def test_an_expression_that_cannot_be_had_is_told_too() -> None:
    bench = begun(asking(tool(parameters={"x": "{{ arguments.gone }}"})))
    bench.answer("q~1", asks=(ask(),))
    (turn,) = bench.calls["r", "q~2"].call.turns
    assert turn.outcomes[0].failed
    assert "gone" in turn.outcomes[0].content


# Crashes and effects.


def test_a_crash_between_tools_calls_only_what_has_not_ended() -> None:
    bench = begun(asking(tool(effect=Effect.ONCE)))
    bench.answer("q~1", asks=(ask(), ask(id="2", at=1)))
    bench.answer("q~1[0]", "paid")
    before = {m.call.task: m.call.key for m in bench.made}
    bench.crash()
    bench.turn()
    # The other one may have acted: nobody calls it again, somebody has to say.
    assert bench.open_calls() == []
    assert bench.states()["q~1[1]"] == "unknown_outcome"
    bench.resolve("q~1[1]", "succeeded", "paid, too")
    (turn,) = bench.calls["r", "q~2"].call.turns
    assert [one.content for one in turn.outcomes] == ["paid", "paid, too"]
    assert [m.call.task for m in bench.made].count("q~1[0]") == 1
    assert before["q~1[0]"] == bench.made[1].call.key


def test_a_turn_that_is_lost_is_asked_again_under_its_key() -> None:
    bench = begun()
    key = bench.calls["r", "q~1"].call.key
    bench.crash()
    bench.turn()
    assert bench.calls["r", "q~1"].call.key == key
    bench.answer("q~1", asks=(ask(),))
    bench.crash()
    bench.turn()
    bench.answer("q~1[0]", 1)
    bench.crash()
    bench.turn()
    assert len(bench.calls["r", "q~2"].call.turns) == 1


def test_the_outside_world_is_asked_about_a_tool_by_its_arguments() -> None:
    question = ReconcileSpec(agent="eyes", action="was", parameters={"of": "{{ arguments.at }}"})
    bench = begun(asking(tool(effect=Effect.ONCE, reconcile=question)))
    bench.answer("q~1", asks=(ask(at="x"),))
    bench.crash()
    bench.turn()
    (open_call,) = bench.open_calls()
    assert bench.calls["r", open_call.removeprefix("r/")].call.parameters == {"of": "x"}
    bench.answer(open_call.removeprefix("r/"), {"happened": True, "result": "yes"})
    assert bench.calls["r", "q~2"].call.turns[0].outcomes[0].content == "yes"


def test_people_are_asked_about_exactly_what_a_tool_would_do() -> None:
    bench = begun(asking(tool(approval=ApprovalSpec(message="Pay {{ arguments.sum }}?"))))
    bench.answer("q~1", asks=(ask(sum=5),))
    (wanted,) = [e for e in bench.events() if isinstance(e, ev.ApprovalRequested)]
    assert wanted.message == "Pay 5?"
    assert wanted.payload == {"agent": "eyes", "action": "look", "parameters": {"sum": 5}}
    assert bench.approve("q~1[0]") == ""
    bench.answer("q~1[0]", "ok")
    assert bench.open_calls() == ["r/q~2"]


def test_what_people_reject_is_told() -> None:
    bench = begun(asking(tool(approval=ApprovalSpec())))
    bench.answer("q~1", asks=(ask(),))
    bench.approve("q~1[0]", approved=False, comment="too much")
    assert bench.calls["r", "q~2"].call.turns[0].outcomes[0].content == (
        "rejected by ann: too much"
    )


# How it ends.


def test_it_is_stopped_after_so_many_turns() -> None:
    bench = begun(asking(max_turns=2))
    bench.answer("q~1", asks=(ask(),))
    bench.answer("q~1[0]")
    bench.answer("q~2", asks=(ask(at=2),))
    assert bench.status() == "failed"
    assert fault_of(bench).kind == "max_turns"
    assert "'look' after 2 turns" in fault_of(bench).message


def test_a_turn_that_fails_fails_the_task() -> None:
    bench = begun(asking(retry=NO_RETRY))
    bench.answer("q~1", fault=FINAL)
    assert (bench.status(), bench.states()["q"]) == ("failed", "failed")
    assert fault_of(bench).message == "q~1: no"


def test_a_failure_that_is_tolerated() -> None:
    bench = begun(asking(retry=NO_RETRY, continue_on_failure=True))
    bench.answer("q~1", fault=FINAL)
    bench.answer("z")
    assert bench.status() == "completed"


@pytest.mark.parametrize("strategy", list(FailureStrategy))
def test_a_failure_elsewhere_stops_it(strategy: FailureStrategy) -> None:
    spec = flow(task("q", tools=(tool(),)), task("bad", retry=NO_RETRY), failure_strategy=strategy)
    bench = begun(spec)
    bench.answer("q~1", asks=(ask(), ask(id="2", at=1)))
    bench.answer("bad", fault=FINAL)
    bench.answer("q~1[0]", 1)
    bench.answer("q~1[1]", 1)
    if strategy is FailureStrategy.STOP:
        assert (bench.status(), bench.states()["q"]) == ("failed", "failed")
    else:
        bench.answer("q~2", "x")
        assert bench.states()["q"] == "succeeded"


def test_cancelled_in_the_middle() -> None:
    bench = begun()
    bench.answer("q~1", asks=(ask(), ask(id="2", at=1)))
    bench.cancel()
    bench.turn()
    bench.stop("q~1[0]")
    assert bench.status() != "cancelled"
    bench.stop("q~1[1]")
    assert bench.status() == "cancelled"
    assert bench.states()["q"] == "cancelled"


def test_cancelled_during_a_turn_that_then_asks() -> None:
    bench = begun()
    bench.cancel()
    bench.turn()
    bench.answer("q~1", "hm", asks=(ask(),))
    assert (bench.status(), bench.states()["q"]) == ("cancelled", "cancelled")


def test_a_tool_of_unknown_outcome_does_not_keep_a_stopped_run_open() -> None:
    bench = begun(asking(tool(effect=Effect.ONCE)))
    bench.answer("q~1", asks=(ask(),))
    bench.crash()
    bench.turn()
    bench.cancel()
    bench.turn()
    assert bench.status() == "cancelled"


def test_it_is_undone_like_any_other_task() -> None:
    spec = flow(task("q", tools=(tool(),), compensate=undo()), task("bad", "q", retry=NO_RETRY))
    bench = begun(spec)
    bench.answer("q~1", "said")
    bench.answer("bad", fault=FINAL)
    assert bench.calls["r", "q#undo"].call.parameters == {}
    bench.answer("q#undo")
    assert bench.status() == "compensated"


def test_each_item_has_its_own_turns() -> None:
    each = EachSpec(items=["a", "b"])
    seen = tool(parameters={"at": "{{ item }}/{{ arguments.x }}"})
    bench = begun(flow(task("q", tools=(seen,), for_each=each, parameters={"of": "{{ item }}"})))
    assert bench.calls["r", "q[1]~1"].call.parameters == {"of": "b"}
    bench.answer("q[1]~1", asks=(ask(x=1),))
    assert bench.calls["r", "q[1]~1[0]"].call.parameters == {"at": "b/1"}
    bench.answer("q[1]~1[0]", 1)
    bench.answer("q[0]~1", "A")
    bench.answer("q[1]~2", "B")
    assert bench.status() == "completed"
    assert bench.results()["q"] == ["A", "B"]


# When it gets nowhere.


VAIN = msgspec.structs.replace(FINAL, counts=False)


def turn_after(bench: Bench, number: int, *asks: ToolCall, ok: bool = True) -> None:
    """A turn asks, and all it asks for is answered."""
    bench.answer(f"q~{number}", asks=asks)
    for at in range(len(asks)):
        if ("r", f"q~{number}[{at}]") in bench.calls:
            bench.answer(f"q~{number}[{at}]", "same", fault=None if ok else VAIN)


def test_the_same_again_and_again() -> None:
    bench = begun(asking(tool(repeats=4), max_turns=100))
    notes = []
    for number in range(1, 5):
        turn_after(bench, number, ask(at=1))
        notes.append(bench.calls["r", f"q~{number + 1}"].call.turns[-1].note)
    assert notes[:2] == ["", ""]
    assert "'look' was requested 3 times" in notes[2]
    bench.answer("q~5", asks=(ask(at=1),))
    assert (bench.status(), fault_of(bench).kind) == ("failed", "trajectory")
    assert "5 times with the same arguments, 4 are allowed" in fault_of(bench).message


def test_tasks_do_not_count_for_one_another() -> None:
    spec = flow(
        task("p", tools=(tool(repeats=1),)), task("q", "p", tools=(tool(repeats=1),), max_turns=9)
    )
    bench = begun(spec)
    bench.answer("p~1", asks=(ask(at=1),))
    bench.answer("p~1[0]")
    bench.answer("p~2", "ok")
    bench.answer("q~1", asks=(ask(at=1),))
    bench.answer("q~1[0]")
    assert bench.calls["r", "q~2"].call.turns[-1].note == ""
    bench.answer("q~2", asks=(ask(at=1),))
    assert fault_of(bench).kind == "trajectory", "within one task it still counts"


def test_items_and_rounds_do_not_count_for_one_another() -> None:
    each = task("q", tools=(tool(repeats=1),), for_each=EachSpec(items=[1, 2, 3]))
    bench = begun(flow(each))
    for item in range(3):
        bench.answer(f"q[{item}]~1", asks=(ask(at=1),))
        bench.answer(f"q[{item}]~1[0]", "seen")
        bench.answer(f"q[{item}]~2", item)
    assert bench.results()["q"] == [0, 1, 2]
    repeat = RepeatSpec(until="round == 3")
    bench = begun(flow(task("q", tools=(tool(repeats=1),), repeat_until=repeat)))
    for number in range(1, 4):
        bench.answer(f"q~{number}~1", asks=(ask(at=1),))
        bench.answer(f"q~{number}~1[0]", "seen")
        bench.answer(f"q~{number}~2", number)
    assert bench.status() == "completed"


def test_the_stale_turns_of_a_task_are_its_own() -> None:
    spec = flow(task("p", tools=(tool(),)), task("q", "p", tools=(tool(),), max_turns=9))
    bench = begun(spec)
    bench.answer("p~1", asks=(ask(at=1),))
    bench.answer("p~1[0]")
    bench.answer("p~2", "ok")
    turn_after(bench, 1, ask(at=1))
    turns = bench.driver.runs["r"].state.ensure_flow().turns[1]
    assert (turns.stale, len(turns.path.counts)) == (0, 1)


def test_under_older_rules_it_is_counted_over_the_run() -> None:
    spec = flow(*[task(name, tools=(tool(repeats=1),)) for name in "pq"])
    for rules in (2, 3):
        machine = Machine(spec, rules=rules)
        for name in "pq":
            machine.start(f"{name}~1")
            machine.feed(
                ev.TaskSucceeded,
                task=f"{name}~1",
                attempt=1,
                result="hm",
                asks=(ask(at=1),),
            )
        known = machine.states
        assert (known["q"] == "failed") is (rules == 2)
        assert ("q~1[0]" in known) is (rules == 3)
        assert bool(machine.state.ensure_flow().path.counts) is (rules == 2)


def test_two_that_hand_a_thing_to_one_another() -> None:
    spec = asking(tool("ann", "ann", repeats=99), tool("bob", "bob", repeats=99), max_turns=99)
    bench = begun(spec)
    for number in range(1, 8):
        turn_after(bench, number, ask(("ann", "bob")[number % 2], thing="it"))
        note = bench.calls["r", f"q~{number + 1}"].call.turns[-1].note
        assert ("the last 2 calls were made 3 times over" in note) is (number in (6, 7))
    bench.answer("q~8", asks=(ask("ann", thing="it"),))
    assert "made 4 times over, in the same order" in fault_of(bench).message


def test_one_vain_turn_after_the_other() -> None:
    bench = begun(asking(tool(retry=NO_RETRY), max_turns=99))
    notes = []
    for number in range(1, 7):
        turn_after(bench, number, ask(at=number), ok=False)
        notes.append(bench.calls["r", f"q~{number + 1}"].call.turns[-1].note)
    assert [bool(note) for note in notes] == [False, False, False, True, True, True]
    bench.answer("q~7", asks=(ask(at=7),))
    assert "6 turns in a row" in fault_of(bench).message


def test_what_is_new_is_progress() -> None:
    bench = begun(asking(tool(repeats=99), max_turns=99))
    for number in range(1, 20):
        turn_after(bench, number, ask(at=number))
        assert bench.calls["r", f"q~{number + 1}"].call.turns[-1].note == ""


# What is read of it.


def test_why_and_story() -> None:
    from agenthive.core.history.story import describe_event
    from agenthive.core.history.waiting_reasons import list_reasons

    bench = begun()
    bench.answer("q~1", asks=(ask(), ask(id="2", at=1)))
    reasons = {one.task: one.detail for one in list_reasons(bench.state())}
    assert reasons["q"] == "model turn 1 is running"
    told = [describe_event(event) for event in bench.events()]
    assert "q~1: attempt 1 succeeded and requested tool calls: look, look" in told


def test_an_agent_that_may_ask_for_nothing_asks_in_vain() -> None:
    bench = begun(flow(task("q")))
    bench.answer("q", "x", asks=(ask(),))
    assert bench.status() == "completed"
    (ended,) = [e for e in bench.events() if isinstance(e, ev.TaskSucceeded)]
    assert ended.asks == ()


def test_a_late_answer_of_a_turn_changes_nothing() -> None:
    bench = begun()
    bench.crash()
    bench.turn()
    bench.reply("q~1", "late", asks=(ask(),), attempt=1)
    bench.turn()
    assert bench.open_calls() == ["r/q~1"]


def test_a_task_without_tools_has_no_turns() -> None:
    bench = Bench()
    bench.run(flow(task("a")))
    state = bench.driver.runs["r"].state
    step(state, ev.TaskSucceeded(at=bench.now, task="a", attempt=1, result=1, asks=(ask(),)))
    assert state.status is RunStatus.COMPLETED
    assert build_history(state, 0) == ()


def test_a_tool_that_only_reads_waits_until_its_turn_is_on_disk() -> None:
    bench = Bench()
    bench.run(asking(tool(effect=Effect.NONE)))
    assert bench.driver.runs["r"].state.graph.nodes[0].tools[0].recorded_first


def test_what_was_said_on_the_way_is_let_go() -> None:
    bench = begun()
    bench.answer("q~1", asks=(ask(),))
    bench.answer("q~1[0]", "seen")
    bench.answer("q~2", "done")
    state = bench.driver.runs["r"].state
    assert {state.graph.keys[index]: value for index, value in state.results.items()} == {
        "q": "done"
    }
