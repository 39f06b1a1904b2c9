"""Migrations: an open run continues under a changed workflow."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from agenthive.core.graph.graph import Graph
from agenthive.core.history import blobs, migration
from agenthive.core.history.migration import Migration, MigrationCheck
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Record
from agenthive.core.model import definition
from agenthive.core.model.states import CLOSED, RunStatus
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.core.values import JSONObject
from agenthive.errors import Conflict
from agenthive.hive.recovery import RunRecovery
from agenthive.hive.requests import HiveRequests, KeepAnswer
from agenthive.hive.resources import HiveResources, digest_of, plain_text
from agenthive.hive.run_definitions import build_graph, load_inputs
from agenthive.queries.journal_reader import JournalReader


class MigrationPreview(msgspec.Struct, frozen=True, kw_only=True):
    """A run and the workflow it would continue under."""

    #: All records of the run, with their chain checked.
    records: list[Record]
    migration: Migration
    #: The graph of the changed workflow, with the inputs of the run filled in.
    graph: Graph
    #: The encoded definition of that graph.
    body: bytes


class HiveMigrations:
    """Migrates the open runs of a hive.

    if (await hive.migrations.check(run, workflow)).verdict != "stay":
        await hive.migrations.migrate(run, workflow)
    """

    def __init__(
        self, resources: HiveResources, requests: HiveRequests, recovery: RunRecovery
    ) -> None:
        self._resources, self._requests = resources, requests
        self._recovery = recovery

    async def check(
        self, run: str, workflow: WorkflowSpec, *, renamed: Mapping[str, str] | None = None
    ) -> Migration:
        """What `migrate` would change; changes nothing. Parameters and errors as in `migrate`."""
        return (await preview_migration(self._resources.journal, run, workflow, renamed)).migration

    async def migrate(
        self,
        run: str,
        workflow: WorkflowSpec,
        *,
        renamed: Mapping[str, str] | None = None,
        actor: str = "local",
        request_id: str | None = None,
    ) -> Migration:
        """Continue an open run under a changed workflow; what that changed. It is on disk then.

        ``renamed`` (old name -> new name) declares renamed tasks, which a comparison of the two
        workflows cannot find. Raises RunNotFound, ConfigurationError if the run's inputs do not
        fit, AgentUnavailable, and Conflict if the run must stay pinned to its workflow, has calls
        under way, or has changed meanwhile.
        """
        arguments: JSONObject = {
            "run": run,
            "workflow": digest_of(workflow),
            "renamed": dict(renamed or {}),
            "actor": actor,
        }
        return await self._requests.execute_once(
            request_id,
            "migrate",
            arguments,
            lambda keep: self._migrate_run(run, workflow, renamed, actor, keep),
            Migration,
        )

    async def _migrate_run(
        self,
        run: str,
        workflow: WorkflowSpec,
        renamed: Mapping[str, str] | None,
        actor: str,
        keep: KeepAnswer,
    ) -> Migration:
        journal = self._resources.journal
        preview = await preview_migration(journal, run, workflow, renamed)
        _reject_pinned(preview.migration)
        missing = self._resources.find_missing_agents(preview.graph.spec)
        state = migration.replay_under_graph(
            preview.graph, preview.records, preview.migration.renamed
        )
        blobs.fill_state(state, await journal.read_blobs(blobs.list_pending(state)))
        event = ev.RunMigrated(
            at=0,
            definition=definition.compute_digest(preview.body),
            renamed=preview.migration.renamed,
            actor=plain_text(actor),
        )
        driver = self._resources.driver
        if run not in driver.runs:
            # No task starts in between: the event loop gets no turn before the change is applied.
            await self._recovery.resume([run])
        await self._resources.runtime.commit_request(
            lambda now, token: driver.migrate_run(now, event, state, missing, preview.body, token),
            keep(preview.migration),
        )
        return preview.migration


async def preview_migration(
    journal: JournalReader,
    run: str,
    workflow: WorkflowSpec,
    renamed: Mapping[str, str] | None = None,
) -> MigrationPreview:
    """What a migration of a run would change. Only reads.

    Raises RunNotFound, Conflict if the run has ended, ConfigurationError.
    """
    row = await journal.read_row(run)
    if RunStatus(row.status) in CLOSED:
        hint = "`agenthive fork` repeats it from a task on, as a new run."
        raise Conflict(f"run {run} has ended already: {row.status}", hint=hint)
    records = await journal.read_records(run)
    old = await journal.load_graph(records)
    graph, body = build_graph(workflow, await load_inputs(journal, records))
    result = migration.examine_run(old, graph, records, renamed)
    return MigrationPreview(records=records, migration=result, graph=graph, body=body)


def _reject_pinned(result: Migration) -> None:
    if result.verdict is MigrationCheck.STAY:
        blocking = [change for change in result.changes if change.verdict is MigrationCheck.STAY]
        reasons = "; ".join(
            f"{change.task or 'the run'} {change.what}: {change.reason}" for change in blocking
        )
        raise Conflict(f"the run must stay pinned: {reasons}")
