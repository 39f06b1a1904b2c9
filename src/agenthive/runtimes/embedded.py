"""The embedded runtime: asyncio, one process, one journal.

Requests and ended calls are reported to the driver as they come in. A turn lets the driver decide,
writes the batch, and carries out the actions once the batch is on disk. At most one batch is being
written at a time; what comes in meanwhile goes into the next one. Nothing is decided here, and
nothing is acknowledged before its commit. Make the runtime on the event loop that it will use.

If the store takes no writes (`StoreUnavailable`: the disk is full, the file is locked), new
requests are refused and the batch is retried until it is written. If the outcome of a write is
unknown (`StoreFailed`), the runtime stops for good, and every caller gets the error: a new process
must read what is on disk.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence

from agenthive.core.engine import actions as act
from agenthive.core.engine.driver import Driver
from agenthive.core.engine.engine_state import unusable_run_error
from agenthive.core.engine.reply_validation import validate_reply
from agenthive.core.graph.graph import Graph
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Batch, RequestRow
from agenthive.core.journal.store import Store
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.calls import Reply
from agenthive.core.model.states import RunStatus
from agenthive.core.ports import Agents
from agenthive.core.values import SECOND, JSONValue, Micros
from agenthive.errors import (
    AgentHiveError,
    Conflict,
    InternalError,
    StoreFailed,
    StoreUnavailable,
    describe_defect,
)
from agenthive.infra.logging import log
from agenthive.runtimes.call_tasks import CallId, CallTasks
from agenthive.runtimes.result_cache import build_cache_lookup
from agenthive.runtimes.waiters import Waiters

MAX_REPLIES_PER_TURN = 128
"""Ended calls after which a turn is taken although more calls may end at any moment."""
MAX_SLEEP = 5.0
"""Seconds after which the clock is read again although nothing is due for longer."""
RETRY_MIN_DELAY, RETRY_MAX_DELAY = 0.05, 5.0
"""Seconds between attempts to write a batch that the store refused; doubled each time."""


class EmbeddedRuntime:
    """Carries out what the driver decides, on the running event loop.

    ``clock`` gives microseconds UTC, ``draw`` random numbers in [0, 1).
    """

    def __init__(
        self,
        driver: Driver,
        store: Store,
        agents: Agents,
        clock: Callable[[], Micros],
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.driver = driver
        #: Why the journal takes no writes now; None if it does.
        self.unavailable_error: StoreUnavailable | None = None
        #: Why the runtime has stopped for good; None if it has not.
        self.fatal_error: StoreFailed | None = None
        self._store, self._clock, self._draw = store, clock, draw
        #: Set when nothing is left to wait for while the driver drains.
        self._drained = asyncio.Event()
        #: Set at the next commit; None if no caller waits for one.
        self._commit_event: asyncio.Event | None = None
        #: Takes a turn when the driver has something to do next.
        self._wake_timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        find_cached = build_cache_lookup(store, clock)
        self._calls = CallTasks(
            self._loop, agents, self._on_call_ended, self._on_progress, find_cached
        )
        self.listeners = self._calls.listeners
        self._waiters = Waiters(self._loop)
        #: Whether the runtime is started and not stopped; whether a turn is scheduled on the loop;
        #: whether a batch is being written.
        self._running = self._turn_scheduled = self._writing = False
        #: Calls that have ended since the last turn.
        self._replies_this_turn = 0

    # For the owner of the runtime.

    def start(self) -> None:
        """Begin to take turns."""
        self._running = True
        self._schedule_turn()

    def record_clock_step(self, now: Micros, by: Micros) -> None:
        """The clock was set by ``by`` microseconds and shows ``now``: notify the driver."""
        direction = "forward" if by > 0 else "back"
        log("warning", f"the clock was set {direction}", seconds=round(abs(by) / SECOND, 3))
        self.driver.record_clock_step(now, by)
        self._schedule_turn()

    async def submit(
        self, event: ev.RunSubmitted, graph: Graph, body: bytes, row: RequestRow | None = None
    ) -> None:
        """Accept a run; it is on disk when this returns. ``row`` as for `commit_request`.

        Raises StoreUnavailable, StoreFailed.
        """
        await self.commit_request(
            lambda now, token: self.driver.submit(now, event, graph, body, token), row
        )

    async def cancel(
        self, run: str, actor: str, reason: str, row: RequestRow | None = None
    ) -> None:
        """Cancel an open run; the request is on disk when this returns. Raises RunNotFound."""
        await self.commit_request(
            lambda now, token: self.driver.cancel(now, run, actor, reason, token), row
        )

    async def commit_request(
        self, request: Callable[[Micros, int], None], row: RequestRow | None = None
    ) -> None:
        """Pass a request to the driver; it is on disk when this returns.

        ``request`` is called with the time and the token to acknowledge. ``row`` is written with
        its events, if the request has an id. Raises what ``request`` raises, Conflict if the driver
        rejects it, StoreUnavailable, StoreFailed.
        """
        self._raise_if_unavailable()
        token, future = self._waiters.add_request()
        try:
            request(self._clock(), token)
        except AgentHiveError as error:
            self._waiters.settle_request(token, error)
        except Exception as error:
            # A defect of the engine. The requests of other callers must not end with this one.
            message = f"the request failed inside agenthive: {describe_defect(error)}"
            self._waiters.settle_request(token, InternalError(message))
        else:
            if row is not None:
                self.driver.keep_request(token, row)
        self._schedule_turn()
        await future

    async def record_hive_events(
        self, events: Sequence[ev.HiveEvent], batch: Batch, row: RequestRow | None = None
    ) -> None:
        """Write events about runs that are not open here, in one transaction with ``batch``.

        They are on disk when this returns; while the journal takes no writes, it waits.
        """
        if self.fatal_error is not None:
            raise self.fatal_error
        token, future = self._waiters.add_request()
        self.driver.record_hive_events(self._clock(), events, batch, token)
        if row is not None:
            self.driver.keep_request(token, row)
        self._schedule_turn()
        await future

    async def change_schedule(
        self,
        change: ev.ScheduleChange,
        body: bytes = b"",
        graph: Graph | None = None,
        problem: str = "",
        row: RequestRow | None = None,
    ) -> None:
        """Change a schedule; the change is on disk when this returns. See `Driver.change_schedule`.

        Raises NotFound, Conflict, StoreUnavailable, StoreFailed.
        """
        driver = self.driver
        await self.commit_request(
            lambda now, token: driver.change_schedule(now, change, token, body, graph, problem), row
        )

    def start_schedules(self) -> None:
        """Start the runs of schedules from now on."""
        self.driver.schedules.active = True
        self._schedule_turn()

    def recover(self, states: Iterable[tuple[RunState, dict[str, str]]]) -> None:
        """Take over open runs: (replayed state, missing agents) as for `Driver.load_run`."""
        for state, missing_agents in states:
            self.driver.load_run(self._clock(), state, missing_agents)
        self._schedule_turn()

    def deliver_child_end(self, child: RunState) -> None:
        """Record the end of a child run in its parent: see `Driver.deliver_child_end`."""
        self.driver.deliver_child_end(self._clock(), child)
        self._schedule_turn()

    def ended(self, run: str) -> asyncio.Future[RunStatus]:
        """A future of the run's status when it closes, or of ``waiting`` when it waits for help.

        Call this before anything can end the run. The future fails with StoreFailed if the journal
        does.
        """
        future = self._waiters.watch_run(run)
        if self.fatal_error is not None:
            self._waiters.fail_all(self.fatal_error)
        return future

    @property
    def next_commit(self) -> asyncio.Event:
        """Set after the next commit. Get it before you look at what is committed."""
        if self._commit_event is None:
            self._commit_event = asyncio.Event()
        return self._commit_event

    async def drain(self) -> None:
        """Start nothing new; return when the calls in progress have ended and are recorded.

        While the journal takes no writes, it returns at once: nothing can be recorded.
        """
        self.driver.draining = True
        if self.unavailable_error is not None:
            self._drained.set()
        self._schedule_turn()
        await self._drained.wait()

    async def stop(self) -> None:
        """Stop at once: calls are cancelled, and count as lost when the home is next opened."""
        self._running = False
        if self._wake_timer is not None:
            self._wake_timer.cancel()
        await asyncio.gather(*self._calls.cancel(), return_exceptions=True)
        self.next_commit.set()
        self._waiters.fail_all(StoreFailed("the hive was closed"))

    # Turns: decide, write, act. One at a time.

    def _schedule_turn(self) -> None:
        """Take a turn once the callbacks that the loop has ready now have run."""
        if not self._turn_scheduled and not self._writing and self._running:
            self._turn_scheduled = True
            self._loop.call_soon(self._take_turn)

    def _take_turn(self) -> None:
        self._turn_scheduled = False
        if not self._running or self._writing:
            return
        self._replies_this_turn = 0
        try:
            batch = self.driver.decide(self._clock())
        except Exception as error:
            # A defect of the engine. A state that is half changed must not be used any more.
            self._fail_runtime(StoreFailed(f"the engine failed to decide: {error!r}"))
            return
        for call in self.driver.take_eager_calls():
            self._calls.start_call(call)
        if batch is None:
            # Nothing to write, yet not all was looked at: a thousand tasks may have found no money.
            self._continue_or_sleep()
        else:
            self._writing = True
            self._write_batch(batch, RETRY_MIN_DELAY)

    def _write_batch(self, batch: Batch, delay: float) -> None:
        append_task = asyncio.ensure_future(self._store.append(batch))
        append_task.add_done_callback(lambda done: self._on_batch_written(done, batch, delay))

    def _on_batch_written(
        self, append_task: asyncio.Future[None], batch: Batch, delay: float
    ) -> None:
        cancelled_error = StoreFailed("a write was cancelled; its outcome is unknown")
        error = cancelled_error if append_task.cancelled() else append_task.exception()
        if isinstance(error, StoreUnavailable):
            self._on_store_unavailable(error, batch, delay)
        elif error is not None:
            store_failure = error if isinstance(error, StoreFailed) else None
            self._fail_runtime(
                store_failure or StoreFailed(f"the store raised an unexpected error: {error!r}")
            )
        elif self._running:
            self._on_committed()

    def _on_committed(self) -> None:
        if self.unavailable_error is not None:
            log("warning", "the journal takes writes again")
            self.unavailable_error = None
        self._writing = False
        for action in self.driver.confirm_commit(self._clock()):
            self._execute_action(action)
        if self._commit_event is not None:
            self._commit_event.set()
            self._commit_event = None
        self._continue_or_sleep()

    def _continue_or_sleep(self) -> None:
        if self.driver.has_work:
            self._schedule_turn()
        else:
            self._set_wake_timer()

    def _on_store_unavailable(self, error: StoreUnavailable, batch: Batch, delay: float) -> None:
        """Nothing was written: refuse new requests, and retry what was acknowledged or started."""
        if self.unavailable_error is None:
            log("warning", "the journal takes no writes; retrying", reason=error.message)
        if self.driver.draining:
            # A call that ends now could not be recorded anyway; the next process repeats it.
            self._drained.set()
        self.unavailable_error = error
        for token in self.driver.withdraw_runs(batch):
            self._waiters.settle_request(token, error)
        next_delay = min(delay * 2, RETRY_MAX_DELAY)
        self._loop.call_later(delay, self._write_batch, batch, next_delay)

    def _set_wake_timer(self) -> None:
        """Wake up when the driver has something to do next; calls that end do so earlier."""
        if self._wake_timer is not None:
            self._wake_timer.cancel()
            self._wake_timer = None
        wake = self.driver.next_wake()
        if wake is not None:
            # The clock may step and the machine may sleep: read the clock again from time to time.
            delay = min(max(0, wake - self._clock()) / SECOND, MAX_SLEEP)
            self._wake_timer = self._loop.call_later(delay, self._schedule_turn)
        if self.driver.draining and not self._calls:
            self._drained.set()

    def _execute_action(self, action: act.Action) -> None:
        if isinstance(action, act.PerformCall):
            self._calls.start_call(action)
        elif isinstance(action, act.AcknowledgeRequest):
            self._waiters.settle_request(action.token)
        elif isinstance(action, act.RejectRequest):
            self._waiters.settle_request(action.token, Conflict(action.reason))
        elif isinstance(action, act.CancelCall):
            self._calls.end_call((action.run, action.task, action.attempt))
        elif isinstance(action, act.RunEnded):
            self._waiters.notify_run(action.run, action.status)
        elif isinstance(action, act.ReportUnusableRun):
            log("error", "a run was set apart", run=action.run, reason=action.reason)
            self._waiters.fail_run(action.run, unusable_run_error(action.run, action.reason))
        else:
            self._waiters.notify_run(action.run, RunStatus.WAITING)

    def _on_call_ended(self, key: CallId, reply: Reply | None) -> None:
        """Report a call that has ended; without a reply, it was cancelled."""
        run, task, attempt = key
        now = self._clock()
        if reply is None:
            self.driver.record_cancellation(now, run, task, attempt)
        else:
            self.driver.record_reply(now, run, task, attempt, validate_reply(reply), self._draw())
        self._replies_this_turn += 1
        if self._replies_this_turn < MAX_REPLIES_PER_TURN and self._calls:
            self._schedule_turn()
        else:
            # No other call can end soon, or the batch is large enough while others end.
            self._take_turn()

    def _on_progress(self, key: CallId, progress: JSONValue) -> None:
        progress_reply = validate_reply(Reply(result=progress))
        if progress_reply.fault is None:
            self.driver.record_progress(self._clock(), *key, progress_reply.result)
            self._schedule_turn()

    def _raise_if_unavailable(self) -> None:
        error = self.fatal_error or self.unavailable_error
        if error is not None:
            raise error

    def _fail_runtime(self, error: StoreFailed) -> None:
        log("error", "the journal failed; the runtime has stopped", reason=error.message)
        self.fatal_error = error
        self._running = False
        self._drained.set()
        self.next_commit.set()
        self._calls.cancel()
        self._waiters.fail_all(error)
