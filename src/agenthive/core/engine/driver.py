"""The one driver: decide, append, commit, then act. Sans I/O, used unchanged by every runtime.

A runtime tells it facts (`submit`, `record_reply`, `cancel`, ...), asks it to `decide`, writes the
batch that gives, tells it that the batch is `confirm_commit`, and carries out the actions it then
gets. It never acts before the commit (but for calls declared ``effect: none``), never lets a reply
count twice, and takes time and random numbers as arguments.

Runtime loop:  facts -> decide(now) -> store.append(batch) -> committed(now) -> actions
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from heapq import heappop, heappush

import msgspec

from agenthive.core.engine import actions as act
from agenthive.core.engine.active_run import ActiveRun
from agenthive.core.engine.admission import Admission
from agenthive.core.engine.budgets import FREE_GRANT
from agenthive.core.engine.command_handlers import STOPPED_FAULT
from agenthive.core.engine.human_input import (
    MAX_REFUSALS,
    ApprovalDecision,
    approval_event,
    signal_received_event,
    task_resolved_event,
)
from agenthive.core.engine.schedules import CancelRun, ScheduleAction, StartRun
from agenthive.core.engine.step_evaluation import (
    approval_requested_event,
    evaluate_step,
    is_approved,
    task_faulted_event,
)
from agenthive.core.graph.graph import Graph
from agenthive.core.graph.nodes import Step
from agenthive.core.history.replay import rename_event
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import AccountState, Batch, Record
from agenthive.core.machine import commands as cmd
from agenthive.core.machine.guards.flow import awaits_loop_condition
from agenthive.core.machine.machine import step
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.calls import Reply
from agenthive.core.model.states import RunStatus, TaskState
from agenthive.core.model.workflow import Effect
from agenthive.core.values import JSONValue, Micros
from agenthive.errors import Conflict, ExpressionError, InvalidTransition

# Looked up once: in Python 3.11 that costs more than comparing with them.
_READY, _RUNNING, _PURE = TaskState.READY, TaskState.RUNNING, Effect.NONE

_SLEEPING_STATES = frozenset({TaskState.BACKING_OFF, TaskState.BLOCKED})

MAX_STARTS_PER_TURN = 1000
"""How many intents one transaction holds at most."""


class Driver(Admission):
    """All open runs of a hive.

    See `CommandHandlers` for what it is made with.
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
        now = self._advance_clock(now)
        self._accept_run(event, graph, now, body)
        self._queued_runs[event.run] = None
        self._outbox.actions.append(act.AcknowledgeRequest(token, event.run))

    def cancel(self, now: Micros, run: str, actor: str, reason: str, token: int) -> None:
        """Cancel an open run. Raises RunNotFound if it is not open here."""
        active_run, now = self._get_open_run(run), self._advance_clock(now)
        self._cancel_run(active_run, now, actor, reason)
        self._outbox.actions.append(act.AcknowledgeRequest(token))

    def answer(
        self, now: Micros, run_id: str, task: str, decision: ApprovalDecision, token: int
    ) -> None:
        """Somebody approves or rejects; what does not count is recorded, and refused.

        Raises RunNotFound if the run is not open here, NotFound if it has no such task.
        """
        active_run, now = self._get_open_run(run_id), self._advance_clock(now)
        if self._answer_budget_request(active_run, task, decision, now, token):
            return
        event, refusal = approval_event(active_run.state, task, decision, now)
        if not refusal or active_run.state.refusals < MAX_REFUSALS:
            self._apply_event(active_run, event, now)
        acknowledgement = act.AcknowledgeRequest(token, about=run_id)
        response = act.RejectRequest(token, refusal, run_id) if refusal else acknowledgement
        self._outbox.actions.append(response)

    def record_answer_after_end(
        self, now: Micros, run_id: str, task: str, decision: ApprovalDecision, token: int
    ) -> None:
        """As `answer`, about a run that has ended: recorded in the hive's stream, and refused."""
        now = self._advance_clock(now)
        event = ev.AnswerAfterEnd(
            at=now, run=run_id, task=task, actor=decision.actor, approved=decision.approved
        )
        self._outbox.hive_events.append(event)
        self._outbox.actions.append(act.RejectRequest(token, f"run {run_id} has ended already"))

    def signal_run(
        self,
        now: Micros,
        run_id: str,
        name: str,
        data: JSONValue,
        signal_id: str,
        actor: str,
        token: int,
    ) -> None:
        """A signal for a run; one whose id (``signal``) has come already changes nothing.

        Raises RunNotFound, NotFound if no task waits for it, Conflict if it is not to be kept.
        """
        active_run, now = self._get_open_run(run_id), self._advance_clock(now)
        event = signal_received_event(active_run.state, name, data, signal_id, actor, now)
        if event is not None:
            self._apply_event(active_run, event, now)
        self._outbox.actions.append(act.AcknowledgeRequest(token, about=run_id))

    def resolve_outcome(
        self,
        now: Micros,
        run_id: str,
        task: str,
        outcome: str,
        result: JSONValue,
        actor: str,
        reason: str,
        token: int,
    ) -> None:
        """Somebody found out what came of a call. Raises RunNotFound, NotFound, Conflict."""
        active_run, now = self._get_open_run(run_id), self._advance_clock(now)
        self._apply_event(
            active_run,
            task_resolved_event(active_run.state, task, outcome, result, actor, reason, now),
            now,
        )
        self._outbox.actions.append(act.AcknowledgeRequest(token))

    def migrate_run(
        self,
        now: Micros,
        event: ev.RunMigrated,
        state: RunState,
        missing_agents: dict[str, str],
        body: bytes,
        token: int,
    ) -> None:
        """An open run goes on under another definition (``body``).

        ``state`` is what its facts on disk lead to there, and ``missing_agents`` as for `load_run`.
        Raises RunNotFound, Conflict if calls are under way or the run has moved on since.
        """
        run, now = self._get_open_run(state.run), self._advance_clock(now)
        if run.state.counts[TaskState.RUNNING]:
            raise Conflict(
                f"run {run.id} has calls under way", hint="Try again when they have ended."
            )
        try:
            if run.written_seq != state.seq:
                raise InvalidTransition("the journal is further on")
            for pending_event in run.pending_events:
                step(state, rename_event(pending_event, event.renamed))
        except InvalidTransition as error:
            message = f"run {run.id} has moved on meanwhile: {error.message}"
            raise Conflict(message, hint="Try again.") from error
        self.queue.remove_run(run.id)
        self.used_run_slots -= run.state.takes_slot
        migrated_run = self._register_run(run.id, state, now)
        migrated_run.pending_events, migrated_run.written_seq, migrated_run.durable_seq = (
            run.pending_events,
            run.written_seq,
            run.durable_seq,
        )
        migrated_run.reported_wait_state, migrated_run.missing_agents = (
            run.reported_wait_state,
            missing_agents,
        )
        self.used_run_slots += state.takes_slot
        self._outbox.next_batch.definitions.append((event.definition, body))
        self._outbox.next_batch.uses.append((run.id, event.definition))
        self._apply_event(migrated_run, msgspec.structs.replace(event, at=now), now)
        self._reopen_tasks(migrated_run, now)
        self._outbox.actions.append(act.AcknowledgeRequest(token))

    def record_progress(
        self, now: Micros, run_id: str, task: str, attempt: int, progress: JSONValue
    ) -> None:
        """A long call says how far it is, for the attempt that may come after it."""
        active_run = self.runs.get(run_id)
        if (
            active_run is not None
            and self._find_current_task(active_run, task, attempt) is not None
        ):
            now = self._advance_clock(now)
            event = ev.TaskProgressed(at=now, task=task, attempt=attempt, progress=progress)
            self._apply_event(active_run, event, now)

    def change_schedule(
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
        hive_time = self._advance_clock(now)
        change = msgspec.structs.replace(change, at=hive_time, since=now)
        actions = self.schedules.apply_change(change, hive_time)
        if isinstance(change, ev.ScheduleSet):
            self._outbox.next_batch.definitions.append((change.definition, body))
            self._outbox.next_batch.uses.append((ev.HIVE, change.definition))
            self.schedules.by_name[change.schedule].attach_graph(graph, problem)
        self._execute_schedule_actions(actions, hive_time)
        triggered_run = change.run if isinstance(change, ev.ScheduleTriggered) else ""
        self._outbox.actions.append(act.AcknowledgeRequest(token, triggered_run))

    def _execute_schedule_actions(self, actions: Iterable[ScheduleAction], now: Micros) -> None:
        for action in actions:
            if isinstance(action, StartRun):
                self._accept_run(action.event, action.graph, now)
                self._queued_runs[action.event.run] = None
            elif not isinstance(action, CancelRun):
                self._outbox.hive_events.append(action)
            elif action.run in self.runs:
                self._cancel_run(
                    self.runs[action.run], now, f"schedule {action.schedule}", "overtaken"
                )

    def record_reply(
        self, now: Micros, run_id: str, task: str, attempt: int, reply: Reply, draw: float
    ) -> None:
        """A call answered. ``draw`` in [0, 1) serves the retry's jitter."""
        active_run = self.runs.get(run_id)
        index = self._find_current_task(active_run, task, attempt)
        now = self._advance_clock(now)
        if active_run is None or index is None:
            self._record_late_reply(now, run_id, task, attempt, reply)
        else:
            self._complete_call(active_run, index, now, reply, draw)

    def record_cancellation(
        self, now: Micros, run_id: str, task: str, attempt: int, *, unmade: bool = False
    ) -> None:
        """A call was cancelled before it answered; ``unmade``: before it was made."""
        active_run = self.runs.get(run_id)
        index = self._find_current_task(active_run, task, attempt)
        if active_run is None or index is None:
            return
        now = self._advance_clock(now)
        self._release_call(active_run, index, STOPPED_FAULT, now)
        hold = active_run.state.holds.get((index, attempt))
        if hold is not None:
            cost = 0 if unmade and not hold.inherited else None
            self._book_cost(active_run, index, attempt, cost, now, under_way=True)
        event = ev.TaskCancelled(at=now, task=task, attempt=attempt, unmade=unmade)
        self._apply_event(active_run, event, now)

    def record_hive_events(
        self, now: Micros, events: Sequence[ev.HiveEvent], batch: Batch, token: int
    ) -> None:
        """Write facts about runs that are not open here, and the work they tell of, at once."""
        now = self._advance_clock(now)
        self._outbox.hive_events += [msgspec.structs.replace(event, at=now) for event in events]
        self._outbox.next_batch.merge(batch)
        self._outbox.actions.append(act.AcknowledgeRequest(token))

    # Recovery.

    def load_hive(self, records: Sequence[Record]) -> None:
        """Take in the hive's own stream, oldest first, before any run."""
        for record in records:
            self._outbox.hive_seq = record.seq + record.count - 1
            self._latest_time = max(self._latest_time, record.at)
            for event in ev.decode_hive_events(record.payload):
                self.breakers.restore_breaker(event)
                self.schedules.apply_event(event)

    def load_accounts(self, standings: Sequence[AccountState], marks: dict[str, str]) -> None:
        """Take in how the accounts and the rate limits stand, before any run."""
        self.budgets.restore_accounts(standings)
        self.rate_limits.restore_marks(marks)

    def load_run(self, now: Micros, state: RunState, missing_agents: dict[str, str]) -> None:
        """Take over an open run from its replayed state.

        ``missing_agents`` maps names of agents nobody has to what to do about it. Calls that were
        under way become lost ones, which are made again under their keys or end as unknown outcome.
        """
        self._latest_time = max(self._latest_time, state.last_at)
        now = self._advance_clock(now)
        run = self._register_run(state.run, state, now)
        run.missing_agents = missing_agents
        run.written_seq = run.durable_seq = state.seq
        if state.status is RunStatus.QUEUED:
            self._queued_runs[state.run] = None
            return
        self.used_run_slots += state.takes_slot
        for index, attempt in state.holds:
            self.budgets.schedule_expiry(run, index, attempt)
        self._apply_event(run, ev.RunResumed(at=now, away=now - state.last_at), now)
        self._reopen_tasks(run, now)

    def _reopen_tasks(self, run: ActiveRun, now: Micros) -> None:
        for index, task_state in enumerate(list(run.state.state)):
            self._reopen_task(run, index, task_state, now)

    def _reopen_task(self, run: ActiveRun, index: int, task_state: TaskState, now: Micros) -> None:
        """Bring back what a task's state needs outside the machine. Skips what moved meanwhile."""
        state = run.state
        key = state.graph.keys[index]
        if state.state[index] is not task_state:
            return
        if task_state is TaskState.RUNNING:
            self._apply_event(
                run, ev.TaskLost(at=now, task=key, attempt=state.attempts[index]), now
            )
        elif task_state is TaskState.READY:
            self._execute_command(run, cmd.OfferTask(state.seq, index), now)
        elif task_state is TaskState.PREPARING or awaits_loop_condition(state, index):
            self._unprepared_tasks.append((run, index))
        elif index in state.lacks and not self.budgets.block_task(run, index, now):
            self._apply_event(run, ev.TaskUnblocked(at=now, task=key), now)
        elif task_state is TaskState.BLOCKED and state.blocked[index][0] == "agent":
            if run.agent_of(index).name not in run.missing_agents:
                self._apply_event(run, ev.TaskUnblocked(at=now, task=key), now)
        elif index in state.wake_at:
            heappush(self._timers, (state.wake_at[index], state.run, index))

    # Deciding.

    def decide(self, now: Micros) -> Batch | None:
        """Let time pass, start what may start, and give what must be written; None if nothing.

        Until `confirm_commit` is called for a batch, `decide` must not be called again.
        """
        wall, now = now, self._advance_clock(now)
        self._process_due(now)
        self._reroute_waiting_turns(now)
        self._prepare_tasks(now)
        if not self.draining:
            self._execute_schedule_actions(self.schedules.due_actions(wall, now), now)
            self._start_runs(now)
            self._start_tasks(now)
        self._prepare_tasks(now)
        return None if self._outbox.is_empty else self._build_batch()

    def _build_batch(self) -> Batch:
        batch = self._outbox.build_batch()
        entries, standings = self.budgets.ledger.take_changes()
        batch.entries += entries
        batch.standings += standings
        batch.marks += self.rate_limits.take_marks()
        return batch

    def take_eager_calls(self) -> list[act.PerformCall]:
        """Calls that change nothing outside and need not wait for the commit of their intent."""
        calls, self._eager_calls = self._eager_calls, []
        return calls

    def confirm_commit(self, now: Micros) -> list[act.Action]:
        """The batch is on disk: what to carry out, in order."""
        runs, actions = self._outbox.confirm_commit()
        for run in runs:
            if run.is_parked:
                actions.append(act.RunParked(run.id))
            # Not before this: who finds no run here reads in the journal how it ended.
            if run.has_ended and self.runs.get(run.id) is run:
                del self.runs[run.id]
        return [action for action in actions if not self._drop_if_cancelled(action, now)]

    def withdraw_runs(self, batch: Batch) -> list[int]:
        """The store takes nothing now: drop what nobody has been promised yet.

        Takes the runs that this batch would have accepted out of it and forgets them, and those
        that the next one would; gives the tokens of those who wait for that. What is left must
        still be written.
        """
        tokens, withdrawn = self._outbox.withdraw_runs(batch, self._include_children)
        for run_id in withdrawn:
            self._forget_run(run_id)
        return tokens

    def _include_children(self, run_ids: Collection[str]) -> Collection[str]:
        family = dict.fromkeys(run_ids)
        for run_id, active_run in self.runs.items():
            parent = active_run.state.parent
            if parent is not None and parent.run in family:
                family[run_id] = None
        return family

    def _forget_run(self, run_id: str) -> None:
        active_run = self.runs.pop(run_id)
        for index, task_state in enumerate(active_run.state.state):
            if task_state is TaskState.RUNNING:
                self._release_call(active_run, index, STOPPED_FAULT, self._latest_time)
        self.budgets.forget_run(active_run)
        self.queue.remove_run(run_id)
        self.schedules.remove_run(run_id)
        self._queued_runs.pop(run_id, None)
        self.used_run_slots -= active_run.state.takes_slot
        self._has_unpicked = True  # its slots are free, and this turn has looked for some already

    def next_wake(self) -> Micros | None:
        """When `decide` has something to do though nothing is reported (hive time)."""
        wakes = (self.breakers.next_wake(), self.rate_limits.next_wake(), self.budgets.next_wake())
        times = [at for at in wakes if at is not None]
        if self._timers:
            times.append(self._timers[0][0])
        wake = min(times) - self._clock_skew if times else None
        schedule_wake = None if self.draining else self.schedules.next_wake()
        return (
            schedule_wake
            if wake is None or (schedule_wake is not None and schedule_wake < wake)
            else wake
        )

    @property
    def has_work(self) -> bool:
        """Whether `decide` has something to do now."""
        if not self._outbox.is_empty or self._unprepared_tasks or self.budgets.has_woken_waiters:
            return True
        # What was offered, or a slot that came free, after this turn had looked for it.
        run_can_start = bool(self._queued_runs) and self.used_run_slots < self._max_runs
        return (self._has_unpicked or run_can_start) and not self.draining

    def _drop_if_cancelled(self, action: act.Action, now: Micros) -> bool:
        """A call that was stopped before it was made is not made at all."""
        if not isinstance(action, act.PerformCall):
            return False
        call = action.call
        run = self.runs.get(call.run)
        if (
            run is None
            or not run.cancelling_calls
            or (call.task, call.attempt) not in run.cancelling_calls
        ):
            return False
        self.record_cancellation(now, call.run, call.task, call.attempt, unmade=True)
        return True

    def _process_due(self, now: Micros) -> None:
        self.breakers.tick(now)
        self.rate_limits.tick(now)
        self._settle_overdue_holds(now)
        self._wake_budget_waiters(now)
        while self._timers and self._timers[0][0] <= now:
            _, run_id, index = heappop(self._timers)
            active_run = self.runs.get(run_id)
            if active_run is not None:
                self._fire_timer(active_run, index, now)

    def _fire_timer(self, run: ActiveRun, index: int, now: Micros) -> None:
        state = run.state
        if index < 0:
            if state.deadline is not None and state.deadline <= now:
                self._apply_event(run, ev.RunTimeoutReached(at=now), now)
        elif state.wake_at.get(index, now + 1) <= now and state.state[index] in _SLEEPING_STATES:
            self._apply_event(run, ev.TaskWoke(at=now, task=state.graph.keys[index]), now)

    def _start_runs(self, now: Micros) -> None:
        while self._queued_runs and self.used_run_slots < self._max_runs:
            run_id = next(iter(self._queued_runs))
            del self._queued_runs[run_id]
            self._apply_event(self.runs[run_id], ev.RunStarted(at=now), now)

    def _start_tasks(self, now: Micros) -> None:
        self._has_unpicked = False
        for _ in range(MAX_STARTS_PER_TURN):
            next_task = self.queue.pick_task()
            if next_task is None:
                return
            run_id, index, lane = next_task
            active_run = self.runs[run_id]
            if active_run.state.state[index] is _READY:
                self._start_task(active_run, index, now)
            else:
                self.queue.release_slots(run_id, lane)
        self._has_unpicked = True

    def _start_task(self, run: ActiveRun, index: int, now: Micros) -> None:
        state = run.state
        node = state.graph.nodes[index]
        if node.control_flow is not None and not self._check_approval(run, index, now):
            self.queue.release_slots(run.id, state.graph.lanes[index])
            return
        key, attempt = state.graph.keys[index], state.attempts[index] + 1
        intent = ev.TaskStarted(
            at=now, task=key, attempt=attempt, agent=node.agent.name, key=run.key_for(key)
        )
        call = self._preview_call(run, index, intent)
        grant = FREE_GRANT if call is None else self._check_budget(run, index, call, intent)
        if grant is None:
            self.queue.release_slots(run.id, state.graph.lanes[index])
            return
        if node.endpoint in self.rate_limits.gates and not self._acquire_rate_limit(
            run, index, call, intent
        ):
            return
        if grant is not FREE_GRANT or state.holds:
            superseded = self.budgets.reserve_hold(run, index, attempt, grant)
            intent = msgspec.structs.replace(
                intent, hold=grant.amount, over=superseded, max_tokens=grant.max_tokens
            )
        if call is not None and grant.max_tokens is not None:
            call = msgspec.structs.replace(call, max_tokens=grant.max_tokens)
        run.prepared_call = call
        self.breakers.record_start(node.endpoint, now)
        run.intent = intent
        self._apply_event(run, intent, now)

    def _check_approval(self, run: ActiveRun, index: int, now: Micros) -> bool:
        """Whether what is to be done is what was approved; if not, people are asked again."""
        try:
            if is_approved(run.state, index):
                return True
            event: ev.RunEvent = approval_requested_event(run.state, index, now)
        except ExpressionError as error:
            event = task_faulted_event(
                now, run.state.graph.keys[index], "expression", error.message
            )
        self._apply_event(run, event, now)
        return False

    def _prepare_tasks(self, now: Micros) -> None:
        """Evaluate what the next steps of tasks need, until none is left."""
        while self._unprepared_tasks:
            run, index = self._unprepared_tasks.popleft()
            state = run.state
            if self.runs.get(run.id) is not run:
                continue  # withdrawn meanwhile
            if state.state[index] is TaskState.EXPANDED:
                self._apply_event(run, evaluate_step(state, index, now), now)
            elif state.state[index] is not TaskState.PREPARING:
                continue
            elif state.current_step(index) is not Step.CHILD:
                self._apply_event(run, evaluate_step(state, index, now), now)
            elif self._check_approval(run, index, now):
                self._start_child(run, index, now)
