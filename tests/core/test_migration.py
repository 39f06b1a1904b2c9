"""Open runs and changed workflows: ten edits, each with its verdict said first; and going on."""

from __future__ import annotations

import msgspec
import pytest

from agenthive.core.graph.graph import Graph
from agenthive.core.history.migration import MigrationCheck, replay_under_graph
from agenthive.core.journal import run_events as ev
from agenthive.core.model import definition
from agenthive.core.model.control_flow import ApprovalSpec, EachSpec
from agenthive.core.model.workflow import Effect, TaskSpec, WorkflowSpec
from agenthive.errors import Conflict
from tests.core.rig import FAULT, NO_RETRY, Bench, flow, task

ADOPT, MAP, STAY = MigrationCheck.ADOPT, MigrationCheck.MAP, MigrationCheck.STAY
SCHEMA = {"type": "object", "required": ["ok"]}

FETCH = task("fetch", parameters={"url": "/bees"}, effect=Effect.NONE)
PAY = task("pay", "fetch", parameters={"sum": "{{ tasks.fetch.result }}"}, effect=Effect.ONCE)
GATE = TaskSpec(name="gate", depends_on=("pay",), approval=ApprovalSpec(message="go on?"))
MAIL = task("mail", "gate", parameters={"to": "ann"}, approval=ApprovalSpec(message="mail?"))
TIDY = task("tidy", "mail")
BASE = (FETCH, PAY, GATE, MAIL, TIDY)


def but(old: TaskSpec, **changes: object) -> TaskSpec:
    return msgspec.structs.replace(old, **changes)


def swapped(old: TaskSpec, *new: TaskSpec) -> WorkflowSpec:
    return flow(*(one for t in BASE for one in (new if t is old else (t,))))


def opened() -> Bench:
    """Fetched and paid; stands at the gate."""
    bench = Bench()
    bench.run(flow(*BASE))
    bench.answer("fetch", 5)
    bench.answer("pay", "paid")
    assert bench.status() == "waiting"
    return bench


def renamed() -> WorkflowSpec:
    get = but(FETCH, name="get")
    pay = but(PAY, depends_on=("get",), parameters={"sum": "{{ tasks.get.result }}"})
    return flow(get, pay, GATE, MAIL, TIDY)


EDITS: dict[str, tuple[WorkflowSpec, MigrationCheck, str]] = {
    "rename a task that is done": (renamed(), MAP, "read under the new name"),
    "add a leaf": (flow(*BASE, task("log", "fetch")), ADOPT, "it has not started"),
    "add in the middle, before what is to come": (
        swapped(TIDY, task("check", "mail"), but(TIDY, depends_on=("check",))),
        ADOPT,
        "not started",
    ),
    "add in the middle, before what is done": (
        swapped(PAY, task("check", "fetch"), but(PAY, depends_on=("check", "fetch"))),
        STAY,
        "it is succeeded under the old definition",
    ),
    "remove one that is done": (
        flow(but(PAY, depends_on=(), parameters={"sum": 5}), GATE, MAIL, TIDY),
        STAY,
        "its outcome would be lost",
    ),
    "remove one that is to come": (flow(*BASE[:-1]), ADOPT, "it has not started"),
    "parameters of one that is done": (
        swapped(FETCH, but(FETCH, parameters={"url": "/wasps"})),
        STAY,
        "fork --from fetch",
    ),
    "parameters of one that is to come": (
        swapped(MAIL, but(MAIL, parameters={"to": "bob"})),
        ADOPT,
        "it has not started",
    ),
    "effect of one that is to come": (
        swapped(TIDY, but(TIDY, effect=Effect.ONCE)),
        ADOPT,
        "it has not started",
    ),
    "reorder": (flow(*reversed(BASE)), ADOPT, "order in a file has no effect"),
    "output schema of one that is to come": (
        swapped(TIDY, but(TIDY, output_schema=SCHEMA)),
        ADOPT,
        "it has not started",
    ),
    "output schema of one that is done": (
        swapped(PAY, but(PAY, output_schema=SCHEMA)),
        STAY,
        "was not validated against the new schema",
    ),
    "retries of one that is done": (
        swapped(PAY, but(PAY, retry=NO_RETRY)),
        ADOPT,
        "from now on",
    ),
    "effect of one that is done": (
        swapped(FETCH, but(FETCH, effect=Effect.ANY)),
        ADOPT,
        "from now on",
    ),
    "rename one that is to come": (swapped(TIDY, but(TIDY, name="clean")), ADOPT, "not started"),
    "remove one that is being asked about": (
        flow(FETCH, PAY, but(MAIL, depends_on=("pay",)), TIDY),
        STAY,
        "the journal has records of it",
    ),
    "rename one that is being asked about": (
        flow(FETCH, PAY, but(GATE, name="door"), but(MAIL, depends_on=("door",)), TIDY),
        STAY,
        "idempotency key is derived from its name",
    ),
    "nothing": (flow(*BASE), ADOPT, ""),
}


