"""The embedded runtime: asyncio, one process, one journal.

Facts come in as method calls and finished agent calls; a turn makes them a batch, and once that is
committed what follows is carried out. At most one batch is being written at a time; what comes in
meanwhile goes into the next. Nothing here decides; nothing is acknowledged before its commit.
Make one on the event loop that it will use.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence

from agenthive.core.engine import actions as act
from agenthive.core.engine.driver import Driver
from agenthive.core.engine.reply_validation import vetted
from agenthive.core.graph.graph import Graph
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Batch
from agenthive.core.journal.store import Store
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.calls import Reply
from agenthive.core.model.states import RunStatus
from agenthive.core.ports import Agents
from agenthive.core.values import SECOND, JSONValue, Micros
from agenthive.errors import AgentHiveError, Conflict, StoreFailed, StoreUnavailable
from agenthive.infra.logging import log
from agenthive.runtimes.call_tasks import CallId, Calls
from agenthive.runtimes.result_cache import used_again
from agenthive.runtimes.waiters import Waiters

EARLY = 128
"""Calls that have ended, after which a turn is taken though more of them are under way."""
LONGEST_NAP = 60.0
"""Seconds after which the clock is looked at again, though nothing is due for longer."""
RETRY_FIRST, RETRY_MOST = 0.05, 5.0
"""Seconds between attempts to write a batch that the store refused."""


class EmbeddedRuntime:
    """Obeys the driver on the running event loop. ``clock`` gives microseconds UTC."""

    def __init__(
        self,
        driver: Driver,
        store: Store,
        agents: Agents,
        clock: Callable[[], Micros],
        dice: Callable[[], float] = random.random,
    ) -> None:
        self.driver = driver
        self.refusing: StoreUnavailable | None = None
        self.failed: StoreFailed | None = None
        self._store, self._clock, self._dice = store, clock, dice
        self._drained = asyncio.Event()
        self._pulse: asyncio.Event | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        again = used_again(store, clock)
        self._calls = Calls(self._loop, agents, self._answered, self._progressed, again)
        self.listeners = self._calls.listeners
        self._waiters = Waiters(self._loop)
        self._running = self._turn_due = self._writing = False
        self._heard = 0

    # For whoever holds the runtime.

    def start(self) -> None:
        """Begin to work."""
        self._running = True
        self._poke()

    async def submit(self, event: ev.RunSubmitted, graph: Graph, body: bytes) -> None:
        """Accept a run; it is on disk when this returns. Raises StoreUnavailable, StoreFailed."""
        await self.ask(lambda now, token: self.driver.submit(now, event, graph, body, token))

    async def cancel(self, run: str, actor: str, reason: str) -> None:
        """Cancel an open run; the request is on disk when this returns. Raises RunNotFound."""
        await self.ask(lambda now, token: self.driver.cancel(now, run, actor, reason, token))

    async def ask(self, say: Callable[[Micros, int], None]) -> None:
        """Tell the driver something; it is on disk when this returns.

        ``say`` gets the time and the token to acknowledge. Raises what it raises, Conflict if what
        was said does not count, StoreUnavailable, StoreFailed.
        """
        self._refuse_if_sick()
        token, done = self._waiters.expect()
        try:
            say(self._clock(), token)
        except AgentHiveError as error:
            self._waiters.settle(token, error)
        self._poke()
        await done

    async def tend(self, facts: Sequence[ev.HiveEvent], work: Batch) -> None:
        """Write facts about runs that are not open here, and the work they tell of.

        It is on disk when this returns; while the journal takes no writes, it waits.
        """
        if self.failed is not None:
            raise self.failed
        token, done = self._waiters.expect()
        self.driver.tend(self._clock(), facts, work, token)
        self._poke()
        await done

    async def schedule(
        self,
        change: ev.ScheduleChange,
        body: bytes = b"",
        graph: Graph | None = None,
        problem: str = "",
    ) -> None:
        """Change a schedule; that is on disk when this returns. Raises NotFound, Conflict."""
        self._refuse_if_sick()
        token, done = self._waiters.expect()
        try:
            self.driver.schedule(self._clock(), change, token, body, graph, problem)
        except AgentHiveError as error:
            self._waiters.settle(token, error)
        self._poke()
        await done

    def fire(self) -> None:
        """From now on start what schedules plan."""
        self.driver.schedules.active = True
        self._poke()

    def recover(self, states: Iterable[tuple[RunState, dict[str, str]]]) -> None:
        """Take over open runs from their replayed states (with what agents are missing)."""
        for state, missing in states:
            self.driver.load(self._clock(), state, missing)
        self._poke()

    def ended(self, run: str) -> asyncio.Future[RunStatus]:
        """Ends with the run's status when it closes, or ``waiting`` when it needs somebody.

        Ask for it before anything can end the run. Fails with StoreFailed if the journal does.
        """
        future = self._waiters.ended(run)
        if self.failed is not None:
            self._waiters.give_up(self.failed)
        return future

    @property
    def next_commit(self) -> asyncio.Event:
        """Set after the next commit. Ask for it before looking at what is committed."""
        if self._pulse is None:
            self._pulse = asyncio.Event()
        return self._pulse

    async def drain(self) -> None:
        """Start nothing new, let calls under way end and be recorded, if anything can be."""
        self.driver.draining = True
        if self.refusing is not None:
            self._drained.set()
        self._poke()
        await self._drained.wait()

    async def stop(self) -> None:
        """Stop at once: calls are cancelled, and count as lost when the home is opened again."""
        self._running = False
        if self._alarm is not None:
            self._alarm.cancel()
        await asyncio.gather(*self._calls.cancel(), return_exceptions=True)
        self.next_commit.set()
        self._waiters.give_up(StoreFailed("the hive was closed"))

    # Turns: decide, write, carry out. One at a time.

    def _poke(self) -> None:
        """There may be something to decide: take a turn as soon as what is due now is in."""
        if not self._turn_due and not self._writing and self._running:
            self._turn_due = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turn_due = False
        if not self._running or self._writing:
            return
        self._heard = 0
        try:
            batch = self.driver.decide(self._clock())
        except Exception as error:
            # Ours. Whoever waits is told: what is half decided must not be gone on with.
            self._poison(StoreFailed(f"a decision could not be made: {error!r}"))
            return
        for call in self.driver.eager():
            self._calls.make(call)
        if batch is None:
            self._rest()
        else:
            self._writing = True
            self._write(batch, RETRY_FIRST)

    def _write(self, batch: Batch, delay: float) -> None:
        written = asyncio.ensure_future(self._store.append(batch))
        written.add_done_callback(lambda done: self._written(done, batch, delay))

    def _written(self, done: asyncio.Future[None], batch: Batch, delay: float) -> None:
        gone = StoreFailed("a write was given up, outcome unknown")
        error = gone if done.cancelled() else done.exception()
        if isinstance(error, StoreUnavailable):
            self._refused(error, batch, delay)
        elif error is not None:
            known = error if isinstance(error, StoreFailed) else None
            self._poison(known or StoreFailed(f"the store broke: {error!r}"))
        elif self._running:
            self._committed()

    def _committed(self) -> None:
        if self.refusing is not None:
            log("warning", "the journal takes writes again")
            self.refusing = None
        self._writing = False
        for action in self.driver.committed(self._clock()):
            self._carry_out(action)
        if self._pulse is not None:
            self._pulse.set()
            self._pulse = None
        if self.driver.has_more:
            self._poke()
        else:
            self._rest()

    def _refused(self, error: StoreUnavailable, batch: Batch, delay: float) -> None:
        """Nothing was written. Refuse new work, and try what was promised again and again."""
        if self.refusing is None:
            log("warning", "the journal takes no writes; trying again", reason=error.message)
        if self.driver.draining:
            # What ends now could not be written down anyway; it will be done again.
            self._drained.set()
        self.refusing = error
        for token in self.driver.withdraw(batch):
            self._waiters.settle(token, error)
        again = min(delay * 2, RETRY_MOST)
        self._loop.call_later(delay, self._write, batch, again)

    def _rest(self) -> None:
        """Nothing to do until a call answers or a time comes."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        wake = self.driver.next_wake()
        if wake is not None:
            # The clock may step, and the machine may sleep: look again now and then.
            delay = min(max(0, wake - self._clock()) / SECOND, LONGEST_NAP)
            self._alarm = self._loop.call_later(delay, self._poke)
        if self.driver.draining and not self._calls:
            self._drained.set()

    def _carry_out(self, action: act.Action) -> None:
        if isinstance(action, act.Perform):
            self._calls.make(action)
        elif isinstance(action, act.Acknowledge):
            self._waiters.settle(action.token)
        elif isinstance(action, act.Refuse):
            self._waiters.settle(action.token, Conflict(action.reason))
        elif isinstance(action, act.Stop):
            self._calls.end((action.run, action.task, action.attempt))
        elif isinstance(action, act.RunEnded):
            self._waiters.tell(action.run, action.status)
        else:
            self._waiters.tell(action.run, RunStatus.WAITING)

    def _answered(self, key: CallId, reply: Reply | None) -> None:
        """A call has ended; without a reply, because it was stopped."""
        run, task, attempt = key
        now = self._clock()
        if reply is None:
            self.driver.stopped(now, run, task, attempt)
        else:
            self.driver.reply(now, run, task, attempt, vetted(reply), self._dice())
        self._heard += 1
        if self._heard < EARLY and self._calls:
            self._poke()
        else:
            # Nothing else is under way, or there is enough to write while the rest comes in.
            self._turn()

    def _progressed(self, key: CallId, progress: JSONValue) -> None:
        said = vetted(Reply(result=progress))
        if said.fault is None:
            self.driver.progressed(self._clock(), *key, said.result)
            self._poke()

    def _refuse_if_sick(self) -> None:
        sick = self.failed or self.refusing
        if sick is not None:
            raise sick

    def _poison(self, error: StoreFailed) -> None:
        log("error", "the journal failed; nothing goes on", reason=error.message)
        self.failed = error
        self._running = False
        self._drained.set()
        self.next_commit.set()
        self._calls.cancel()
        self._waiters.give_up(error)
