"""Going on with a run under a changed workflow, and doing a run again from one task on."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from agenthive.core.graph.graph import Graph
from agenthive.core.history import blobs, migration
from agenthive.core.history import fork as forking
from agenthive.core.history.migration import Migration, Verdict
from agenthive.core.history.replay import submission
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Record
from agenthive.core.model import definition
from agenthive.core.model.states import CLOSED, RunStatus
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.core.values import JSONObject
from agenthive.errors import AgentUnavailable, Conflict
from agenthive.hive.resources import Opened, bound, plain
from agenthive.infra.ids import uuid7
from agenthive.queries.journal_reader import Archive


class Examined(msgspec.Struct, frozen=True, kw_only=True):
    """A run beside a changed workflow: what becomes of it there."""

    records: list[Record]
    migration: Migration
    graph: Graph
    body: bytes


class Changing(Opened):
    """Both are on disk when they return."""

    async def migrate(
        self,
        run: str,
        workflow: WorkflowSpec,
        *,
        renamed: Mapping[str, str] | None = None,
        actor: str = "local",
    ) -> Migration:
        """Let an open run go on under a changed workflow; what that changed.

        ``renamed`` (old name -> new name) says what cannot be seen. Raises RunNotFound,
        ConfigurationError if the run's inputs do not fit, AgentUnavailable, and Conflict if the run
        must stay pinned, has calls under way, or has moved on meanwhile.
        """
        found = await examine(self._reader, run, workflow, renamed)
        _refuse(found.migration)
        missing = self._missing(found.graph.spec)
        state = migration.moved(found.graph, found.records, found.migration.renamed)
        blobs.fill(state, await self._reader.contents(blobs.wanted(state)))
        event = ev.RunMigrated(
            at=0,
            definition=definition.digest(found.body),
            renamed=found.migration.renamed,
            actor=plain(actor),
        )
        driver = self._driver
        if run not in driver.runs:
            # Nothing starts in between: the loop gets no turn before the change is in.
            await self.resume([run])
        await self._live.ask(
            lambda now, token: driver.migrate(now, event, state, missing, found.body, token)
        )
        return found.migration

    async def fork(
        self,
        run: str,
        task: str,
        workflow: WorkflowSpec | None = None,
        *,
        id: str | None = None,
        again: bool = False,
    ) -> str:
        """Do a run again from ``task`` on, as a run of its own; its id.

        What has succeeded and does not depend on that task is taken over. ``workflow`` is a changed
        one to do it under. Tasks that must act once and may have acted in the old run act again
        only if ``again``. Raises RunNotFound, NotFound, Conflict, ConfigurationError,
        AgentUnavailable.
        """
        fork = uuid7() if id is None else await self._free(id)
        planned, graph, body, inputs = await plan_fork(self._reader, run, task, workflow)
        if planned.again and not again:
            raise Conflict(
                f"this would act again: {', '.join(planned.again)}",
                hint="If it is meant to, say so with --again.",
            )
        missing = self._missing(graph.spec)
        if missing:
            raise AgentUnavailable("; ".join(missing.values()))
        first = submission(await self._reader.records(run))
        event = ev.RunSubmitted(
            at=self._clock.now(),
            run=fork,
            name=graph.spec.name,
            definition=definition.digest(body),
            inputs=inputs,
            tenant=first.tenant,
            owner=first.owner,
            fork=planned.fork,
        )
        await self._live.submit(event, graph, body)
        return fork


async def examine(
    archive: Archive, run: str, workflow: WorkflowSpec, renamed: Mapping[str, str] | None = None
) -> Examined:
    """What would become of a run under a changed workflow. Only reads.

    Raises RunNotFound, Conflict if the run has ended, ConfigurationError.
    """
    row = await archive.row(run)
    if RunStatus(row.status) in CLOSED:
        hint = "`agenthive fork` does it again from a task on."
        raise Conflict(f"run {run} has ended already: {row.status}", hint=hint)
    records = await archive.records(run)
    old = await archive.graph(records)
    graph, body = _graph(workflow, await _inputs(archive, records))
    found = migration.examine(old, graph, records, renamed)
    return Examined(records=records, migration=found, graph=graph, body=body)


async def plan_fork(
    archive: Archive, run: str, task: str, workflow: WorkflowSpec | None = None
) -> tuple[forking.Plan, Graph, bytes, JSONObject]:
    """What a fork would take over and do again, with its graph, definition and inputs. Only reads.

    Raises RunNotFound, NotFound, ConfigurationError.
    """
    records = await archive.records(run)
    old = await archive.graph(records)
    inputs = await _inputs(archive, records)
    contents = await archive.contents(blobs.mentioned(records))
    graph, body = (
        (old, definition.encode(old.spec)) if workflow is None else _graph(workflow, inputs)
    )
    return forking.plan(old, graph, records, contents, task), graph, body, inputs


def _graph(workflow: WorkflowSpec, inputs: JSONObject) -> tuple[Graph, bytes]:
    """The graph of a run with these inputs, as it will come back from the journal."""
    body = definition.encode(bound(workflow, inputs)[0])
    return Graph(definition.decode(body)), body


async def _inputs(archive: Archive, records: list[Record]) -> JSONObject:
    first = submission(records)
    if first.blob is None:
        return first.inputs
    found = blobs.filled(first, await archive.contents([first.blob]))
    assert isinstance(found, ev.RunSubmitted)
    return found.inputs


def _refuse(found: Migration) -> None:
    if found.verdict is Verdict.STAY:
        bad = [one for one in found.changes if one.verdict is Verdict.STAY]
        told = "; ".join(f"{one.task or 'the run'} {one.what}: {one.reason}" for one in bad)
        raise Conflict(f"the run must stay pinned: {told}")
