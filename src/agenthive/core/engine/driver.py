"""The one driver: decide, append, commit, then act. Sans I/O, used unchanged by every runtime.

A runtime tells it facts (`submit`, `reply`, `cancel`, ...), asks it to `decide`, writes the batch
that gives, tells it that the batch is `committed`, and carries out the actions it then gets.
It never acts before the commit (but for calls declared ``effect: none``), never lets a reply count
twice, and takes time and random numbers as arguments.

Runtime loop:  facts -> decide(now) -> store.append(batch) -> committed(now) -> actions
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from heapq import heappop, heappush

import msgspec

from agenthive.core.engine import actions as act
from agenthive.core.engine.active_run import Live
from agenthive.core.engine.admission import Spending
from agenthive.core.engine.budgets import FREE
from agenthive.core.engine.command_handlers import STOPPED
from agenthive.core.engine.human_input import MOST_REFUSALS, Verdict, answered, resolved, signalled
from agenthive.core.engine.schedules import Deed, Start, Stop
from agenthive.core.engine.step_evaluation import approved, faulted, prepared, requested
from agenthive.core.graph.graph import Graph
from agenthive.core.graph.nodes import Step
from agenthive.core.history.replay import under_new_name
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Batch, Record, Standing
from agenthive.core.machine import commands as cmd
from agenthive.core.machine.guards.flow import awaits_judgement
from agenthive.core.machine.machine import step
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.calls import Reply
from agenthive.core.model.states import RunStatus, TaskState
from agenthive.core.model.workflow import Effect
from agenthive.core.values import JSONValue, Micros
from agenthive.errors import Conflict, ExpressionError, InvalidTransition

# Looked up once: in Python 3.11 that costs more than comparing with them.
_READY, _RUNNING, _PURE = TaskState.READY, TaskState.RUNNING, Effect.NONE

_ASLEEP = frozenset({TaskState.BACKING_OFF, TaskState.BLOCKED})

STARTS_PER_TURN = 1000
"""How many intents one transaction holds at most."""


class Driver(Spending):
    """All open runs of a hive.

    See `Obeying` for what it is made with.
    """

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
        self._accept(event, graph, now, body)
        self._queued[event.run] = None
        self._box.after.append(act.Acknowledge(token, event.run))

    def cancel(self, now: Micros, run: str, actor: str, reason: str, token: int) -> None:
        """Cancel an open run. Raises RunNotFound if it is not open here."""
        live, now = self._open(run), self._clock(now)
        self._cancel(live, now, actor, reason)
        self._box.after.append(act.Acknowledge(token))

    def answer(self, now: Micros, run: str, task: str, verdict: Verdict, token: int) -> None:
        """Somebody approves or rejects; what does not count is recorded, and refused.

        Raises RunNotFound if the run is not open here, NotFound if it has no such task.
        """
        live, now = self._open(run), self._clock(now)
        if self._answer_about_money(live, task, verdict, now, token):
            return
        fact, refusal = answered(live.state, task, verdict, now)
        if not refusal or live.state.refusals < MOST_REFUSALS:
            self._apply(live, fact, now)
        kept = act.Acknowledge(token, about=run)
        done = act.Refuse(token, refusal, run) if refusal else kept
        self._box.after.append(done)

    def answer_after_end(
        self, now: Micros, run: str, task: str, verdict: Verdict, token: int
    ) -> None:
        """As `answer`, about a run that has ended: recorded in the hive's stream, and refused."""
        now = self._clock(now)
        said = ev.AnswerAfterEnd(
            at=now, run=run, task=task, actor=verdict.actor, approved=verdict.approved
        )
        self._box.hive.append(said)
        self._box.after.append(act.Refuse(token, f"run {run} has ended already"))

    def signal(
        self, now: Micros, run: str, name: str, data: JSONValue, signal: str, actor: str, token: int
    ) -> None:
        """A signal for a run; one whose id (``signal``) has come already changes nothing.

        Raises RunNotFound, NotFound if no task waits for it, Conflict if it is not to be kept.
        """
        live, now = self._open(run), self._clock(now)
        fact = signalled(live.state, name, data, signal, actor, now)
        if fact is not None:
            self._apply(live, fact, now)
        self._box.after.append(act.Acknowledge(token, about=run))

    def resolve(
        self, now: Micros, run: str, task: str, outcome: str, result: JSONValue, actor: str,
        reason: str, token: int,
    ) -> None:  # fmt: skip
        """Somebody found out what came of a call. Raises RunNotFound, NotFound, Conflict."""
        live, now = self._open(run), self._clock(now)
        self._apply(live, resolved(live.state, task, outcome, result, actor, reason, now), now)
        self._box.after.append(act.Acknowledge(token))

    def migrate(
        self, now: Micros, event: ev.RunMigrated, state: RunState, missing: dict[str, str],
        body: bytes, token: int,
    ) -> None:  # fmt: skip
        """An open run goes on under another definition (``body``).

        ``state`` is what its facts on disk lead to there, and ``missing`` as for `load`. Raises
        RunNotFound, Conflict if calls are under way or the run has moved on since.
        """
        live, now = self._open(state.run), self._clock(now)
        if live.state.counts[TaskState.RUNNING]:
            raise Conflict(
                f"run {live.run} has calls under way", hint="Try again when they have ended."
            )
        try:
            if live.written != state.seq:
                raise InvalidTransition("the journal is further on")
            for fact in live.pending:
                step(state, under_new_name(fact, event.renamed))
        except InvalidTransition as error:
            message = f"run {live.run} has moved on meanwhile: {error.message}"
            raise Conflict(message, hint="Try again.") from error
        self.queue.leave(live.run)
        self.active -= live.state.takes_slot
        fresh = self._join(live.run, state, now)
        fresh.pending, fresh.written, fresh.durable = live.pending, live.written, live.durable
        fresh.told, fresh.missing = live.told, missing
        self.active += state.takes_slot
        self._box.next.definitions.append((event.definition, body))
        self._box.next.uses.append((live.run, event.definition))
        self._apply(fresh, msgspec.structs.replace(event, at=now), now)
        self._reopen_all(fresh, now)
        self._box.after.append(act.Acknowledge(token))

    def progressed(
        self, now: Micros, run: str, task: str, attempt: int, progress: JSONValue
    ) -> None:
        """A long call says how far it is, for the attempt that may come after it."""
        live = self.runs.get(run)
        if live is not None and self._current(live, task, attempt) is not None:
            now = self._clock(now)
            fact = ev.TaskProgressed(at=now, task=task, attempt=attempt, progress=progress)
            self._apply(live, fact, now)

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
        change = msgspec.structs.replace(change, at=at, since=now)
        deeds = self.schedules.change(change, at)
        if isinstance(change, ev.ScheduleSet):
            self._box.next.definitions.append((change.definition, body))
            self._box.next.uses.append((ev.HIVE, change.definition))
            self.schedules.known[change.schedule].equip(graph, problem)
        self._do(deeds, at)
        triggered = change.run if isinstance(change, ev.ScheduleTriggered) else ""
        self._box.after.append(act.Acknowledge(token, triggered))

    def _do(self, deeds: Iterable[Deed], now: Micros) -> None:
        for deed in deeds:
            if isinstance(deed, Start):
                self._accept(deed.event, deed.graph, now)
                self._queued[deed.event.run] = None
            elif not isinstance(deed, Stop):
                self._box.hive.append(deed)
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

    def stopped(
        self, now: Micros, run: str, task: str, attempt: int, *, unmade: bool = False
    ) -> None:
        """A call was cancelled before it answered; ``unmade``: before it was made."""
        live = self.runs.get(run)
        index = self._current(live, task, attempt)
        if live is None or index is None:
            return
        now = self._clock(now)
        self._heard(live, index, STOPPED, now)
        hold = live.state.holds.get((index, attempt))
        if hold is not None:
            cost = 0 if unmade and not hold.inherited else None
            self._pay(live, index, attempt, cost, now, pending=True)
        fact = ev.TaskCancelled(at=now, task=task, attempt=attempt, unmade=unmade)
        self._apply(live, fact, now)

    def tend(self, now: Micros, facts: Sequence[ev.HiveEvent], work: Batch, token: int) -> None:
        """Write facts about runs that are not open here, and the work they tell of, at once."""
        now = self._clock(now)
        self._box.hive += [msgspec.structs.replace(fact, at=now) for fact in facts]
        self._box.next.take(work)
        self._box.after.append(act.Acknowledge(token))

    # Recovery.

    def load_hive(self, records: Sequence[Record]) -> None:
        """Take in the hive's own stream, oldest first, before any run."""
        for record in records:
            self._box.hive_seq = record.seq + record.count - 1
            self._latest = max(self._latest, record.at)
            for event in ev.decode_hive(record.payload):
                self.breakers.remember(event)
                self.schedules.remember(event)

    def load_accounts(self, standings: Sequence[Standing], marks: dict[str, str]) -> None:
        """Take in how the accounts and the rate limits stand, before any run."""
        self.money.remember(standings)
        self.limits.remember(marks)

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
        for index, attempt in state.holds:
            self.money.worry(live, index, attempt)
        self._apply(live, ev.RunResumed(at=now, away=now - state.last_at), now)
        self._reopen_all(live, now)

    def _reopen_all(self, live: Live, now: Micros) -> None:
        for index, kind in enumerate(list(live.state.state)):
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
        elif kind is TaskState.PREPARING or awaits_judgement(state, index):
            self._unprepared.append((live, index))
        elif index in state.lacks and not self.money.block(live, index, now):
            self._apply(live, ev.TaskUnblocked(at=now, task=key), now)
        elif kind is TaskState.BLOCKED and state.blocked[index][0] == "agent":
            if live.agent(index).name not in live.missing:
                self._apply(live, ev.TaskUnblocked(at=now, task=key), now)
        elif index in state.wake_at:
            heappush(self._timers, (state.wake_at[index], state.run, index))

    # Deciding.

    def decide(self, now: Micros) -> Batch | None:
        """Let time pass, start what may start, and give what must be written; None if nothing.

        Until `committed` is called for a batch, `decide` must not be called again.
        """
        wall, now = now, self._clock(now)
        self._tick(now)
        self._pass_on_all(now)
        self._prepare_all(now)
        if not self.draining:
            self._do(self.schedules.due(wall, now), now)
            self._start_runs(now)
            self._start_tasks(now)
        self._prepare_all(now)
        return None if self._box.empty else self._batch()

    def _batch(self) -> Batch:
        batch = self._box.batch()
        entries, standings = self.money.ledger.entries()
        batch.entries += entries
        batch.standings += standings
        batch.marks += self.limits.marks()
        return batch

    def eager(self) -> list[act.Perform]:
        """Calls that change nothing outside and need not wait for the commit of their intent."""
        calls, self._eager = self._eager, []
        return calls

    def committed(self, now: Micros) -> list[act.Action]:
        """The batch is on disk: what to carry out, in order."""
        lives, actions = self._box.committed()
        for live in lives:
            if live.parked:
                actions.append(act.RunParked(live.run))
            # Not before this: who finds no run here reads in the journal how it ended.
            if live.over and self.runs.get(live.run) is live:
                del self.runs[live.run]
        return [action for action in actions if not self._overtaken(action, now)]

    def withdraw(self, batch: Batch) -> list[int]:
        """The store takes nothing now: drop what nobody has been promised yet.

        Takes the runs that this batch would have accepted out of it and forgets them, and those
        that the next one would; gives the tokens of those who wait for that. What is left must
        still be written.
        """
        tokens, gone = self._box.withdraw(batch, self._with_children)
        for run in gone:
            self._forget(run)
        return tokens

    def _with_children(self, runs: Collection[str]) -> Collection[str]:
        found = dict.fromkeys(runs)
        for run, live in self.runs.items():
            parent = live.state.parent
            if parent is not None and parent.run in found:
                found[run] = None
        return found

    def _forget(self, run: str) -> None:
        live = self.runs.pop(run)
        for index, kind in enumerate(live.state.state):
            if kind is TaskState.RUNNING:
                self._heard(live, index, STOPPED, self._latest)
        self.money.forget(live)
        self.queue.leave(run)
        self.schedules.ended(run)
        self._queued.pop(run, None)
        self.active -= live.state.takes_slot
        self._unpicked = True  # its slots are free, and this turn has looked for some already

    def next_wake(self) -> Micros | None:
        """When `decide` has something to do though nothing is reported (hive time)."""
        wakes = (self.breakers.next_wake(), self.limits.next_wake(), self.money.next_wake())
        times = [at for at in wakes if at is not None]
        if self._timers:
            times.append(self._timers[0][0])
        wake = min(times) - self._skew if times else None
        due = None if self.draining else self.schedules.next_wake()
        return due if wake is None or (due is not None and due < wake) else wake

    @property
    def has_more(self) -> bool:
        """Whether `decide` has something to do now."""
        if not self._box.empty or self._unprepared or self.money.has_roused:
            return True
        # What was offered, or a slot that came free, after this turn had looked for it.
        free = bool(self._queued) and self.active < self._max_runs
        return (self._unpicked or free) and not self.draining

    def _overtaken(self, action: act.Action, now: Micros) -> bool:
        """A call that was stopped before it was made is not made at all."""
        if not isinstance(action, act.Perform):
            return False
        call = action.call
        live = self.runs.get(call.run)
        if live is None or not live.stopping or (call.task, call.attempt) not in live.stopping:
            return False
        self.stopped(now, call.run, call.task, call.attempt, unmade=True)
        return True

    def _tick(self, now: Micros) -> None:
        self.breakers.tick(now)
        self.limits.tick(now)
        self._book_overdue(now)
        self._spend_again(now)
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
        elif state.wake_at.get(index, now + 1) <= now and state.state[index] in _ASLEEP:
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
        if node.around is not None and not self._may(live, index, now):
            self.queue.release(live.run, state.graph.lanes[index])
            return
        key, attempt = state.graph.keys[index], state.attempts[index] + 1
        intent = ev.TaskStarted(
            at=now, task=key, attempt=attempt, agent=node.agent.name, key=live.key(key)
        )
        call = self._looked_at(live, index, intent)
        granted = FREE if call is None else self._afford(live, index, call, intent)
        if granted is None:
            self.queue.release(live.run, state.graph.lanes[index])
            return
        if node.endpoint in self.limits.gates and not self._admitted(live, index, call, intent):
            return
        if granted is not FREE or state.holds:
            over = self.money.hold(live, index, attempt, granted)
            intent = msgspec.structs.replace(
                intent, hold=granted.amount, over=over, max_tokens=granted.max_tokens
            )
        if call is not None and granted.max_tokens is not None:
            call = msgspec.structs.replace(call, max_tokens=granted.max_tokens)
        live.call = call
        self.breakers.started(node.endpoint, now)
        live.intent = intent
        self._apply(live, intent, now)

    def _may(self, live: Live, index: int, now: Micros) -> bool:
        """Whether what is to be done is what was approved; if not, people are asked again."""
        try:
            if approved(live.state, index):
                return True
            fact: ev.RunEvent = requested(live.state, index, now)
        except ExpressionError as error:
            fact = faulted(now, live.state.graph.keys[index], "expression", error.message)
        self._apply(live, fact, now)
        return False

    def _prepare_all(self, now: Micros) -> None:
        """Evaluate what the next steps of tasks need, until none is left."""
        while self._unprepared:
            live, index = self._unprepared.popleft()
            state = live.state
            if self.runs.get(live.run) is not live:
                continue  # withdrawn meanwhile
            if state.state[index] is TaskState.EXPANDED:
                self._apply(live, prepared(state, index, now), now)
            elif state.state[index] is not TaskState.PREPARING:
                continue
            elif state.step_of(index) is not Step.CHILD:
                self._apply(live, prepared(state, index, now), now)
            elif self._may(live, index, now):
                self._begin_child(live, index, now)
