"""The graph of an existing run under another workflow, with the inputs that the run has."""

from __future__ import annotations

from agenthive.core.graph.graph import Graph
from agenthive.core.history import blobs
from agenthive.core.history.replay import find_submission
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Record
from agenthive.core.model import definition
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.core.values import JSONObject
from agenthive.hive.resources import bind_workflow
from agenthive.queries.journal_reader import JournalReader


def build_graph(workflow: WorkflowSpec, inputs: JSONObject) -> tuple[Graph, bytes]:
    """The graph of a run with these inputs, and the encoded definition.

    The definition is decoded again, so that the graph is the one a later replay builds. Raises
    ConfigurationError if the inputs do not fit the workflow.
    """
    body = definition.encode(bind_workflow(workflow, inputs)[0])
    return Graph(definition.decode(body)), body


async def load_inputs(journal: JournalReader, records: list[Record]) -> JSONObject:
    """The inputs that a run was submitted with; large ones are in a blob."""
    submitted = find_submission(records)
    if submitted.blob is None:
        return submitted.inputs
    event = blobs.fill_event(submitted, await journal.read_blobs([submitted.blob]))
    assert isinstance(event, ev.RunSubmitted)
    return event.inputs
