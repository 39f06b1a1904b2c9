"""Snapshots: the state of a run as bytes, so that a long history need not be replayed whole.

Every so often a record's ``cause`` names a blob that holds the state after it; the record's hash
covers that name, so that the chain guards snapshots too. A snapshot is a short cut, nothing more:
one that is missing, or of another version, is passed over. Large results stay the blobs they are. A
new field of `RunState` or `FlowState` belongs in `_FrozenRun` or `_FrozenFlow` (a test looks), and
`SNAPSHOT_FORMAT` goes up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from agenthive.core.budget.holds import Hold
from agenthive.core.graph.graph import Graph
from agenthive.core.graph.nodes import Node
from agenthive.core.history import blobs
from agenthive.core.history.replay import apply_records, list_migrations, replay
from agenthive.core.journal.hash_chain import RULES
from agenthive.core.journal.records import Batch, Blob, Record
from agenthive.core.journal.run_events import Parent
from agenthive.core.machine.flow_state import (
    Approval,
    FlowState,
    Iterations,
    MappedItems,
    ModelTurns,
)
from agenthive.core.machine.run_state import INPUTS, RunState
from agenthive.core.model.calls import Fault
from agenthive.core.model.states import RunStatus, TaskState
from agenthive.core.policies.loop_detection import Trajectory
from agenthive.core.values import JSONValue, Micros, NanoUSD

SNAPSHOT_FORMAT: Final = 3
SNAPSHOT_INTERVAL: Final = 10_000
"""Facts after which a run is due for its next snapshot, or as many as it has tasks, if more."""
WHOLE_VALUE: Final = -1
"""Where in a value that is which is large as a whole."""
CAUSE_PREFIX: Final = "snapshot:"
"""What the cause of a record begins with that has one."""


class _GrownNode(msgspec.Struct, frozen=True, array_like=True):
    """A node that was made from a pattern of ``owner``'s: inner, undo, reconcile.

    Or one of its voices or tools, by their number.
    """

    owner: int
    pattern: str
    key: str
    number: int = 0


class _FrozenFlow(msgspec.Struct, frozen=True, array_like=True):
    """`FlowState`, field by field."""

    position: dict[int, int]
    each: dict[int, MappedItems]
    rounds: dict[int, Iterations]
    turns: dict[int, ModelTurns]
    path: Trajectory
    approvals: dict[int, Approval]
    approved: dict[int, str]
    received: dict[int, JSONValue]
    passed: dict[int, JSONValue]
    kept: dict[str, list[JSONValue]]
    listening: dict[str, list[int]]
    seen: list[str]
    repaired: list[int]
    children: dict[int, str]
    waiting_children: dict[int, str]
    questions: dict[int, int]
    reconciling: dict[int, int]
    timed: int
    moving: int


class _FrozenRun(msgspec.Struct, frozen=True, array_like=True):
    """`RunState`, field by field, without what follows from the rest."""

    format: int
    rules: int
    definition: str
    states: list[str]
    state: list[int]
    pending: list[int]
    readers: list[int]
    attempts: list[int]
    since: list[Micros]
    grown: list[_GrownNode]
    run: str
    name: str
    tenant: str
    owner: str
    status: RunStatus
    created: Micros
    started: Micros
    finished: Micros | None
    last_at: Micros
    away: Micros
    parked: Micros | None
    seq: int
    broken: list[int]
    results: dict[int, JSONValue]
    apart: dict[int, dict[int, Blob]]
    faults: dict[int, Fault]
    wake_at: dict[int, Micros]
    losses: dict[int, int]
    blocked: dict[int, tuple[str, str]]
    unpaid: list[tuple[int, int]]
    holds: list[tuple[int, int, Hold]]
    lacks: dict[int, tuple[str, NanoUSD]]
    open: int
    hard_failures: int
    cancelling: bool
    stopping: bool
    timed_out: bool
    ended: list[int]
    to_undo: list[int]
    undoing: int | None
    undo_failures: int
    extra: int
    refusals: int
    progress: dict[int, JSONValue]
    flow: _FrozenFlow | None
    parent: Parent | None


_COPIED_FIELDS: Final = tuple(
    name
    for name in _FrozenRun.__struct_fields__
    if name in RunState.__slots__
    and name not in ("state", "broken", "results", "unpaid", "holds", "flow", "inputs")
)
_COPIED_FLOW_FIELDS: Final = tuple(
    name for name in _FrozenFlow.__struct_fields__ if name not in ("listening", "seen", "repaired")
)
_decode = msgspec.json.Decoder(_FrozenRun)


def is_due(state: RunState, every: int) -> bool:
    """Whether it is time for a snapshot."""
    since = state.seq - state.snapshot
    return since >= every and since >= len(state.state)


def freeze_state(state: RunState, batch: Batch) -> str:
    """Put a snapshot into the batch; what the record after which it holds says as its cause."""
    results: dict[int, JSONValue] = {}
    apart: dict[int, dict[int, Blob]] = {}
    for task, result in {INPUTS: state.inputs, **state.results}.items():
        results[task], large_parts = _extract_large_parts(result, state.run, batch)
        if large_parts:
            apart[task] = large_parts
    names = {kind: i for i, kind in enumerate(TaskState)}
    frozen = _FrozenRun(
        format=SNAPSHOT_FORMAT,
        rules=RULES,
        states=[str(kind) for kind in names],
        state=[names[kind] for kind in state.state],
        grown=_list_grown_nodes(state.graph),
        broken=sorted(state.broken),
        results=results,
        apart=apart,
        unpaid=sorted(state.unpaid),
        holds=[(task, attempt, hold) for (task, attempt), hold in state.holds.items()],
        flow=None if state.flow is None else _freeze_flow(state.flow),
        **{name: getattr(state, name) for name in _COPIED_FIELDS},
    )
    body = msgspec.json.encode(frozen)
    name = _store_blob(state.run, body, batch)
    state.snapshot = state.seq
    return f"{CAUSE_PREFIX}{name.digest}:{name.size}"


def _store_blob(run: str, body: bytes, batch: Batch) -> Blob:
    blob = Blob(digest=blobs.digest(body), size=len(body))
    batch.blobs.append((blob.digest, body))
    batch.uses.append((run, blob.digest))
    return blob


def _extract_large_parts(
    result: JSONValue, run: str, batch: Batch
) -> tuple[JSONValue, dict[int, Blob]]:
    """A value without its large parts, and those: items of a list by position, or `WHOLE_VALUE`."""
    if not isinstance(result, str | list | dict):
        return result, {}
    body = msgspec.json.encode(result)
    if len(body) <= blobs.LARGE_BYTES:
        return result, {}
    if not isinstance(result, list):
        return None, {WHOLE_VALUE: _store_blob(run, body, batch)}
    small, large = list(result), dict[int, Blob]()
    for position, element in enumerate(result):
        encoded = msgspec.json.encode(element)
        if len(encoded) > blobs.LARGE_BYTES:
            small[position], large[position] = None, _store_blob(run, encoded, batch)
    return small, large


def _list_grown_nodes(graph: Graph) -> list[_GrownNode]:
    grown_nodes = []
    for index in range(graph.static, len(graph.nodes)):
        owner = graph.owner[index - graph.static]
        pattern, number = _pattern_of(graph.nodes[index], graph.nodes[owner])
        grown_nodes.append(_GrownNode(owner, pattern, graph.keys[index], number))
    return grown_nodes


def _pattern_of(node: Node, owner: Node) -> tuple[str, int]:
    for pattern in ("voices", "tools"):
        for number, candidate in enumerate(getattr(owner, pattern)):
            if node is candidate:
                return pattern, number
    pattern = "inner" if node is owner.inner else "undo"
    return ("reconcile" if node is owner.reconcile else pattern), 0


def _freeze_flow(flow: FlowState) -> _FrozenFlow:
    return _FrozenFlow(
        listening={name: list(tasks) for name, tasks in flow.listening.items()},
        seen=list(flow.seen),
        repaired=sorted(flow.repaired),
        **{name: getattr(flow, name) for name in _COPIED_FLOW_FIELDS},
    )


def find_reference(record: Record) -> Blob | None:
    """The snapshot of the state after a record."""
    digest, _, size = record.cause.removeprefix(CAUSE_PREFIX).partition(":")
    if not record.cause.startswith(CAUSE_PREFIX) or not size.isdecimal():
        return None
    return Blob(digest=digest, size=int(size))


class Snapshot:
    """One that can be used; `thaw` once."""

    def __init__(self, frozen: _FrozenRun) -> None:
        self._frozen = frozen

    @property
    def definition(self) -> str:
        """The digest of the definition that the run had."""
        return self._frozen.definition

    def thaw(self, graph: Graph) -> RunState:
        """The state of a run of that definition; large results are references, to be filled in."""
        frozen = self._frozen
        state = RunState(graph)
        for name in _COPIED_FIELDS:
            setattr(state, name, getattr(frozen, name))
        kinds = [TaskState(name) for name in frozen.states]
        state.state = [kinds[i] for i in frozen.state]
        state.counts = {kind: state.state.count(kind) for kind in TaskState}
        state.broken, state.unpaid = set(frozen.broken), set(frozen.unpaid)
        state.holds = {(task, attempt): hold for task, attempt, hold in frozen.holds}
        state.results = frozen.results
        for task, references in frozen.apart.items():
            for position, blob in references.items():
                _place_reference(state.results, task, position, blob)
                state.blobs[task] = blob
        inputs = state.results.pop(INPUTS)
        state.inputs = inputs if isinstance(inputs, dict) else {}
        state.snapshot = state.seq
        state.flow = None if frozen.flow is None else _thaw_flow(frozen.flow)
        if frozen.grown:
            state.graph = _regrow_graph(graph.ensure_growable(), frozen.grown)
        return state


def decode_snapshot(body: bytes) -> Snapshot | None:
    """A snapshot, if this version can use it."""
    try:
        frozen = _decode.decode(body)
    except msgspec.DecodeError:
        return None
    return Snapshot(frozen) if (frozen.format, frozen.rules) == (SNAPSHOT_FORMAT, RULES) else None


def _place_reference(results: dict[int, JSONValue], task: int, position: int, blob: Blob) -> None:
    """As a replay has it: a reference stands for what is to be filled in."""
    result = results[task]
    if position == WHOLE_VALUE or not isinstance(result, list):
        results[task] = blob  # type: ignore[assignment]
    else:
        result[position] = blob  # type: ignore[call-overload]


def find_latest(
    records: Sequence[Record], contents: Mapping[str, bytes]
) -> tuple[Snapshot, Sequence[Record]] | None:
    """The last snapshot among the records of a run, if it can be used, and the records after it."""
    for position in reversed(range(len(records))):
        blob = find_reference(records[position])
        if blob is not None:
            snapshot, later_records = (
                decode_snapshot(contents.get(blob.digest, b"")),
                records[position + 1 :],
            )
            return (
                None
                if snapshot is None or list_migrations(later_records)
                else (snapshot, later_records)
            )
    return None


def restore_state(
    graph: Graph, records: Sequence[Record], contents: Mapping[str, bytes]
) -> RunState:
    """As `replay`, from the last snapshot on if there is one."""
    starting_point = find_latest(records, contents)
    if starting_point is None:
        return replay(graph, records, contents)
    state = starting_point[0].thaw(graph)
    apply_records(state, starting_point[1])
    blobs.fill_state(state, contents)
    return state


def _thaw_flow(frozen: _FrozenFlow) -> FlowState:
    flow = FlowState()
    for name in _COPIED_FLOW_FIELDS:
        setattr(flow, name, getattr(frozen, name))
    flow.listening = {name: dict.fromkeys(tasks) for name, tasks in frozen.listening.items()}
    flow.seen, flow.repaired = dict.fromkeys(frozen.seen), set(frozen.repaired)
    return flow


def _regrow_graph(graph: Graph, grown: list[_GrownNode]) -> Graph:
    for grown_node in grown:
        template = getattr(graph.nodes[grown_node.owner], grown_node.pattern)
        pattern: Node | None = (
            template[grown_node.number] if isinstance(template, tuple) else template
        )
        assert pattern is not None
        if grown_node.pattern == "undo":
            pattern = msgspec.structs.replace(pattern, compensates=grown_node.owner)
            graph.compensations[grown_node.owner] = len(graph.nodes)
        graph.add_node(grown_node.owner, pattern, grown_node.key)
    return graph
