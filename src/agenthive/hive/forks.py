"""Forks: a new run that repeats an existing run from one task on."""

from __future__ import annotations

from agenthive.core.graph.graph import Graph
from agenthive.core.history import blobs
from agenthive.core.history import fork as forking
from agenthive.core.history.fork import ForkPlan
from agenthive.core.history.replay import find_submission
from agenthive.core.journal import run_events as ev
from agenthive.core.model import definition
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.core.values import JSONObject
from agenthive.errors import Conflict
from agenthive.hive.requests import HiveRequests, KeepAnswer
from agenthive.hive.resources import HiveResources, digest_of
from agenthive.hive.run_definitions import build_graph, load_inputs
from agenthive.infra.ids import uuid7
from agenthive.queries.journal_reader import JournalReader


class HiveForks:
    """Forks the runs of a hive.

    fork = await hive.forks.create(run, "summarize", changed_workflow)
    report = await hive.wait(fork)
    """

    def __init__(self, resources: HiveResources, requests: HiveRequests) -> None:
        self._resources, self._requests = resources, requests

    async def plan(self, run: str, task: str, workflow: WorkflowSpec | None = None) -> ForkPlan:
        """What `create` would reuse and repeat; changes nothing. Parameters as in `create`."""
        return (await plan_fork(self._resources.journal, run, task, workflow))[0]

    async def create(
        self,
        run: str,
        task: str,
        workflow: WorkflowSpec | None = None,
        *,
        id: str | None = None,
        again: bool = False,
        request_id: str | None = None,
    ) -> str:
        """Repeat a run from ``task`` on, as a new run; the id of the new run. It is on disk then.

        The fork reuses the results of the tasks that have succeeded and do not depend on ``task``.
        ``workflow`` is a changed workflow to run it under, ``id`` the id of the new run. A task
        with ``effect: once`` that may have acted in the old run is repeated only with ``again``.
        Called again with the same ``request_id``, it makes no second fork and returns the id of the
        first. Raises RunNotFound, NotFound, Conflict, ConfigurationError, AgentUnavailable.
        """
        arguments: JSONObject = {
            "run": run,
            "task": task,
            "workflow": digest_of(workflow) if request_id is not None else None,
            "id": id,
            "again": again,
        }
        return await self._requests.execute_once(
            request_id,
            "fork",
            arguments,
            lambda keep: self._create_fork(run, task, workflow, id, again=again, keep=keep),
            str,
        )

    async def _create_fork(
        self,
        run: str,
        task: str,
        workflow: WorkflowSpec | None,
        id: str | None,
        *,
        again: bool,
        keep: KeepAnswer,
    ) -> str:
        journal = self._resources.journal
        fork_id = uuid7() if id is None else await self._resources.check_run_id(id)
        plan, graph, body, inputs = await plan_fork(journal, run, task, workflow)
        if plan.again and not again:
            raise Conflict(
                f"this would act again: {', '.join(plan.again)}",
                hint="If it is meant to, confirm it with --again.",
            )
        self._resources.require_agents(graph.spec)
        submitted = find_submission(await journal.read_records(run))
        event = ev.RunSubmitted(
            at=self._resources.clock.now(),
            run=fork_id,
            name=graph.spec.name,
            definition=definition.compute_digest(body),
            inputs=inputs,
            tenant=submitted.tenant,
            owner=submitted.owner,
            fork=plan.fork,
        )
        await self._resources.runtime.submit(event, graph, body, keep(fork_id))
        return fork_id


async def plan_fork(
    journal: JournalReader, run: str, task: str, workflow: WorkflowSpec | None = None
) -> tuple[ForkPlan, Graph, bytes, JSONObject]:
    """What a fork would reuse and repeat, with its graph, definition and inputs. Only reads.

    Raises RunNotFound, NotFound, ConfigurationError.
    """
    records = await journal.read_records(run)
    old = await journal.load_graph(records)
    inputs = await load_inputs(journal, records)
    contents = await journal.read_blobs(blobs.list_references(records))
    graph, body = (
        (old, definition.encode(old.spec)) if workflow is None else build_graph(workflow, inputs)
    )
    return forking.build_plan(old, graph, records, contents, task), graph, body, inputs
