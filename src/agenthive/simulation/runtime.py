"""The simulated runtime: the same core and driver on virtual time, with seeded faults.

The seed determines a whole run: when calls return, what fails, where the process crashes. The
journal and the outside world survive a crash, everything else is lost. A `SimulationObserver`
receives what happens, so that oracles can judge it. Never waits for real time and never touches a
real disk.

Each step is one action from the queue of virtual time. A step that changes the driver schedules a
pump, which asks the driver to decide, writes the batch, and only then executes the actions: the
same order as in the runtime on an event loop.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from heapq import heappop, heappush
from random import Random

import msgspec

from agenthive.core.engine import actions as act
from agenthive.core.engine.call_builder import reply_from_cache
from agenthive.core.engine.driver import Driver
from agenthive.core.engine.recovery import order_parents_first
from agenthive.core.graph.graph import Graph
from agenthive.core.history.replay import pinned_digest
from agenthive.core.history.snapshots import restore_state
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Batch
from agenthive.core.model import definition
from agenthive.core.model.calls import Call, Fault, Reply
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.core.policies.fault_classes import FaultClass
from agenthive.core.values import SECOND, JSONObject, Micros
from agenthive.errors import Conflict, InternalError, NotFound
from agenthive.simulation.ports import Disk, Faults, SimulatedReply, SimulationObserver, World

#: The virtual time at which every simulation starts.
EPOCH: Micros = 1_700_000_000 * SECOND
#: Seconds by which the clock is set at most.
YEAR = 365 * 86_400
#: A simulation with more steps than this does not end.
MAX_STEPS = 200_000


class SimulatedCrash(Exception):
    """The simulated process ends at this point."""


class SimulatedRuntime:
    """A hive on virtual time. Schedule work with `submit` and `cancel`, then `run`.

    ``make_driver`` makes the driver of each new process. ``graphs`` are compiled graphs by the
    digest of their definition; the runtime adds those that it compiles.
    """

    def __init__(
        self,
        seed: int,
        disk: Disk,
        world: World,
        observer: SimulationObserver,
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
        self._sequence = 0
        self._process = 0
        self._skew: Micros = 0
        #: Whether the clock was set forward and no record of that is on disk.
        self._is_step_unwritten = False
        self._trace = sha256()
        self._graphs: dict[str, Graph] = {} if graphs is None else graphs
        self._calls: dict[tuple[str, str, int], Micros] = {}
        self._batch: Batch | None = None
        self._pumping = False
        self.driver = make_driver()

    # Scheduling.

    def submit(self, delay: Micros, run: str, spec: WorkflowSpec, inputs: JSONObject) -> None:
        """Submit a run after ``delay`` (microseconds).

        Submits it again after a crash, until it has been acknowledged.
        """
        body = definition.encode(spec)
        name = definition.compute_digest(body)
        if name not in self._graphs:
            self._graphs[name] = Graph(spec)
        event = ev.RunSubmitted(at=0, run=run, name=spec.name, definition=name, inputs=inputs)

        def submit_if_new() -> None:
            if run not in self.driver.runs and not self.disk.records(run):
                stamped = msgspec.structs.replace(event, at=self.clock())
                self.driver.submit(self.clock(), stamped, self._graphs[name], body, 1)
                self._schedule_pump()

        self._schedule(delay, submit_if_new, process=0)

    def cancel(self, delay: Micros, run: str, actor: str = "simulation", reason: str = "") -> None:
        """Request cancellation of a run after ``delay`` (microseconds), if it is open then."""

        def request_cancel(driver: Driver, now: Micros) -> None:
            driver.cancel(now, run, actor, reason, 2)
            self._observe("cancel", {"run": run})

        self.schedule_request(delay, request_cancel)

    def schedule_request(self, delay: Micros, request: Callable[[Driver, Micros], None]) -> None:
        """Call ``request`` with the driver of the process that is running after ``delay``."""

        def deliver() -> None:
            with suppress(NotFound, Conflict):
                request(self.driver, self.clock())
                self._schedule_pump()

        self._schedule(delay, deliver, process=0)

    def schedule_crash(self, delay: Micros) -> None:
        """End the process after ``delay`` (microseconds); a new process takes over."""
        self._schedule(delay, self._raise_crash, process=0)

    def clock(self) -> Micros:
        """The clock of the process, which a fault may have set forward or back."""
        return self.now + self._skew

    def find_graph(self, run: str) -> Graph:
        """The graph that a run is pinned to."""
        name = pinned_digest(self.disk.records(run))
        if name not in self._graphs:
            self._graphs[name] = Graph(definition.decode(self.disk.get_definition(name)))
        return self._graphs[name]

    @property
    def trace(self) -> str:
        """A hash of everything that happened: equal for equal seeds."""
        return self._trace.hexdigest()

    def run(self, max_steps: int = 0) -> bool:
        """Execute steps until none is left.

        Returns False after MAX_STEPS steps, or after ``max_steps`` if that is more.
        """
        while self._agenda:
            self.steps += 1
            if self.steps > max(max_steps, MAX_STEPS):
                return False
            at, _, process, action = heappop(self._agenda)
            self.now = max(self.now, at)
            if process not in (0, self._process + 1):
                continue
            try:
                action()
            except SimulatedCrash:
                self._restart_process()
        return True

    def _schedule(
        self, delay: Micros, action: Callable[[], None], *, process: int | None = None
    ) -> None:
        """Schedule an action; it ends with its process unless ``process`` is 0."""
        self._sequence += 1
        owner = self._process + 1 if process is None else process
        heappush(self._agenda, (self.now + max(0, delay), self._sequence, owner, action))

    # The process.

    def _schedule_pump(self) -> None:
        if not self._pumping:
            self._pumping = True
            self._schedule(0, self._pump)

    def _pump(self) -> None:
        if self._faults.jump and self._rng.random() < self._faults.jump:
            self._jump_clock()
        batch = self.driver.decide(self.clock())
        for run, reason in self.driver.set_apart_runs.items():
            # In a home the other runs would continue. Here it is what the simulation looks for.
            raise InternalError(f"run {run} was set apart: {reason}")
        for call in self.driver.take_eager_calls():
            self._perform_call(call)
        if batch is None:
            self._continue_or_sleep()
            return
        self._batch = batch
        self._maybe_crash()
        slow = self._rng.random() < self._faults.slow
        self._schedule(self._rng.randrange(50, 4 * SECOND if slow else 2000), self._append_batch)

    def _append_batch(self) -> None:
        batch = self._batch
        assert batch is not None
        if self._rng.random() < self._faults.refuse:
            for _ in self.driver.withdraw_runs(batch):
                self._observe("refused", {})
            self._schedule(SECOND, self._append_batch)
            return
        if self._rng.random() < self._faults.crash and self._rng.random() < 0.5:
            self._raise_crash()  # crash before the commit: nothing is written
        self.disk.write(batch)
        self._is_step_unwritten = False
        self._maybe_crash()
        self._batch = None
        for action in self.driver.confirm_commit(self.clock()):
            self._execute_action(action)
            self._maybe_crash()
        self._continue_or_sleep()

    def _continue_or_sleep(self) -> None:
        if self.driver.has_work:
            self._schedule(0, self._pump)
        else:
            self._go_idle()

    def _execute_action(self, action: act.Action) -> None:
        if isinstance(action, act.PerformCall):
            self._perform_call(action)
        elif isinstance(action, act.CancelCall):
            self._cancel_call(action)
        elif isinstance(action, act.AcknowledgeRequest):
            self._observe("acknowledged", {"token": action.token, "run": action.run})
        elif isinstance(action, act.RejectRequest):
            self._observe("refused_answer", {"token": action.token, "reason": action.reason})
        elif isinstance(action, act.RunEnded):
            self._observe("ended", {"run": action.run, "status": str(action.status)})
        else:
            self._observe("parked", {"run": action.run})

    def _go_idle(self) -> None:
        self._pumping = False
        wake = self.driver.next_wake()
        if wake is not None:
            self._schedule(wake - self.clock(), self._schedule_pump)

    def _restart_process(self) -> None:
        """End the process; a new one recovers from what is on disk."""
        self.crashes += 1
        self._process += 1
        self._calls.clear()
        self._batch = None
        self._pumping = False
        self.driver = self._make_driver()
        self._observe("crashed", {})
        self.now += self._rng.randrange(1, 30 * SECOND)
        self.driver.load_accounts(self.disk.accounts(), self.disk.get_marks())
        self.driver.load_hive(self.disk.records(ev.HIVE))
        states = [
            restore_state(self.find_graph(row.run), self.disk.records(row.run), self.disk.contents)
            for row in reversed(self.disk.rows(unfinished=True))
        ]
        for state in order_parents_first(states):
            missing_agents = self._draw_missing_agents(state.graph.spec)
            self.driver.load_run(self.clock(), state, missing_agents)
        self._schedule_pump()

    def _draw_missing_agents(self, spec: WorkflowSpec) -> dict[str, str]:
        """Agent -> why it is missing, for the agents that this process does not have."""
        chance = self._faults.absent
        return {
            a.name: "not registered in this process"
            for a in spec.agents
            if chance > self._rng.random()
        }

    def _maybe_crash(self) -> None:
        if self._rng.random() < self._faults.crash:
            self._raise_crash()

    def _raise_crash(self) -> None:
        if self.crashes < self._faults.max_crashes and not self._is_step_unwritten:
            raise SimulatedCrash

    def _jump_clock(self) -> None:
        offset = self._rng.choice((-YEAR, -3600, -5, -1, 1, 60, YEAR)) * SECOND
        self._skew += offset
        # A step forward that is lost with its process looks like time that passed.
        self._is_step_unwritten |= offset > 0
        self._observe("jumped", {"by": offset})
        self.driver.record_clock_step(self.clock(), offset)

    # Calls.

    def _perform_call(self, action: act.PerformCall) -> None:
        call = action.call
        cached = (
            reply_from_cache(self.disk.get_cached(action.cache_key), self.clock())
            if action.cache_key
            else None
        )
        if cached is None:
            response = self._world.answer(call, action.agent, self.now)
        else:
            response = SimulatedReply(reply=cached, acts_after=None, replies_after=(1000,))
        self._observe("called", msgspec.to_builtins(call) | {"acts": response.acts_after})
        key = (call.run, call.task, call.attempt)
        self._calls[key] = self.now
        if response.acts_after is not None:
            self._schedule(response.acts_after, lambda: self._record_act(call), process=0)
        for delay in response.replies_after:
            stale = self._rng.random() < self._faults.stale
            self._schedule(
                delay,
                lambda: self._deliver_reply(key, response.reply),
                process=0 if stale else None,
            )
        if action.timeout is not None:
            self._schedule(action.timeout, lambda: self._time_out_call(key))

    def _record_act(self, call: Call) -> None:
        self._observe("acted", {"run": call.run, "task": call.task, "key": call.key})

    def _deliver_reply(self, key: tuple[str, str, int], reply: Reply) -> None:
        self._calls.pop(key, None)
        data = msgspec.to_builtins(reply)
        self._observe("replied", {"run": key[0], "task": key[1], "attempt": key[2], "reply": data})
        self.driver.record_reply(self.clock(), *key, reply, self._rng.random())
        self._schedule_pump()

    def _time_out_call(self, key: tuple[str, str, int]) -> None:
        if key in self._calls:
            fault = Fault(kind="timeout", message="Request timeout", class_=FaultClass.UNKNOWN)
            self._deliver_reply(key, Reply(fault=fault))

    def _cancel_call(self, action: act.CancelCall) -> None:
        key = (action.run, action.task, action.attempt)
        if self._calls.pop(key, None) is not None:
            self._observe("stopped", {"run": key[0], "task": key[1], "attempt": key[2]})
            self.driver.record_cancellation(self.clock(), *key)
            self._schedule_pump()

    def _observe(self, kind: str, data: JSONObject) -> None:
        self._trace.update(msgspec.json.encode((self.now, kind, data), order="sorted"))
        self._observer.observe(self.now, kind, data)
