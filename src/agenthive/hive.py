"""The composition root: `Hive.open(url)` wires store, runtime and agents into one object.

    async with Hive.open("memory:") as hive:
        report = await hive.run(workflow)

The only module that introduces the rooms to each other. It decides nothing: what a run does is the
core's business, how it is written `authoring`'s. A new store gets a URL scheme in `_open_store`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Generator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

from agenthive.agents.directory import Directory
from agenthive.authoring import agents_of, bind_inputs, check_inputs
from agenthive.authoring.schedules import plan_schedule, rule_of
from agenthive.core import definition
from agenthive.core import events as ev
from agenthive.core.children import kin
from agenthive.core.driver import Driver
from agenthive.core.graph import Graph
from agenthive.core.people import Question, Verdict, questions
from agenthive.core.policies.schedule import RESERVED, Rule, check_interval
from agenthive.core.ports import RunRow, Store
from agenthive.core.replies import plain_json
from agenthive.core.report import RunReport
from agenthive.core.retention import Retention
from agenthive.core.roll import imported
from agenthive.core.run_state import RunState
from agenthive.core.schedules import ScheduleRow
from agenthive.core.spec import WorkflowSpec
from agenthive.core.states import Reason, RunStatus
from agenthive.core.story import Line
from agenthive.core.values import JSONObject, JSONValue, Micros
from agenthive.errors import (
    AgentUnavailable,
    ConfigurationError,
    Conflict,
    DefinitionError,
    StoreFailed,
)
from agenthive.infra.calendar import Calendar
from agenthive.infra.clock import SteadyClock
from agenthive.infra.home import Home
from agenthive.infra.ids import uuid7
from agenthive.owner import Door
from agenthive.runtimes.embedded import EmbeddedRuntime
from agenthive.stores.archive import Archive, Fact
from agenthive.stores.housekeeping import Dropped, candidates, drop
from agenthive.stores.memory import MemoryStore
from agenthive.stores.transfer import Arrival, TakenIn, arrival

MEMORY = "memory:"
RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
"""What a run id that a caller chooses may look like."""


class Hive:
    """Runs workflows and remembers what they did.

    Made by `Hive.open`; usable after ``await`` or inside ``async with``. Safe to use from many
    tasks of one event loop.
    """

    def __init__(
        self, url: str | Path, *, recover: bool, max_runs: int, max_calls: int, agents: Directory
    ) -> None:
        self.agents = agents
        self.home: Home | None = None if str(url) == MEMORY else Home(Path(url))
        self._recover = recover
        self._calendar = Calendar()
        self._driver = Driver(
            max_runs=max_runs, max_calls=max_calls, bind=_bound, calendar=self._calendar
        )
        self._clock = SteadyClock()
        self._graphs: dict[str, Graph] = {}
        self._store: Store | None = None
        self._archive: Archive | None = None
        self._runtime: EmbeddedRuntime | None = None
        self._tidying = asyncio.Lock()
        self._taken: set[str] = set()
        self._imported: dict[str, int] = {}
        self._door = None if self.home is None else Door(self.home, self)

    @classmethod
    def open(
        cls,
        url: str | Path = MEMORY,
        *,
        recover: bool = False,
        max_runs: int = 1000,
        max_calls: int = 1000,
        agents: Directory | None = None,
    ) -> Hive:
        """A hive in memory (``memory:``) or in a home, the folder at ``url``.

        ``recover`` goes on with the runs that are unfinished there, and starts what schedules plan.
        ``max_runs`` and ``max_calls`` bound what is under way at once. Opening raises HomeBusy if
        another process owns the home, StoreUnavailable, StoreFailed or StoreCorrupt if its journal
        cannot be used.
        """
        directory = agents if agents is not None else Directory()
        return cls(url, recover=recover, max_runs=max_runs, max_calls=max_calls, agents=directory)

    def __await__(self) -> Generator[Any, None, Hive]:
        return self._start().__await__()

    async def __aenter__(self) -> Hive:
        return await self._start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self, *, drain: bool = False) -> None:
        """Stop and let go of everything. ``drain``: let the calls under way end first.

        Without it they are cancelled and count as lost when the home is opened again.
        """
        if self._door is not None:
            self._door.refusing = True
        if self._runtime is not None:
            if drain:
                await self._runtime.drain()
            await self._runtime.stop()
            self._runtime = None
        if self._door is not None:
            await self._door.close()
        if self._store is not None:
            await self._store.close()
            self._store = self._archive = None
        await self.agents.close()
        if self.home is not None:
            self.home.release()

    # Runs.

    async def submit(
        self,
        workflow: WorkflowSpec,
        inputs: Mapping[str, Any] | None = None,
        *,
        run_id: str | None = None,
    ) -> str:
        """Accept a run and give its id. It is on disk when this returns.

        ``inputs`` are checked against what the workflow declares, and defaults filled in.
        Raises ConfigurationError if the workflow cannot run, AgentUnavailable if nobody has one of
        its custom agents, Conflict if there is a run ``run_id``, StoreUnavailable or StoreFailed if
        the journal takes nothing.
        """
        run = uuid7() if run_id is None else await self._free(run_id)
        if run in self._taken or run in self._driver.runs:
            raise Conflict(f"run {run} exists already")
        await self._submit(run, workflow, dict(inputs or {}))
        return run

    async def run(
        self, workflow: WorkflowSpec, inputs: Mapping[str, Any] | None = None
    ) -> RunReport:
        """Submit, wait, report. Raises what `submit` raises; a failed run is only reported."""
        return await self.wait(await self.submit(workflow, inputs))

    async def ended(self, run: str) -> RunStatus:
        """Wait until the run has ended, or needs somebody's help; its status.

        Raises RunNotFound, StoreFailed.
        """
        live = self._driver.runs.get(run)
        if live is not None and not live.parked:
            return await self._live.ended(run)
        return RunStatus((await self._reader.row(run)).status)

    async def wait(self, run: str) -> RunReport:
        """As `ended`, then report."""
        await self.ended(run)
        return await self.report(run)

    async def cancel(self, run: str, *, reason: str = "", actor: str = "local") -> None:
        """Cancel an open run: calls under way are stopped. Raises RunNotFound if it is not open."""
        await self._live.cancel(run, _plain(actor), _plain(reason))

    async def approve(
        self,
        run: str,
        task: str,
        *,
        approved: bool = True,
        actor: str = "local",
        digest: str = "",
        comment: str = "",
    ) -> None:
        """Answer the approval a task waits for. It is on disk when this returns.

        ``digest`` (or its beginning) is that of the payload that was looked at; an answer about
        another one does not count. Raises RunNotFound, NotFound, and Conflict for an answer that
        does not count: by somebody who is not asked, twice, late, about another payload. That is
        recorded too.
        """
        verdict = Verdict(
            actor=_plain(actor), approved=approved, digest=digest, comment=_plain(comment)
        )
        driver = self._driver
        if run in driver.runs:
            say = driver.answer
        elif (await self._reader.row(run)).finished is None:
            raise Conflict(f"run {run} is not under way here", hint="Resume it first.")
        else:
            say = driver.answer_after_end
        await self._live.ask(lambda now, token: say(now, run, task, verdict, token))

    async def signal(
        self, run: str, name: str, data: JSONValue = None, *, id: str = "", actor: str = "local"
    ) -> None:
        """Send a signal to a run; it is on disk when this returns.

        One whose ``id`` has come already changes nothing. Raises RunNotFound, NotFound if no task
        waits for such a signal at any time, Conflict if it would have to be kept and may not be.
        """
        data, said = plain_json(data), (_plain(name), _plain(id), _plain(actor))
        driver = self._driver
        await self._live.ask(
            lambda now, token: driver.signal(now, run, said[0], data, said[1], said[2], token)
        )

    async def resolve(
        self,
        run: str,
        task: str,
        outcome: str,
        result: JSONValue = None,
        *,
        actor: str = "local",
        reason: str = "",
    ) -> None:
        """Say what came of a call of unknown outcome: ``succeeded``, ``failed`` or ``retry``.

        Raises RunNotFound, NotFound, Conflict if the outcome is not unknown.
        """
        result, said = plain_json(result), (_plain(actor), _plain(reason))
        driver = self._driver
        await self._live.ask(
            lambda now, token: driver.resolve(now, run, task, outcome, result, *said, token)
        )

    async def approvals(self, run: str | None = None) -> list[Question]:
        """The approvals that open runs of this hive wait for, the oldest first."""
        lives = [live for live in self._driver.runs.values() if run in (None, live.run)]
        return sorted(
            (one for live in lives for one in questions(live.state)), key=lambda one: one.asked
        )

    async def resume(self, runs: list[str] | None = None) -> list[str]:
        """Go on with these runs, or with every unfinished one; the ids of those taken over.

        One that came in open from a file is gone on with only if it is asked for.

        Calls that were under way when the process ended are made again under their keys.
        """
        rows = await self._reader.runs(unfinished=True)
        open_here = self._driver.runs
        # The oldest first: a run that waits for another one is taken over before it.
        found = [row.run for row in reversed(rows) if row.run not in open_here]
        if runs is None:
            asked = [run for run in found if not await self._untouched(run)]
        else:
            asked = [run for run in found if run in runs]
        states: dict[str, RunState] = {}
        while asked:
            run = asked.pop()
            if run in found and run not in states:
                states[run] = await self._reader.state(run)
                asked += kin(states[run])
        taken = [states[run] for run in found if run in states]
        self._live.recover([(state, self._missing(state.graph.spec)) for state in taken])
        return [state.run for state in taken]

    async def collect(self, policy: Retention) -> AsyncIterator[Dropped]:
        """Drop the ended runs that are kept no longer; tells how far it is, again and again.

        Raises StoreUnavailable or StoreFailed if the journal takes nothing.
        """
        async with self._tidying:
            store = self._stored
            self._taken.clear()
            rows = await candidates(store, policy, self._clock.now())
            async for done in drop(store, rows, self._live.tend):
                yield done

    async def take_in(self, file: str | Path, *, open_too: bool = False) -> TakenIn:
        """Take in a run that `Archive.export` wrote; nothing happens if it is here, just so.

        One that has not ended is refused unless ``open_too``, and goes on only when `resume` is
        asked for it by name. Raises DefinitionError, Conflict, JournalTooNew, StoreUnavailable,
        StoreFailed, OSError.
        """
        found = await asyncio.to_thread(_arrival, Path(file), self._clock.now())
        if found.open and not open_too:
            raise Conflict(
                f"run {found.fact.run} has not ended: where it comes from it may still go on",
                hint="Say that it does not with --open; then resume it here by its id.",
            )
        async with self._tidying:
            new = await self._take_in(found)
        return TakenIn(run=found.fact.run, status=found.fact.status, new=new)

    async def _take_in(self, found: Arrival) -> bool:
        run = found.fact.run
        last = await self._stored.last(run)
        if last is not None and last.hash.hex() == found.fact.head:
            return False
        await self._free(run)
        # Until runs are dropped again, nobody else gets this id, however late their question is.
        self._taken.add(run)
        await self._live.tend([found.fact], found.work)
        if found.open:
            self._imported[run] = found.fact.events
        return True

    # Schedules.

    async def schedule(
        self,
        name: str,
        workflow: WorkflowSpec,
        inputs: Mapping[str, Any] | None = None,
        *,
        cron: str | None = None,
        every: str | float | timedelta | None = None,
        zone: str = "UTC",
        start: str | datetime | None = None,
        time_input: str = "",
        catch_up: str = "one",
        overlap: str = "queue",
        paused: bool = False,
    ) -> None:
        """Have a workflow started again and again; replaces the schedule of that name.

        Either ``cron`` in a ``zone``, or ``every`` so long from ``start``. The planned time (UTC,
        ISO 8601) is given as the input ``time_input``. ``catch_up`` is none, one or all;
        ``overlap`` is skip, queue, allow or cancel. Runs start where a hive is open with
        ``recover``, or `start_schedules` was called. Raises DefinitionError.
        """
        rule = rule_of(cron=cron, every=every, zone=zone, start=start)
        planned = plan_schedule(
            name, workflow, dict(inputs or {}), rule, time_input=time_input, catch_up=catch_up,
            overlap=overlap, paused=paused,
        )  # fmt: skip
        await self.change_schedule(planned.fact, planned.body)

    async def pause_schedule(self, name: str, *, reason: str = "") -> None:
        """Have a schedule start nothing until it is resumed. Raises NotFound."""
        await self.change_schedule(ev.SchedulePaused(at=0, schedule=name, reason=reason))

    async def resume_schedule(self, name: str) -> None:
        """Have a schedule start runs again; what was planned meanwhile is skipped."""
        await self.change_schedule(ev.ScheduleResumed(at=0, schedule=name))

    async def remove_schedule(self, name: str) -> None:
        """Take a schedule away; its runs go on. Raises NotFound."""
        await self.change_schedule(ev.ScheduleRemoved(at=0, schedule=name))

    async def trigger_schedule(self, name: str) -> str:
        """Start a run of a schedule now; its id. Raises NotFound, Conflict if it may not start."""
        run = f"{RESERVED}{name}:{uuid7()}"
        await self.change_schedule(ev.ScheduleTriggered(at=0, schedule=name, run=run))
        return run

    async def schedules(self) -> list[ScheduleRow]:
        """All schedules, in the order in which they were set first."""
        return await self._reader.schedules(self._calendar)

    async def start_schedules(self) -> None:
        """From now on start what schedules plan, and what they missed as each says."""
        for name in list(self._driver.schedules.known):
            await self._equip(name)
        self._live.fire()

    async def change_schedule(self, change: ev.ScheduleChange, body: bytes = b"") -> None:
        """Carry out one change; it is on disk when this returns. ``body`` is what is set."""
        graph, problem = None, ""
        if isinstance(change, ev.ScheduleSet):
            self._check(change.rule)
            graph = self._graph(definition.digest(body), definition.decode(body))
            problem = self._problem(graph.spec)
        elif isinstance(change, ev.ScheduleTriggered):
            await self._unused(change.run)
            await self._equip(change.schedule)
        await self._live.schedule(change, body, graph, problem)

    async def _equip(self, name: str) -> None:
        """Load what a schedule starts, and see whether it can start here."""
        one = self._driver.schedules.known.get(name)
        if one is not None:
            spec = await self._reader.definition(one.fact.definition)
            one.equip(self._graph(one.fact.definition, spec), self._problem(spec))

    def _check(self, rule: Rule) -> None:
        if rule.every:
            check_interval(rule)
        else:
            self._calendar.check(rule.cron, rule.zone, self._clock.now())

    def _problem(self, spec: WorkflowSpec) -> str:
        return "; ".join(self._missing(spec).values())

    # Looking.

    async def runs(self, *, unfinished: bool = False, limit: int | None = None) -> list[RunRow]:
        """Rows of the run list, newest first."""
        return await self._reader.runs(unfinished=unfinished, limit=limit)

    async def report(self, run: str) -> RunReport:
        """What a run came to so far. Raises RunNotFound."""
        return await self._reader.report(run)

    async def why(self, run: str) -> list[Reason]:
        """The reason of every open task of a run. Raises RunNotFound."""
        return await self._reader.why(run)

    async def story(self, run: str, task: str) -> list[Line]:
        """The facts that made a task what it is. Raises RunNotFound, NotFound."""
        return await self._reader.story(run, task)

    async def watch(self, run: str, after: int = 0) -> AsyncIterator[Fact]:
        """The facts of a run as they are committed, until it ends or needs somebody's help.

        Raises RunNotFound, StoreFailed.
        """
        await self._reader.row(run)
        while True:
            # Asked before reading: what becomes true meanwhile comes with facts of its own.
            commit = self._live.next_commit
            live = self._driver.runs.get(run)
            last = live is None or live.parked
            async for fact in self._reader.events(run, after):
                after = fact.seq
                yield fact
            if last:
                return
            if self._live.failed is not None:
                raise self._live.failed
            await commit.wait()

    @property
    def idle(self) -> bool:
        """Nothing moves, and nothing will without somebody's help or before a schedule's time."""
        due = self._driver.schedules.next_wake()
        waits = due is None or due > self._clock.now()
        return waits and all(live.parked for live in self._driver.runs.values())

    @property
    def failed(self) -> StoreFailed | None:
        """Why the journal takes nothing any more, if it broke. Open the home again then."""
        return self._live.failed

    @property
    def archive(self) -> Archive:
        """The journal, for reading."""
        return self._reader

    # Inside.

    async def _start(self) -> Hive:
        if self._runtime is not None:
            return self
        if self.home is not None:
            self.home.acquire()
        try:
            self._store = _open_store(self.home, owner=True)
            self._archive = Archive(self._store)
            told = [record async for record in self._store.read(ev.HIVE)]
            self._driver.load_hive(told)
            self._imported = imported(told)
            clock = self._clock.now
            self._runtime = EmbeddedRuntime(self._driver, self._store, self.agents, clock)
            self._runtime.start()
            if self._recover:
                await self.resume()
                await self.start_schedules()
            if self._door is not None:
                await self._door.open()
        except BaseException:
            await self.close()
            raise
        return self

    async def _submit(self, run: str, workflow: WorkflowSpec, given: JSONObject) -> None:
        workflow, inputs = _bound(workflow, given)
        missing = self._missing(workflow)
        if missing:
            raise AgentUnavailable("; ".join(missing.values()))
        body = definition.encode(workflow)
        name = definition.digest(body)
        graph = self._graph(name, workflow)
        event = ev.RunSubmitted(
            at=self._clock.now(), run=run, name=workflow.name, definition=name, inputs=inputs
        )
        await self._live.submit(event, graph, body)

    async def _free(self, run: str) -> str:
        """A run id that the caller chose, if it can be used."""
        if run == ev.HIVE or run.startswith(RESERVED) or not RUN_ID.fullmatch(run):
            raise DefinitionError(
                f"{run!r} cannot be a run id", hint="Use up to 128 letters, digits and - _ . :"
            )
        return await self._unused(run)

    async def _unused(self, run: str) -> str:
        if run in self._taken or run in self._driver.runs or await self._reader.last(run):
            raise Conflict(f"run {run} exists already")
        return run

    async def _untouched(self, run: str) -> bool:
        """Whether it came in open from a file, and nobody has asked for it to go on here."""
        events = self._imported.get(run)
        return events is not None and events == await self._reader.last(run)

    def _graph(self, name: str, workflow: WorkflowSpec) -> Graph:
        """Runs of one definition share a graph; the cache is dropped when it grows too large."""
        graph = self._graphs.get(name)
        if graph is None:
            if len(self._graphs) >= 100:
                self._graphs.clear()
            graph = self._graphs[name] = Graph(workflow)
        return graph

    def _missing(self, workflow: WorkflowSpec) -> dict[str, str]:
        """Agents that nobody has, each with what to do about it."""
        found: dict[str, str] = {}
        for agent in agents_of(workflow):
            try:
                self.agents.find(agent)
            except AgentUnavailable as error:
                found[agent.name] = f"{error.message}. {error.hint}".strip()
        return found

    @property
    def _live(self) -> EmbeddedRuntime:
        if self._runtime is None:
            raise ConfigurationError(
                "the hive is not open", hint="Use `async with Hive.open(...)`."
            )
        return self._runtime

    @property
    def _stored(self) -> Store:
        if self._store is None:
            raise ConfigurationError(
                "the hive is not open", hint="Use `async with Hive.open(...)`."
            )
        return self._store

    @property
    def _reader(self) -> Archive:
        if self._archive is None:
            raise ConfigurationError(
                "the hive is not open", hint="Use `async with Hive.open(...)`."
            )
        return self._archive


@asynccontextmanager
async def reading(home: Path) -> AsyncIterator[Archive]:
    """The journal of a home for reading only, beside whoever owns it; empty if there is none.

    Makes nothing on disk. Raises StoreUnavailable or StoreFailed if it cannot be opened.
    """
    found = Home(home)
    found.check()
    store = _open_store(found if found.journal.exists() else None, owner=False)
    try:
        yield Archive(store)
    finally:
        await store.close()


def _bound(workflow: WorkflowSpec, given: JSONObject) -> tuple[WorkflowSpec, JSONObject]:
    """The workflow with its inputs checked and filled in, and the inputs."""
    inputs = check_inputs(workflow, given)
    return (bind_inputs(workflow, inputs) if inputs else workflow), inputs


def _plain(said: str) -> str:
    """Never text that a journal cannot hold, such as half of a surrogate pair."""
    return said.encode(errors="backslashreplace").decode()


def _arrival(file: Path, now: Micros) -> Arrival:
    with file.open("rb") as lines:
        return arrival(lines, now)


def _open_store(home: Home | None, *, owner: bool) -> Store:
    if home is None:
        return MemoryStore()
    from agenthive.stores.sqlite import SqliteStore

    return SqliteStore.open(home.journal, room=owner)
