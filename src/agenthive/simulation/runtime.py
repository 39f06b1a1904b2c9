"""The simulated runtime: the same core and driver on virtual time, with seeded faults.

One number, the seed, makes a whole run: who answers when, what fails, where the process dies. The
journal and the outside world survive a crash, everything else is lost. What happens is written to
`Observer`s, so that an oracle can judge it. Never waits for real time, never touches a disk.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from heapq import heappop, heappush
from random import Random

import msgspec

from agenthive.core.engine import actions as act
from agenthive.core.engine.call_builder import usable
from agenthive.core.engine.driver import Driver
from agenthive.core.graph.graph import Graph
from agenthive.core.history.replay import pinned_to
from agenthive.core.history.snapshots import restored
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Batch
from agenthive.core.model import definition
from agenthive.core.model.calls import Call, Fault, Reply
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.core.values import SECOND, JSONObject, Micros
from agenthive.errors import Conflict, NotFound
from agenthive.simulation.ports import Answer, Disk, Faults, Observer, World

EPOCH: Micros = 1_700_000_000 * SECOND
MAX_STEPS = 200_000
"""A simulation that takes longer than this does not end."""


class Crash(Exception):
    """The process ended here."""


class SimulatedRuntime:
    """A hive on virtual time. Schedule work with `submit` and `cancel`, then `run`.

    ``make_driver`` makes the driver of each new process. ``graphs`` are those that are compiled
    already, by the digest of their definition; it is added to.
    """

    def __init__(
        self,
        seed: int,
        disk: Disk,
        world: World,
        observer: Observer,
        faults: Faults,
        make_driver: Callable[[], Driver] = Driver,
        graphs: dict[str, Graph] | None = None,
    ) -> None:
        self.disk = disk
        self.now: Micros = EPOCH
        self.crashes = 0
        self.steps = 0
        self._rng = Random(seed)
        self._world, self._observer, self._faults = world, observer, faults
        self._make_driver = make_driver
        self._agenda: list[tuple[Micros, int, int, Callable[[], None]]] = []
        self._number = 0
        self._life = 0
        self._skew: Micros = 0
        self._trace = sha256()
        self._graphs: dict[str, Graph] = {} if graphs is None else graphs
        self._calls: dict[tuple[str, str, int], Micros] = {}
        self._batch: Batch | None = None
        self._pumping = False
        self.driver = make_driver()

    # Scheduling.

    def submit(self, delay: Micros, run: str, spec: WorkflowSpec, inputs: JSONObject) -> None:
        """Submit a run after ``delay``; again after a crash, until it has been acknowledged."""
        body = definition.encode(spec)
        name = definition.digest(body)
        if name not in self._graphs:
            self._graphs[name] = Graph(spec)
        event = ev.RunSubmitted(at=0, run=run, name=spec.name, definition=name, inputs=inputs)

        def try_it() -> None:
            if run not in self.driver.runs and not self.disk.records(run):
                stamped = msgspec.structs.replace(event, at=self.clock())
                self.driver.submit(self.clock(), stamped, self._graphs[name], body, 1)
                self._pump_soon()

        self._later(delay, try_it, life=0)

    def cancel(self, delay: Micros, run: str, actor: str = "simulation", reason: str = "") -> None:
        """Ask for a run to be cancelled after ``delay``, if it is open then."""

        def say(driver: Driver, now: Micros) -> None:
            driver.cancel(now, run, actor, reason, 2)
            self._saw("cancel", {"run": run})

        self.ask(delay, say)

    def ask(self, delay: Micros, say: Callable[[Driver, Micros], None]) -> None:
        """Have somebody tell the driver something after ``delay``, if it counts by then."""

        def try_it() -> None:
            with suppress(NotFound, Conflict):
                say(self.driver, self.clock())
                self._pump_soon()

        self._later(delay, try_it, life=0)

    def crash(self, delay: Micros) -> None:
        """End the process after ``delay``, and let another take over."""
        self._later(delay, self._crash, life=0)

    def clock(self) -> Micros:
        """What the process's clock shows; it may have been stepped."""
        return self.now + self._skew

    def graph_of(self, run: str) -> Graph:
        """The graph that a run is pinned to."""
        name = pinned_to(self.disk.records(run))
        if name not in self._graphs:
            self._graphs[name] = Graph(definition.decode(self.disk.definition_of(name)))
        return self._graphs[name]

    @property
    def trace(self) -> str:
        """A hash of everything that happened: equal for equal seeds."""
        return self._trace.hexdigest()

    def run(self, most: int = 0) -> bool:
        """Go on until nothing is left. False after MAX_STEPS steps, or ``most`` if that is more."""
        while self._agenda:
            self.steps += 1
            if self.steps > max(most, MAX_STEPS):
                return False
            at, _, life, action = heappop(self._agenda)
            self.now = max(self.now, at)
            if life not in (0, self._life + 1):
                continue
            try:
                action()
            except Crash:
                self._restart()
        return True

    def _later(self, delay: Micros, action: Callable[[], None], *, life: int | None = None) -> None:
        """``life`` 0 survives a crash; otherwise the action dies with its process."""
        self._number += 1
        owner = self._life + 1 if life is None else life
        heappush(self._agenda, (self.now + max(0, delay), self._number, owner, action))

    # The process.

    def _pump_soon(self) -> None:
        if not self._pumping:
            self._pumping = True
            self._later(0, self._pump)

    def _pump(self) -> None:
        if self._faults.jump and self._rng.random() < self._faults.jump:
            self._jump()
        batch = self.driver.decide(self.clock())
        for call in self.driver.eager():
            self._perform(call)
        if batch is None:
            self._rest()
            return
        self._batch = batch
        self._crash_here()
        slow = self._rng.random() < self._faults.slow
        self._later(self._rng.randrange(50, 4 * SECOND if slow else 2000), self._append)

    def _append(self) -> None:
        batch = self._batch
        assert batch is not None
        if self._rng.random() < self._faults.refuse:
            for _ in self.driver.withdraw(batch):
                self._saw("refused", {})
            self._later(SECOND, self._append)
            return
        if self._rng.random() < self._faults.crash and self._rng.random() < 0.5:
            self._crash()  # before the commit: nothing is written
        self.disk.write(batch)
        self._crash_here()
        self._batch = None
        for action in self.driver.committed(self.clock()):
            self._carry_out(action)
            self._crash_here()
        if self.driver.has_more:
            self._later(0, self._pump)
        else:
            self._rest()

    def _carry_out(self, action: act.Action) -> None:
        if isinstance(action, act.Perform):
            self._perform(action)
        elif isinstance(action, act.Stop):
            self._stop(action)
        elif isinstance(action, act.Acknowledge):
            self._saw("acknowledged", {"token": action.token, "run": action.run})
        elif isinstance(action, act.Refuse):
            self._saw("refused_answer", {"token": action.token, "reason": action.reason})
        elif isinstance(action, act.RunEnded):
            self._saw("ended", {"run": action.run, "status": str(action.status)})
        else:
            self._saw("parked", {"run": action.run})

    def _rest(self) -> None:
        self._pumping = False
        wake = self.driver.next_wake()
        if wake is not None:
            self._later(wake - self.clock(), self._pump_soon)

    def _restart(self) -> None:
        """The process is gone; a new one comes up from what is on disk."""
        self.crashes += 1
        self._life += 1
        self._calls.clear()
        self._batch = None
        self._pumping = False
        self.driver = self._make_driver()
        self._saw("crashed", {})
        self.now += self._rng.randrange(1, 30 * SECOND)
        self.driver.load_accounts(self.disk.accounts(), self.disk.marked_so())
        self.driver.load_hive(self.disk.records(ev.HIVE))
        # The oldest first: a run that waits for another one is there before it.
        for row in reversed(self.disk.rows(unfinished=True)):
            graph = self.graph_of(row.run)
            state = restored(graph, self.disk.records(row.run), self.disk.contents)
            self.driver.load(self.clock(), state, self._missing(graph.spec))
        self._pump_soon()

    def _missing(self, spec: WorkflowSpec) -> dict[str, str]:
        """Agents that nobody has in this process."""
        chance = self._faults.absent
        return {a.name: "nobody has it" for a in spec.agents if chance > self._rng.random()}

    def _crash_here(self) -> None:
        if self._rng.random() < self._faults.crash:
            self._crash()

    def _crash(self) -> None:
        if self.crashes < self._faults.most_crashes:
            raise Crash

    def _jump(self) -> None:
        by = self._rng.choice((-3600, -5, -1, 1, 60)) * SECOND
        self._skew += by
        self._saw("jumped", {"by": by})

    # Calls.

    def _perform(self, action: act.Perform) -> None:
        call = action.call
        kept = usable(self.disk.cached_as(action.cache), self.clock()) if action.cache else None
        if kept is None:
            answer = self._world.answer(call, action.agent, self.now)
        else:
            answer = Answer(reply=kept, acts=None, replies=(1000,))
        self._saw("called", msgspec.to_builtins(call) | {"acts": answer.acts})
        key = (call.run, call.task, call.attempt)
        self._calls[key] = self.now
        if answer.acts is not None:
            self._later(answer.acts, lambda: self._acted(call), life=0)
        for delay in answer.replies:
            stale = self._rng.random() < self._faults.stale
            self._later(delay, lambda: self._reply(key, answer.reply), life=0 if stale else None)
        if action.timeout is not None:
            self._later(action.timeout, lambda: self._time_out(key))

    def _acted(self, call: Call) -> None:
        self._saw("acted", {"run": call.run, "task": call.task, "key": call.key})

    def _reply(self, key: tuple[str, str, int], reply: Reply) -> None:
        self._calls.pop(key, None)
        data = msgspec.to_builtins(reply)
        self._saw("replied", {"run": key[0], "task": key[1], "attempt": key[2], "reply": data})
        self.driver.reply(self.clock(), *key, reply, self._rng.random())
        self._pump_soon()

    def _time_out(self, key: tuple[str, str, int]) -> None:
        if key in self._calls:
            fault = Fault(kind="timeout", message="Request timeout")
            self._reply(key, Reply(fault=fault))

    def _stop(self, action: act.Stop) -> None:
        key = (action.run, action.task, action.attempt)
        if self._calls.pop(key, None) is not None:
            self._saw("stopped", {"run": key[0], "task": key[1], "attempt": key[2]})
            self.driver.stopped(self.clock(), *key)
            self._pump_soon()

    def _saw(self, what: str, data: JSONObject) -> None:
        self._trace.update(msgspec.json.encode((self.now, what, data), order="sorted"))
        self._observer.saw(self.now, what, data)
