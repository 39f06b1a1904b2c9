"""The one driver: decide, append, commit, then act. Sans I/O, used unchanged by every runtime.

A runtime tells it facts (`submit`, `reply`, `cancel`, ...), asks it to `decide`, writes the batch
that gives, tells it that the batch is `committed`, and carries out the actions it then gets.
It never acts before the commit (but for calls declared ``effect: none``), never lets a reply count
twice, and takes time and random numbers as arguments.

Runtime loop:  facts -> decide(now) -> store.append(batch) -> committed(now) -> actions
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush

from msgspec.structs import replace

from agenthive.core import actions as act
from agenthive.core import commands as cmd
from agenthive.core import events as ev
from agenthive.core.answers import Unpaid, late, outcome
from agenthive.core.breakers import Breakers
from agenthive.core.dispatch import UNLIMITED, ReadyQueue
from agenthive.core.graph import Graph
from agenthive.core.live import Live
from agenthive.core.machine import RULES, step
from agenthive.core.ports import Batch, Calendar, Call, Fault, Record, Reply
from agenthive.core.run_state import RunState
from agenthive.core.schedules import Deed, Schedules, Start, Stop
from agenthive.core.spec import Effect
from agenthive.core.states import CLOSED, RunStatus, TaskState
from agenthive.core.values import SECOND, Micros
from agenthive.errors import Conflict, ExpressionError, RunNotFound

# Looked up once: in Python 3.11 that costs more than comparing with them.
_READY, _RUNNING, _PURE = TaskState.READY, TaskState.RUNNING, Effect.NONE

STARTS_PER_TURN = 1000
"""How many intents one transaction holds at most."""


class Driver:
    """All open runs of a hive.

    ``max_runs`` bounds the runs that are under way, ``max_calls`` the calls under way at once.
    ``active`` counts the runs that take a run slot.
    """

    def __init__(
        self,
        *,
        max_runs: int = UNLIMITED,
        max_calls: int = UNLIMITED,
        calendar: Calendar | None = None,
    ) -> None:
        self.runs: dict[str, Live] = {}
        self.queue = ReadyQueue(max_calls)
        self.breakers = Breakers(self.queue)
        self.schedules = Schedules(calendar)
        self.draining = False
        self._max_runs = max_runs
        self.active = 0
        self._queued: dict[str, None] = {}
        self._dirty: dict[str, Live] = {}
        self._in_batch: list[Live] = []
        self._hive: list[ev.HiveEvent] = []
        self._hive_committing: list[ev.HiveEvent] = []
        self._hive_seq = 0
        self._definitions: dict[str, bytes] = {}
        self._timers: list[tuple[Micros, str, int]] = []
        self._eager: list[act.Perform] = []
        self._after: list[act.Action] = []
        self._committing: list[act.Action] = []
        self._unpicked = False
        self._unpaid = Unpaid()
        self._latest: Micros = 0
        self._skew: Micros = 0

    # Facts from outside.

    def submit(
        self, now: Micros, event: ev.RunSubmitted, graph: Graph, body: bytes, token: int
    ) -> None:
        """Accept a run; ``Acknowledge(token)`` follows once it is on disk.

        ``body`` is the definition whose digest the event names. Raises Conflict if the run exists.
        """
        if event.run in self.runs:
            raise Conflict(f"run {event.run} exists already")
        now = self._clock(now)
        self._definitions[event.definition] = body
        self._accept(event, graph, now)
        self._after.append(act.Acknowledge(token, event.run))

    def _accept(self, event: ev.RunSubmitted, graph: Graph, now: Micros) -> None:
        live = self._join(event.run, RunState(graph), now)
        self._hive.append(
            ev.RunOpened(at=now, run=event.run, tenant=event.tenant, owner=event.owner)
        )
        self._apply(live, event, now)
        self._queued[event.run] = None

    def cancel(self, now: Micros, run: str, actor: str, reason: str, token: int) -> None:
        """Cancel an open run. Raises RunNotFound if it is not open here."""
        live = self.runs.get(run)
        if live is None or live.state.status in CLOSED:
            raise RunNotFound(f"there is no open run '{run}'")
        self._cancel(live, self._clock(now), actor, reason)
        self._after.append(act.Acknowledge(token))

    def _cancel(self, live: Live, now: Micros, actor: str, reason: str) -> None:
        if not live.state.cancelling and live.state.status is not RunStatus.COMPENSATING:
            self._apply(live, ev.CancelRequested(at=now, actor=actor, reason=reason), now)

    def schedule(
        self,
        now: Micros,
        change: ev.ScheduleChange,
        token: int,
        body: bytes = b"",
        graph: Graph | None = None,
        problem: str = "",
    ) -> None:
        """Set, pause, resume, remove or trigger a schedule. Raises NotFound, Conflict.

        What is set comes with its definition, and ``problem`` if its runs cannot start here.
        """
        at = self._clock(now)
        change = replace(change, at=at, since=now)
        deeds = self.schedules.change(change, at)
        if isinstance(change, ev.ScheduleSet):
            self._definitions[change.definition] = body
            self.schedules.known[change.schedule].equip(graph, problem)
        self._do(deeds, at)
        triggered = change.run if isinstance(change, ev.ScheduleTriggered) else ""
        self._after.append(act.Acknowledge(token, triggered))

    def _do(self, deeds: Iterable[Deed], now: Micros) -> None:
        for deed in deeds:
            if isinstance(deed, Start):
                self._accept(deed.event, deed.graph, now)
            elif not isinstance(deed, Stop):
                self._hive.append(deed)
            elif deed.run in self.runs:
                self._cancel(self.runs[deed.run], now, f"schedule {deed.schedule}", "overtaken")

    def reply(
        self, now: Micros, run: str, task: str, attempt: int, reply: Reply, draw: float
    ) -> None:
        """A call answered. ``draw`` in [0, 1) serves the retry's jitter."""
        live = self.runs.get(run)
        index = self._current(live, task, attempt)
        now = self._clock(now)
        if live is None or index is None:
            self._late(now, run, task, attempt, reply)
        else:
            self._answered(live, index, now, reply, draw)

    def _answered(self, live: Live, index: int, now: Micros, reply: Reply, draw: float) -> None:
        task, attempt = live.state.graph.keys[index], live.state.attempts[index]
        self._heard(live, index, reply.fault, now)
        if reply.fault is None and live.estimates.useful:
            self._learn(live, index, now)
        self._apply(live, outcome(now, task, attempt, reply, draw), now)

    def stopped(self, now: Micros, run: str, task: str, attempt: int) -> None:
        """A call was cancelled before it answered."""
        live = self.runs.get(run)
        index = self._current(live, task, attempt)
        if live is None or index is None:
            return
        now = self._clock(now)
        self._heard(live, index, _STOPPED, now)
        self._apply(live, ev.TaskCancelled(at=now, task=task, attempt=attempt), now)

    # Recovery.

    def load_hive(self, records: Sequence[Record]) -> None:
        """Take in the hive's own stream, oldest first, before any run."""
        for record in records:
            self._hive_seq = record.seq + record.count - 1
            self._latest = max(self._latest, record.at)
            for event in ev.decode_hive(record.payload):
                self.breakers.remember(event)
                self.schedules.remember(event)

    def load(self, now: Micros, state: RunState, missing: dict[str, str]) -> None:
        """Take over an open run from its replayed state.

        ``missing`` maps names of agents nobody has to what to do about it. Calls that were under
        way become lost ones, which are made again under their keys or end as unknown outcome.
        """
        self._latest = max(self._latest, state.last_at)
        now = self._clock(now)
        live = self._join(state.run, state, now)
        live.missing = missing
        live.written = live.durable = state.seq
        if state.status is RunStatus.QUEUED:
            self._queued[state.run] = None
            return
        self.active += state.takes_slot
        self._apply(live, ev.RunResumed(at=now, away=now - state.last_at), now)
        for index, kind in enumerate(list(state.state)):
            self._reopen(live, index, kind, now)

    def _reopen(self, live: Live, index: int, kind: TaskState, now: Micros) -> None:
        """Bring back what a task's state needs outside the machine. Skips what moved meanwhile."""
        state = live.state
        key = state.graph.keys[index]
        if state.state[index] is not kind:
            return
        if kind is TaskState.RUNNING:
            self._apply(live, ev.TaskLost(at=now, task=key, attempt=state.attempts[index]), now)
        elif kind is TaskState.READY:
            self._obey(live, cmd.OfferTask(state.seq, index), now)
        elif kind is TaskState.BACKING_OFF:
            heappush(self._timers, (state.wake_at[index], state.run, index))
        elif kind is TaskState.BLOCKED and live.agent(index).name not in live.missing:
            self._apply(live, ev.TaskUnblocked(at=now, task=key), now)

    # Deciding.

    def decide(self, now: Micros) -> Batch | None:
        """Let time pass, start what may start, and give what must be written; None if nothing.

        Until `committed` is called for a batch, `decide` must not be called again.
        """
        wall, now = now, self._clock(now)
        self._tick(now)
        if not self.draining:
            self._do(self.schedules.due(wall, now), now)
            self._start_runs(now)
            self._start_tasks(now)
        if not self._dirty and not self._hive:
            return None
        batch = Batch(definitions=list(self._definitions.items()))
        self._definitions = {}
        for live in self._dirty.values():
            batch.records.append(live.record(RULES))
            if live.row_changed():
                batch.runs.append(live.row())
        self._in_batch = list(self._dirty.values())
        self._dirty = {}
        if self._hive:
            batch.records.append(self._hive_record())
        self._committing, self._after = self._after, []
        return batch

    def eager(self) -> list[act.Perform]:
        """Calls that change nothing outside and need not wait for the commit of their intent."""
        calls, self._eager = self._eager, []
        return calls

    def committed(self, now: Micros) -> list[act.Action]:
        """The batch is on disk: what to carry out, in order."""
        actions, self._committing = self._committing, []
        self._hive_committing = []
        for live in self._in_batch:
            live.durable = live.written
            if live.parked:
                actions.append(act.RunParked(live.run))
            # Not before this: who finds no run here reads in the journal how it ended.
            if live.over and self.runs.get(live.run) is live:
                del self.runs[live.run]
        self._in_batch = []
        return [action for action in actions if not self._overtaken(action, now)]

    def withdraw(self, batch: Batch) -> list[int]:
        """The store takes nothing now: drop what nobody has been promised yet.

        Takes the runs that this batch would have accepted out of it and forgets them, and those
        that the next one would; gives the tokens of those who wait for that. What is left must
        still be written.
        """
        asked = {
            action.run: action.token
            for action in (*self._committing, *self._after)
            if isinstance(action, act.Acknowledge) and action.run
        }
        if not asked:
            return []
        self._committing = [a for a in self._committing if act.run_of(a) not in asked]
        self._after = [a for a in self._after if act.run_of(a) not in asked]
        for run in asked:
            self._forget(run)
        batch.runs = [row for row in batch.runs if row.run not in asked]
        batch.records = [r for r in batch.records if r.stream not in asked and r.stream != ev.HIVE]
        self._hive_seq -= len(self._hive_committing)
        kept = [e for e in self._hive_committing if getattr(e, "run", None) not in asked]
        later = [e for e in self._hive if getattr(e, "run", None) not in asked]
        # What came in since belongs to the next batch, with the records it speaks of.
        self._hive, self._hive_committing = kept, []
        if kept:
            batch.records.append(self._hive_record())
        self._hive = later
        return list(asked.values())

    def _forget(self, run: str) -> None:
        live = self.runs.pop(run)
        for index, kind in enumerate(live.state.state):
            if kind is TaskState.RUNNING:
                self._heard(live, index, _STOPPED, self._latest)
        self.queue.leave(run)
        self.schedules.ended(run)
        self._queued.pop(run, None)
        self._dirty.pop(run, None)
        self.active -= live.state.takes_slot

    def next_wake(self) -> Micros | None:
        """When `decide` has something to do though nothing is reported (hive time)."""
        times = [at for at in (self.breakers.next_wake(),) if at is not None]
        if self._timers:
            times.append(self._timers[0][0])
        wake = min(times) - self._skew if times else None
        due = None if self.draining else self.schedules.next_wake()
        return due if wake is None or (due is not None and due < wake) else wake

    @property
    def has_more(self) -> bool:
        """Whether `decide` has something to do now."""
        return bool(self._dirty or self._hive or self._unpicked)

    def _overtaken(self, action: act.Action, now: Micros) -> bool:
        """A call that was stopped before it was made is not made at all."""
        if not isinstance(action, act.Perform):
            return False
        call = action.call
        live = self.runs.get(call.run)
        if live is None or (call.task, call.attempt) not in live.stopping:
            return False
        self.stopped(now, call.run, call.task, call.attempt)
        return True

    def _clock(self, now: Micros) -> Micros:
        """Hive time: goes on from where it was when the clock steps back."""
        at = now + self._skew
        if at < self._latest:
            behind = self._latest - at
            self._skew += behind
            at = self._latest
            self._hive.append(ev.ClockSteppedBack(at=at, by=behind))
        self._latest = at
        return at

    def _tick(self, now: Micros) -> None:
        self.breakers.tick(now)
        while self._timers and self._timers[0][0] <= now:
            _, run, index = heappop(self._timers)
            live = self.runs.get(run)
            if live is not None:
                self._timer(live, index, now)

    def _timer(self, live: Live, index: int, now: Micros) -> None:
        state = live.state
        if index < 0:
            if state.deadline is not None and state.deadline <= now:
                self._apply(live, ev.RunTimedOut(at=now), now)
        elif state.state[index] is TaskState.BACKING_OFF and state.wake_at[index] <= now:
            self._apply(live, ev.TaskWoke(at=now, task=state.graph.keys[index]), now)

    def _start_runs(self, now: Micros) -> None:
        while self._queued and self.active < self._max_runs:
            run = next(iter(self._queued))
            del self._queued[run]
            self._apply(self.runs[run], ev.RunStarted(at=now), now)

    def _start_tasks(self, now: Micros) -> None:
        self._unpicked = False
        for _ in range(STARTS_PER_TURN):
            picked = self.queue.pick()
            if picked is None:
                return
            run, index, lane = picked
            live = self.runs[run]
            if live.state.state[index] is _READY:
                self._start(live, index, now)
            else:
                self.queue.release(run, lane)
        self._unpicked = True

    def _start(self, live: Live, index: int, now: Micros) -> None:
        state = live.state
        node = state.graph.nodes[index]
        self.breakers.started(node.endpoint, now)
        intent = ev.TaskStarted(
            at=now,
            task=node.key,
            attempt=state.attempts[index] + 1,
            agent=node.agent.name,
            key=live.key(node.key),
        )
        live.intent = intent
        self._apply(live, intent, now)

    # Obeying the machine.

    def _apply(self, live: Live, event: ev.RunEvent, now: Micros) -> None:
        state = live.state
        before = state.takes_slot
        live.pending.append(event)
        self._dirty[live.run] = live
        commands = step(state, event)
        # Before obeying: that may apply further facts, which count for themselves.
        self.active += state.takes_slot - before
        for command in commands:
            self._obey(live, command, now)

    def _obey(self, live: Live, command: cmd.RunCommand, now: Micros) -> None:
        # The two that every task needs come first, told by the quicker test.
        if type(command) is cmd.OfferTask:
            self._offer(live, command.task, now)
        elif type(command) is cmd.CallAgent:
            self._call(live, command, now)
        elif isinstance(command, cmd.WakeTask):
            heappush(self._timers, (command.at, live.run, command.task))
        elif isinstance(command, cmd.StopCall):
            key = live.state.graph.keys[command.task]
            live.stopping.add((key, command.attempt))
            self._after.append(act.Stop(live.run, key, command.attempt))
        elif isinstance(command, cmd.SetDeadline):
            heappush(self._timers, (command.at, live.run, -1))
        else:
            self._close(live, now)

    def _offer(self, live: Live, index: int, now: Micros) -> None:
        graph = live.state.graph
        node = graph.nodes[index]
        if live.missing and node.agent.name in live.missing:
            detail = live.missing[node.agent.name]
            blocked = ev.TaskBlocked(at=now, task=node.key, reason="agent", detail=detail)
            self._apply(live, blocked, now)
        else:
            rank = live.rank[index]
            self.queue.offer(live.run, index, graph.lanes[index], node.priority, rank)

    def _call(self, live: Live, command: cmd.CallAgent, now: Micros) -> None:
        state = live.state
        node = state.graph.nodes[command.task]
        intent = live.intent
        assert intent is not None
        try:
            parameters = live.parameters(command.task)
        except ExpressionError as error:
            fault = Fault(kind="expression", message=error.message, retriable=False, counts=False)
            self._answered(live, command.task, now, Reply(fault=fault), 0.0)
            return
        call = Call(
            run=state.run,
            task=node.key,
            attempt=command.attempt,
            key=intent.key,
            agent=node.agent.name,
            action=node.action,
            parameters=parameters,
            dependencies=live.dependencies(command.task),
            description=node.description,
            references=node.references,
            timeout=None if node.timeout is None else node.timeout / SECOND,
        )
        perform = act.Perform(call, node.agent, node.timeout)
        eager = node.effect is _PURE and live.durable > 0
        (self._eager if eager else self._after).append(perform)

    def _close(self, live: Live, now: Micros) -> None:
        state = live.state
        self._hive.append(ev.RunClosed(at=now, run=live.run, status=state.status, events=state.seq))
        self.queue.leave(live.run)
        self.schedules.ended(live.run)
        self._queued.pop(live.run, None)
        self._unpaid.keep(state)
        self._after.append(act.RunEnded(live.run, state.status))

    # Bookkeeping.

    def _join(self, run: str, state: RunState, now: Micros) -> Live:
        live = Live(run, state)
        self.runs[run] = live
        self.queue.join(run, state.graph.spec.max_parallel)
        for lane, agent in state.graph.lane_agents.items():
            self.queue.lane(lane, agent.max_concurrency)
            self.breakers.attach(agent.where, lane, agent.circuit_breaker, now)
        return live

    def _current(self, live: Live | None, task: str, attempt: int) -> int | None:
        """The index of a task whose call of that attempt is under way; else None."""
        index = live.state.graph.index.get(task) if live is not None else None
        if live is None or index is None:
            return None
        running = live.state.state[index] is _RUNNING
        return index if running and live.state.attempts[index] == attempt else None

    def _late(self, now: Micros, run: str, task: str, attempt: int, reply: Reply) -> None:
        live = self.runs.get(run)
        if live is None or live.state.status in CLOSED:
            self._hive += self._unpaid.settle(now, run, task, attempt, reply.usage)
            return
        fact = late(live.state, now, task, attempt, reply)
        if fact is not None:
            self._apply(live, fact, now)

    def _heard(self, live: Live, index: int, fault: Fault | None, now: Micros) -> None:
        """Free the slots of a call, and let its endpoint's breaker know."""
        node = live.state.graph.nodes[index]
        if live.stopping:
            live.stopping.discard((node.key, live.state.attempts[index]))
        if fault is None:
            self._hive += self.breakers.succeeded(node.endpoint, now)
        else:
            self._hive += self.breakers.failed(node.endpoint, fault, now)
        self.queue.release(live.run, live.state.graph.lanes[index])

    def _learn(self, live: Live, index: int, now: Micros) -> None:
        ranks = live.estimates.observe(index, (now - live.state.since[index]) / SECOND)
        if ranks is not None:
            live.rank = ranks
            self.queue.rerank(live.run, ranks)

    def _hive_record(self) -> Record:
        events, self._hive = self._hive, []
        self._hive_committing = events
        first = self._hive_seq + 1
        self._hive_seq += len(events)
        return Record(
            stream=ev.HIVE,
            seq=first,
            count=len(events),
            at=events[-1].at,
            type="hive",
            payload=ev.encode(events),
            rules=RULES,
        )


_STOPPED = Fault(kind="cancelled", message="stopped", counts=False)
