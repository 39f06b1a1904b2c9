"""Snapshots: the state of a run as bytes, so that a long history need not be replayed as a whole.

From time to time the ``cause`` of a record names a blob that holds the state after that record
(`CAUSE_PREFIX`, digest, size). The hash of the record covers that name, so that the hash chain
covers snapshots too. A state is loaded by decoding the last snapshot and replaying the records
after it. A snapshot is only a short cut: one that is missing, has another format or other rules, or
was made before a migration is ignored, and the run is replayed from its first record.

Large results are not copied into a snapshot; it refers to their blobs. What follows from other
fields, such as the counts of states, is computed again.

Never here: the decision when a snapshot is written (`Driver`), or access to a store. To add a field
to `RunState` or `FlowState`: add it to `_FrozenRun` or `_FrozenFlow` (a test compares them), and
raise `SNAPSHOT_FORMAT`.
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
"""Snapshots of other formats are ignored."""
SNAPSHOT_INTERVAL: Final = 10_000
"""Events between two snapshots of a run; a run with more tasks waits for as many events."""
WHOLE_VALUE: Final = -1
"""The position of a value that is large as a whole, not one item of a list."""
CAUSE_PREFIX: Final = "snapshot:"
"""The beginning of the cause of a record that has a snapshot."""


class _GrownNode(msgspec.Struct, frozen=True, array_like=True):
    """A node that was added to the graph at run time, from a pattern of its owner."""

    #: Index of the node that has the pattern.
    owner: int
    #: Field of the owner: ``inner``, ``undo``, ``reconcile``, ``voices`` or ``tools``.
    pattern: str
    #: Key of the added task.
    key: str
    #: Position in ``voices`` or ``tools``.
    number: int = 0


class _FrozenFlow(msgspec.Struct, frozen=True, array_like=True):
    """`FlowState`, field by field; explained there."""

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
    """`RunState`, field by field, without what follows from other fields; explained there."""

    format: int
    rules: int
    definition: str
    #: Names of all task states; ``state`` has the position of the state of each task.
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
    #: Blobs of large results: by task, then by position in the list or `WHOLE_VALUE`.
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


class _FrozenRunOffClock(_FrozenRun, frozen=True, array_like=True):
    """`_FrozenRun` of a run during which the clock was set; else these fields are not written."""

    ahead: Micros = 0
    expiries: list[tuple[int, int, Micros]] = []


_COPIED_FIELDS: Final = tuple(
    name
    for name in _FrozenRun.__struct_fields__
    if name in RunState.__slots__
    and name not in ("state", "broken", "results", "unpaid", "holds", "flow", "inputs")
)
_COPIED_FLOW_FIELDS: Final = tuple(
    name for name in _FrozenFlow.__struct_fields__ if name not in ("listening", "seen", "repaired")
)
_decode = msgspec.json.Decoder(_FrozenRunOffClock)


def is_due(state: RunState, every: int) -> bool:
    """Whether a run is due for a snapshot, with one after ``every`` events."""
    since = state.seq - state.snapshot
    return since >= every and since >= len(state.state)


def freeze_state(state: RunState, batch: Batch) -> str:
    """Put a snapshot of the state into the batch; the cause for the last record of that state."""
    results: dict[int, JSONValue] = {}
    apart: dict[int, dict[int, Blob]] = {}
    for task, result in {INPUTS: state.inputs, **state.results}.items():
        results[task], large_parts = _extract_large_parts(result, state.run, batch)
        if large_parts:
            apart[task] = large_parts
    names = {kind: i for i, kind in enumerate(TaskState)}
    frozen = _FrozenRun(
        format=SNAPSHOT_FORMAT,
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
    if state.ahead or state.expiries:
        frozen = _FrozenRunOffClock(
            **msgspec.structs.asdict(frozen),
            ahead=state.ahead,
            expiries=[(*call, at) for call, at in state.expiries.items()],
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
    """A value without its large parts, and their blobs by position in a list or `WHOLE_VALUE`."""
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
    """The field of the owner that a node was made from, and the position in it."""
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
    """The snapshot of the state after a record; None if the record has none."""
    digest, _, size = record.cause.removeprefix(CAUSE_PREFIX).partition(":")
    if not record.cause.startswith(CAUSE_PREFIX) or not size.isdecimal():
        return None
    return Blob(digest=digest, size=int(size))


class Snapshot:
    """A decoded snapshot. `thaw` may be called once: the state takes over its values."""

    def __init__(self, frozen: _FrozenRunOffClock) -> None:
        self._frozen = frozen

    @property
    def definition(self) -> str:
        """The digest of the definition that the run was pinned to."""
        return self._frozen.definition

    def thaw(self, graph: Graph) -> RunState:
        """The state of the run; ``graph`` is of that definition, large results are references."""
        frozen = self._frozen
        state = RunState(graph, frozen.rules)
        for name in _COPIED_FIELDS:
            setattr(state, name, getattr(frozen, name))
        kinds = [TaskState(name) for name in frozen.states]
        state.state = [kinds[i] for i in frozen.state]
        state.counts = {kind: state.state.count(kind) for kind in TaskState}
        state.broken, state.unpaid = set(frozen.broken), set(frozen.unpaid)
        state.holds = {(task, attempt): hold for task, attempt, hold in frozen.holds}
        state.ahead = frozen.ahead
        state.expiries = {(task, attempt): at for task, attempt, at in frozen.expiries}
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
    is_known = frozen.format == SNAPSHOT_FORMAT and frozen.rules <= RULES
    return Snapshot(frozen) if is_known else None


def _place_reference(results: dict[int, JSONValue], task: int, position: int, blob: Blob) -> None:
    """Put a reference into a result, as a replay would: `blobs.fill_state` replaces it."""
    result = results[task]
    if position == WHOLE_VALUE or not isinstance(result, list):
        results[task] = blob  # type: ignore[assignment]
    else:
        result[position] = blob  # type: ignore[call-overload]


def find_latest(
    records: Sequence[Record], contents: Mapping[str, bytes]
) -> tuple[Snapshot, Sequence[Record]] | None:
    """The last snapshot of a run and the records after it; None if it cannot be used."""
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
    """As `replay`, but from the last snapshot on, if there is one. Raises StoreCorrupt."""
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
    """Add the nodes that the run had added to its graph, in the same order."""
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