@pytest.mark.parametrize("edit", [*EDITS])
def test_the_verdict(edit: str) -> None:
    spec, verdict, reason = EDITS[edit]
    found = opened().examine(spec)
    assert found.verdict is verdict, found.changes
    assert reason in " ".join(one.reason for one in found.changes)
    assert all(one.verdict in (ADOPT, verdict) for one in found.changes)


@pytest.mark.parametrize("edit", [name for name, row in EDITS.items() if row[1] is not STAY])
def test_it_goes_on_to_the_end_and_does_nothing_twice(edit: str) -> None:
    bench = opened()
    before = [made.call.task for made in bench.made]
    spec = EDITS[edit][0]
    bench.migrate(spec)
    for again in (False, True):
        if again:
            bench.crash()
            bench.turn()
    assert bench.approve("gate") == ""
    while bench.status() != "completed":
        for name, state in bench.states().items():
            if state == "blocked":
                assert bench.approve(name) == ""
        for one in bench.open_calls():
            bench.answer(one.partition("/")[2], {"ok": True})
    later = {made.call.task for made in bench.made[len(before) :]}
    done = {"fetch", "get", "pay"}
    assert not done & later
    assert {"mail"} <= later <= {t.name for t in spec.tasks} - done
    named = [e for e in bench.events() if isinstance(e, ev.RunMigrated)]
    assert [e.definition for e in named] == [definition.compute_digest(definition.encode(spec))]


def test_what_is_approved_is_asked_again_when_it_has_changed() -> None:
    bench = opened()
    bench.approve("gate")
    found = bench.migrate(swapped(MAIL, but(MAIL, parameters={"to": "bob"})))
    assert "requested again" in found.changes[0].reason
    assert bench.approve("mail") == ""
    assert bench.states()["mail"] == "blocked"
    assert bench.approve("mail") == ""
    assert bench.calls["r", "mail"].call.parameters == {"to": "bob"}


def test_calls_under_way_are_waited_for() -> None:
    bench = Bench()
    bench.run(flow(*BASE))
    with pytest.raises(Conflict, match="has calls in progress"):
        bench.migrate(flow(*BASE, task("log")))


def test_a_run_that_moved_on_meanwhile_is_not_changed() -> None:
    bench = opened()
    spec = flow(*BASE, task("log"))
    state = replay_under_graph(Graph(spec), bench.disk.records("r"), {})
    bench.approve("gate")
    with pytest.raises(Conflict, match="changed in the meantime"):
        bench.driver.migrate_run(bench.now, ev.RunMigrated(at=0, definition="d"), state, {}, b"", 9)


def test_what_has_been_decided_and_is_not_on_disk_yet_is_not_lost() -> None:
    bench = opened()
    bench.crash()
    assert bench.migrate(renamed()).verdict is MAP
    assert [type(event) for event in bench.events()][-2:] == [ev.RunResumed, ev.RunMigrated]
    bench.approve("gate")
    assert bench.states()["mail"] == "blocked"


def test_the_key_of_a_call_that_may_be_made_again_stays() -> None:
    slow = task("slow", effect=Effect.KEYED)
    bench = Bench()
    bench.run(flow(slow, task("next", "slow")))
    bench.answer("slow", fault=FAULT, draw=0.9)
    found = bench.examine(flow(but(slow, name="brisk"), task("next", "brisk")))
    assert found.verdict is STAY
    assert "idempotency key" in found.changes[0].reason


def test_a_pure_call_may_be_renamed_while_it_waits_for_its_next_attempt() -> None:
    slow = task("slow", effect=Effect.NONE)
    bench = Bench()
    bench.run(flow(slow, task("next", "slow")))
    bench.answer("slow", fault=FAULT, draw=0.9)
    assert bench.migrate(flow(but(slow, name="brisk"), task("next", "brisk"))).verdict is MAP
    bench.wait(60)
    bench.answer("brisk", 1)
    assert bench.calls["r", "next"].call.dependencies == {"brisk": 1}


