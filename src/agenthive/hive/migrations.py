"""Going on with a run under a changed workflow, and doing a run again from one task on."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from agenthive.core.graph.graph import Graph
from agenthive.core.history import blobs, migration
from agenthive.core.history import fork as forking
from agenthive.core.history.migration import Migration, MigrationCheck
from agenthive.core.history.replay import find_submission
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Record
from agenthive.core.model import definition
from agenthive.core.model.states import CLOSED, RunStatus
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.core.values import JSONObject
from agenthive.errors import AgentUnavailable, Conflict
from agenthive.hive.resources import HiveResources, bind_workflow, plain_text
from agenthive.infra.ids import uuid7
from agenthive.queries.journal_reader import JournalReader


class MigrationPreview(msgspec.Struct, frozen=True, kw_only=True):
    """A run beside a changed workflow: what becomes of it there."""

    records: list[Record]
    migration: Migration
    graph: Graph
    body: bytes


class HiveMigrations(HiveResources):
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
        preview = await preview_migration(self._active_journal, run, workflow, renamed)
        _reject_pinned(preview.migration)
        missing = self._find_missing_agents(preview.graph.spec)
        state = migration.replay_under_graph(
            preview.graph, preview.records, preview.migration.renamed
        )
        blobs.fill_state(state, await self._active_journal.read_blobs(blobs.list_pending(state)))
        event = ev.RunMigrated(
            at=0,
            definition=definition.compute_digest(preview.body),
            renamed=preview.migration.renamed,
            actor=plain_text(actor),
        )
        driver = self._driver
        if run not in driver.runs:
            # Nothing starts in between: the loop gets no turn before the change is in.
            await self.resume([run])
        await self._active_runtime.commit_request(
            lambda now, token: driver.migrate_run(now, event, state, missing, preview.body, token)
        )
        return preview.migration

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
        fork = uuid7() if id is None else await self._check_run_id(id)
        plan, graph, body, inputs = await plan_fork(self._active_journal, run, task, workflow)
        if plan.again and not again:
            raise Conflict(
                f"this would act again: {', '.join(plan.again)}",
                hint="If it is meant to, say so with --again.",
            )
        missing = self._find_missing_agents(graph.spec)
        if missing:
            raise AgentUnavailable("; ".join(missing.values()))
        submitted = find_submission(await self._active_journal.read_records(run))
        event = ev.RunSubmitted(
            at=self._clock.now(),
            run=fork,
            name=graph.spec.name,
            definition=definition.compute_digest(body),
            inputs=inputs,
            tenant=submitted.tenant,
            owner=submitted.owner,
            fork=plan.fork,
        )
        await self._active_runtime.submit(event, graph, body)
        return fork


async def preview_migration(
    journal: JournalReader,
    run: str,
    workflow: WorkflowSpec,
    renamed: Mapping[str, str] | None = None,
) -> MigrationPreview:
    """What would become of a run under a changed workflow. Only reads.

    Raises RunNotFound, Conflict if the run has ended, ConfigurationError.
    """
    row = await journal.read_row(run)
    if RunStatus(row.status) in CLOSED:
        hint = "`agenthive fork` does it again from a task on."
        raise Conflict(f"run {run} has ended already: {row.status}", hint=hint)
    records = await journal.read_records(run)
    old = await journal.load_graph(records)
    graph, body = _build_graph(workflow, await _load_inputs(journal, records))
    result = migration.examine_run(old, graph, records, renamed)
    return MigrationPreview(records=records, migration=result, graph=graph, body=body)


async def plan_fork(
    journal: JournalReader, run: str, task: str, workflow: WorkflowSpec | None = None
) -> tuple[forking.ForkPlan, Graph, bytes, JSONObject]:
    """What a fork would take over and do again, with its graph, definition and inputs. Only reads.

    Raises RunNotFound, NotFound, ConfigurationError.
    """
    records = await journal.read_records(run)
    old = await journal.load_graph(records)
    inputs = await _load_inputs(journal, records)
    contents = await journal.read_blobs(blobs.list_references(records))
    graph, body = (
        (old, definition.encode(old.spec)) if workflow is None else _build_graph(workflow, inputs)
    )
    return forking.build_plan(old, graph, records, contents, task), graph, body, inputs


def _build_graph(workflow: WorkflowSpec, inputs: JSONObject) -> tuple[Graph, bytes]:
    """The graph of a run with these inputs, as it will come back from the journal."""
    body = definition.encode(bind_workflow(workflow, inputs)[0])
    return Graph(definition.decode(body)), body


async def _load_inputs(journal: JournalReader, records: list[Record]) -> JSONObject:
    first = find_submission(records)
    if first.blob is None:
        return first.inputs
    event = blobs.fill_event(first, await journal.read_blobs([first.blob]))
    assert isinstance(event, ev.RunSubmitted)
    return event.inputs


def _reject_pinned(result: Migration) -> None:
    if result.verdict is MigrationCheck.STAY:
        blocking = [change for change in result.changes if change.verdict is MigrationCheck.STAY]
        reasons = "; ".join(
            f"{change.task or 'the run'} {change.what}: {change.reason}" for change in blocking
        )
        raise Conflict(f"the run must stay pinned: {reasons}")
