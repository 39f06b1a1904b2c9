"""A bench for the core: short ways to write a workflow, and a driver whose world is the test.

`Bench` plays the runtime by hand: a turn decides, writes and commits; calls pile up in `calls`
until the test answers them. After every turn the state must satisfy the invariants and be what a
replay of the journal gives.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from agenthive.core.engine import actions as act
from agenthive.core.engine.driver import Driver
from agenthive.core.engine.human_input import ApprovalDecision, TaskResolution
from agenthive.core.engine.invariants import find_driver_violations, find_violations
from agenthive.core.graph.graph import Graph
from agenthive.core.history.migration import Migration, examine_run, replay_under_graph
from agenthive.core.history.replay import find_submission, replay
from agenthive.core.history.run_index import list_set_apart
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.hash_chain import RULES
from agenthive.core.journal.records import Batch
from agenthive.core.machine import commands as cmd
from agenthive.core.machine.machine import step
from agenthive.core.machine.run_state import RunState
from agenthive.core.model import definition
from agenthive.core.model.calls import Fault, Reply, ToolCall, Usage
from agenthive.core.model.workflow import AgentSpec, CompensationSpec, TaskSpec, WorkflowSpec
from agenthive.core.policies.fault_classes import FaultClass
from agenthive.core.policies.retry import RetryPolicy, RetryStrategy
from agenthive.core.values import SECOND
from agenthive.stores.memory import MemoryStore

START = 1_700_000_000 * SECOND
AT_ONCE = RetryPolicy(max_attempts=3, strategy=RetryStrategy.IMMEDIATE)
NO_RETRY = RetryPolicy(max_attempts=1)
FAULT = Fault(kind="connection", message="gone")
FINAL = Fault(kind="agent_error", message="no", retriable=False, class_=FaultClass.BAD_END)


def task(name: str, *after: str, agent: str = "a", **more: Any) -> TaskSpec:
    return TaskSpec(name=name, agent=agent, action="do", depends_on=after, **more)


def agent(name: str = "a", **more: Any) -> AgentSpec:
    return AgentSpec(name=name, type="custom", endpoint=f"custom://{name}", **more)


def undo(agent: str = "a", **more: Any) -> CompensationSpec:
    return CompensationSpec(agent=agent, action="undo", **more)


def flow(*tasks: TaskSpec, agents: Iterable[AgentSpec] = (), **more: Any) -> WorkflowSpec:
    """A workflow; agents that are only named get made."""
    known = {a.name: a for a in agents}
    for one in tasks:
        if one.agent:
            known.setdefault(one.agent, agent(one.agent))
        for other in (*one.tools, *one.fallback):
            known.setdefault(other.agent, agent(other.agent))
        if one.reconcile is not None:
            known.setdefault(one.reconcile.agent, agent(one.reconcile.agent))
        if one.compensate is not None:
            known.setdefault(one.compensate.agent, agent(one.compensate.agent))
    more.setdefault("max_parallel", 10)
    return WorkflowSpec(name="w", agents=tuple(known.values()), tasks=tasks, **more)


class Machine:
    """One run's state, fed fact by fact. Invariants are looked at after each."""

    def __init__(self, spec: WorkflowSpec, *, start: bool = True, rules: int = RULES) -> None:
        self.state = RunState(Graph(spec), rules)
        self.now = START
        self.commands: list[cmd.RunCommand] = []
        self.feed(ev.RunSubmitted, run="r", name=spec.name, definition="d")
        if start:
            self.feed(ev.RunStarted)

    def feed(self, kind: type[ev.Event], **fields: Any) -> list[cmd.RunCommand]:
        commands = step(self.state, kind(at=self.now, **fields))  # type: ignore[arg-type]
        self.commands += commands
        wrong = find_violations(self.state)
        assert not wrong, wrong
        return commands

    def start(self, *names: str) -> None:
        for name in names:
            attempt = self.state.attempts[self.state.graph.index[name]] + 1
            self.feed(ev.TaskStarted, task=name, attempt=attempt, agent="a", key="k")

    def succeed(self, *names: str, result: Any = None) -> None:
        """Start (if need be) and succeed."""
        for name in names:
            self._begin(name)
            self.feed(ev.TaskSucceeded, task=name, attempt=self.attempt(name), result=result)

    def fail(self, name: str, fault: Fault = FINAL, draw: float = 0.0) -> list[cmd.RunCommand]:
        self._begin(name)
        return self.feed(
            ev.TaskFailed, task=name, attempt=self.attempt(name), fault=fault, draw=draw
        )

    def attempt(self, name: str) -> int:
        return self.state.attempts[self.state.graph.index[name]]

    def of(self, name: str) -> str:
        return str(self.state.state[self.state.graph.index[name]])

    @property
    def states(self) -> dict[str, str]:
        return {key: self.of(key) for key in self.state.graph.keys}

    def _begin(self, name: str) -> None:
        if self.of(name) == "ready":
            self.start(name)