def test_a_renaming_that_cannot_be_seen_is_said() -> None:
    bench = opened()
    get = but(FETCH, name="get", description="other words", parameters={"url": "/bees"})
    twins = flow(get, but(get, name="twin"), *renamed().tasks[1:])
    assert bench.examine(twins, fetch="get").renamed == {"fetch": "get"}
    other = swapped(TIDY, but(TIDY, name="clean", parameters={"x": 1}))
    assert bench.examine(other, tidy="clean").changes[0].what == "renamed to clean"


def test_a_renamed_task_that_differs_too_stays() -> None:
    other = flow(but(FETCH, name="get", parameters={"url": "/x"}), *renamed().tasks[1:])
    found = opened().examine(other, fetch="get")
    assert found.verdict is STAY
    assert found.changes[0].reason == "parameters changed as well"


def test_the_facts_themselves_speak_last() -> None:
    """An attempt that failed and was tried again, where one attempt is all there is now."""
    bench = Bench()
    bench.run(flow(task("a"), task("b", "a")))
    bench.answer("a", fault=FAULT)
    bench.wait(60)
    bench.answer("a", 1)
    found = bench.examine(flow(task("a", retry=NO_RETRY), task("b", "a")))
    assert found.verdict is STAY
    assert "its events do not fit" in found.changes[-1].reason


def test_where_it_would_stand_elsewhere_it_stays() -> None:
    bench = Bench()
    bench.run(flow(task("a"), task("b", "a")))
    bench.answer("a", fault=FAULT, draw=0.9)
    found = bench.examine(flow(task("a", retry=NO_RETRY, continue_on_failure=True), task("b", "a")))
    assert [one.reason for one in found.changes if one.verdict is STAY] == [
        "it is backing_off, and would be failed"
    ]


def test_a_run_with_nothing_left_to_do_is_cancelled_instead() -> None:
    bench = Bench()
    bench.run(flow(task("a"), task("b", "a", when="tasks.a.result == 1", delay=5.0)))
    bench.answer("a", 1)
    found = bench.examine(flow(task("a")))
    assert found.verdict is STAY
    bench = Bench(max_calls=1)
    bench.run(flow(task("a"), task("b", "a")))
    bench.driver.draining = True
    bench.answer("a")
    found = bench.examine(flow(task("a")))
    assert found.changes[-1].reason.startswith("no task would be left to run")
    # A hive refuses it before. The driver, which is given it all the same, sets the run apart.
    bench.migrate(flow(task("a")))
    assert "InvalidTransition" in bench.driver.set_apart_runs["r"]


def test_items_are_found_under_the_new_name_of_their_task() -> None:
    each = task("each", for_each=EachSpec(items="{{ [1, 2] }}"), effect=Effect.NONE)
    bench = Bench()
    bench.run(flow(each, but(GATE, depends_on=("each",)), task("end", "gate")))
    bench.answer("each[0]", 1)
    bench.answer("each[1]", 2)
    new = flow(but(each, name="all"), but(GATE, depends_on=("all",)), task("end", "gate", "all"))
    assert bench.migrate(new).verdict is MAP
    bench.approve("gate")
    assert bench.calls["r", "end"].call.dependencies["all"] == [1, 2]


def test_twice() -> None:
    bench = opened()
    bench.migrate(renamed())
    third = but(FETCH, name="load")
    pay = but(PAY, depends_on=("load",), parameters={"sum": "{{ tasks['load'].result }}"})
    assert bench.examine(flow(third, pay, GATE, MAIL, TIDY)).verdict is STAY  # another spelling
    pay = but(PAY, depends_on=("load",), parameters={"sum": "{{ tasks.load.result }}"})
    assert bench.migrate(flow(third, pay, GATE, MAIL, TIDY)).verdict is MAP
    bench.crash()
    bench.turn()
    assert bench.states()["load"] == "succeeded"


def test_a_queued_run() -> None:
    bench = Bench(max_runs=1)
    bench.run(flow(task("x")), "first")
    bench.run(flow(*BASE))
    assert bench.migrate(flow(*BASE, task("log"))).verdict is ADOPT
    bench.answer("x", run="first")
    assert bench.open_calls() == ["r/fetch", "r/log"]