class Bench:
    """A driver, a journal in memory, and the test as the world."""

    def __init__(self, **limits: Any) -> None:
        self.limits = limits
        self.disk = MemoryStore()
        self.now = START
        self.graphs: dict[str, Graph] = {}
        self.driver = Driver(**limits)
        self.calls: dict[tuple[str, str], act.PerformCall] = {}
        self.made: list[act.PerformCall] = []
        self.seen: list[act.Action] = []
        self.tokens = 0

    # The runtime's part.

    def turn(self) -> list[act.Action]:
        """Decide, write, commit and carry out until nothing is left to do."""
        done: list[act.Action] = []
        more = True
        while (batch := self.decide()) is not None:
            assert more, "there was something to decide, and nobody was told"
            done += self.commit(batch)
            wake = self.driver.next_wake()
            more = self.driver.has_work or (wake is not None and wake <= self.now)
        self.sound()
        return done

    def decide(self) -> Batch | None:
        batch = self.driver.decide(self.now)
        for call in self.driver.take_eager_calls():
            self._perform(call)
        return batch

    def commit(self, batch: Batch) -> list[act.Action]:
        self.disk.write(batch)
        actions = self.driver.confirm_commit(self.now)
        self.seen += actions
        for action in actions:
            if isinstance(action, act.PerformCall):
                self._perform(action)
        return actions

    def _perform(self, action: act.PerformCall) -> None:
        self.made.append(action)
        self.calls[action.call.run, action.call.task] = action

    def sound(self) -> None:
        """Invariants hold, and the journal leads to the state in memory."""
        wrong = find_driver_violations(self.driver)
        assert not wrong, wrong
        for run, live in self.driver.runs.items():
            if live.written_seq == live.state.seq:
                again = replay(self.graph(run), self.disk.records(run))
                assert (again.state, again.status) == (live.state.state, live.state.status)

    # What comes from outside.

    def submit(self, spec: WorkflowSpec, run: str = "r", **more: Any) -> int:
        self.graphs[run] = Graph(spec)
        body = definition.encode(spec)
        event = ev.RunSubmitted(
            at=self.now, run=run, name=spec.name, definition=definition.compute_digest(body), **more
        )
        self.tokens += 1
        self.driver.submit(self.now, event, self.graphs[run], body, self.tokens)
        return self.tokens

    def run(self, spec: WorkflowSpec, run: str = "r", **more: Any) -> None:
        """Submit and take a turn."""
        self.submit(spec, run, **more)
        self.turn()

    def cancel(self, run: str = "r", reason: str = "") -> int:
        self.tokens += 1
        self.driver.cancel(self.now, run, "me", reason, self.tokens)
        return self.tokens

    def reply(
        self,
        name: str,
        result: Any = None,
        *,
        fault: Fault | None = None,
        usage: Usage | None = None,
        asks: tuple[ToolCall, ...] = (),
        run: str = "r",
        attempt: int | None = None,
        draw: float = 0.0,
    ) -> None:
        """Answer the call of a task that is under way (or, by number, any attempt)."""
        if attempt is None:
            attempt = self.calls.pop((run, name)).call.attempt
        reply = Reply(result=result, fault=fault, usage=usage, asks=asks)
        self.driver.record_reply(self.now, run, name, attempt, reply, draw)

    def answer(self, name: str, result: Any = None, **more: Any) -> list[act.Action]:
        """Reply and take a turn."""
        self.reply(name, result, **more)
        return self.turn()

    def stop(self, name: str, run: str = "r") -> list[act.Action]:
        attempt = self.calls.pop((run, name)).call.attempt
        self.driver.record_cancellation(self.now, run, name, attempt)
        return self.turn()

    def crash(self, *, missing: dict[str, str] | None = None, after: int = SECOND) -> None:
        """The process is gone; a new one takes over what is on disk."""
        self.now += after
        self.calls.clear()
        self.driver = Driver(**self.limits)
        self.driver.load_accounts(self.disk.accounts(), self.disk.get_marks())
        self.driver.load_hive(self.disk.records(ev.HIVE))
        for row in reversed(self.disk.rows(unfinished=True)):
            records = self.disk.records(row.run)
            state = replay(self.graph(row.run), records, self.disk.contents)
            self.driver.load_run(self.now, state, missing or {})

    def crash_without_set_apart(self) -> None:
        """As `crash`; the new process leaves the runs alone that were set apart, as a hive does."""
        rows = self.disk.rows
        set_apart = list_set_apart(self.disk.get_marks())
        self.disk.rows = lambda **how: [row for row in rows(**how) if row.run not in set_apart]  # type: ignore[method-assign]
        self.crash()
        self.disk.rows = rows  # type: ignore[method-assign]

    def wait(self, seconds: float) -> list[act.Action]:
        self.now += round(seconds * SECOND)
        return self.turn()

    # Looking.

    def events(self, run: str = "r") -> list[ev.RunEvent]:
        return [e for r in self.disk.records(run) for e in ev.decode_run_events(r.payload)]

    def hive(self) -> list[ev.HiveEvent]:
        return [e for r in self.disk.records(ev.HIVE) for e in ev.decode_hive_events(r.payload)]

    def state(self, run: str = "r") -> RunState:
        return replay(self.graph(run), self.disk.records(run))

    def graph(self, run: str) -> Graph:
        """The graph a run is pinned to; that of a child run is made from its definition."""
        if run not in self.graphs:
            name = find_submission(self.disk.records(run)).definition
            self.graphs[run] = Graph(definition.decode(self.disk.get_definition(name)))
        return self.graphs[run]

    def states(self, run: str = "r") -> dict[str, str]:
        state = self.state(run)
        return {key: str(state.state[i]) for i, key in enumerate(state.graph.keys)}

    def status(self, run: str = "r") -> str:
        return str(self.state(run).status)

    def results(self, run: str = "r") -> dict[str, Any]:
        """Every result of a run, as a replay that lets go of none has them."""
        state = RunState(self.graph(run))
        state.keep = True
        for event in self.events(run):
            step(state, event)
        return {state.graph.keys[i]: value for i, value in state.results.items()}

    def approve(self, name: str, actor: str = "ann", run: str = "r", **more: Any) -> str:
        """Answer an approval and take a turn; why it did not count, empty if it did."""
        self.tokens += 1
        verdict = ApprovalDecision(actor=actor, **({"approved": True} | more))
        self.driver.answer(self.now, run, name, verdict, self.tokens)
        done = self.turn()
        return next((a.reason for a in done if isinstance(a, act.RejectRequest)), "")

    def signal(self, name: str, data: Any = None, run: str = "r", id: str = "") -> None:
        self.tokens += 1
        self.driver.signal_run(self.now, run, name, data, id, "me", self.tokens)
        self.turn()

    def examine(self, spec: WorkflowSpec, run: str = "r", **renamed: str) -> Migration:
        """What would become of the run under another workflow."""
        return examine_run(self.graph(run), Graph(spec), self.disk.records(run), renamed)

    def migrate(self, spec: WorkflowSpec, run: str = "r") -> Migration:
        """Let the run go on under another workflow, and take a turn."""
        found = self.examine(spec, run)
        body = definition.encode(spec)
        event = ev.RunMigrated(
            at=0, definition=definition.compute_digest(body), renamed=found.renamed
        )
        graph = Graph(spec)
        state = replay_under_graph(graph, self.disk.records(run), found.renamed)
        self.tokens += 1
        self.driver.migrate_run(self.now, event, state, {}, body, self.tokens)
        self.graphs[run] = graph
        self.turn()
        return found

    def resolve(self, name: str, outcome: str, result: Any = None, run: str = "r") -> None:
        self.tokens += 1
        resolution = TaskResolution(
            run=run, task=name, outcome=outcome, result=result, actor="ann", reason="looked"
        )
        self.driver.resolve_outcome(self.now, resolution, self.tokens)
        self.turn()

    def open_calls(self) -> list[str]:
        """Run/task of the calls under way."""
        return [f"{run}/{name}" for run, name in self.calls]
