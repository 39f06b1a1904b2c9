"""Snapshots: the state of a run as bytes, so that a long history need not be replayed whole.

Every so often a record's ``cause`` names a blob that holds the state after it; the record's hash
covers that name, so that the chain guards snapshots too. A snapshot is a short cut, nothing more:
one that is missing, or of another version, is passed over. Large results stay the blobs they are.
A new field of `RunState` or `Flow` belongs in `_Frozen` or `_FrozenFlow` (a test looks), and
`FORMAT` goes up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from agenthive.core.budget.holds import Hold
from agenthive.core.graph.graph import Graph
from agenthive.core.graph.nodes import Node
from agenthive.core.history import blobs
from agenthive.core.history.replay import go_on, migrated, replay
from agenthive.core.journal.hash_chain import RULES
from agenthive.core.journal.records import Batch, Blob, Record
from agenthive.core.journal.run_events import Parent
from agenthive.core.machine.flow_state import Approval, Each, Flow, Rounds, Turns
from agenthive.core.machine.run_state import INPUTS, RunState
from agenthive.core.model.calls import Fault
from agenthive.core.model.states import RunStatus, TaskState
from agenthive.core.policies.loop_detection import Trajectory
from agenthive.core.values import JSONValue, Micros, NanoUSD

FORMAT: Final = 3
EVERY: Final = 10_000
"""Facts after which a run is due for its next snapshot, or as many as it has tasks, if more."""
WHOLE: Final = -1
"""Where in a value that is which is large as a whole."""
MARK: Final = "snapshot:"
"""What the cause of a record begins with that has one."""


class _Grown(msgspec.Struct, frozen=True, array_like=True):
    """A node that was made from a pattern of ``owner``'s: inner, undo, reconcile.

    Or one of its voices or tools, by their number.
    """

    owner: int
    pattern: str
    key: str
    number: int = 0


class _FrozenFlow(msgspec.Struct, frozen=True, array_like=True):
    """`Flow`, field by field."""

    position: dict[int, int]
    each: dict[int, Each]
    rounds: dict[int, Rounds]
    turns: dict[int, Turns]
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


class _Frozen(msgspec.Struct, frozen=True, array_like=True):
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
    grown: list[_Grown]
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


_AS_IT_IS: Final = tuple(
    name
    for name in _Frozen.__struct_fields__
    if name in RunState.__slots__
    and name not in ("state", "broken", "results", "unpaid", "holds", "flow", "inputs")
)
_FLOW_AS_IT_IS: Final = tuple(
    name for name in _FrozenFlow.__struct_fields__ if name not in ("listening", "seen", "repaired")
)
_decode = msgspec.json.Decoder(_Frozen)


def due(state: RunState, every: int) -> bool:
    """Whether it is time for a snapshot."""
    since = state.seq - state.snapshot
    return since >= every and since >= len(state.state)


def freeze(state: RunState, batch: Batch) -> str:
    """Put a snapshot into the batch; what the record after which it holds says as its cause."""
    results: dict[int, JSONValue] = {}
    apart: dict[int, dict[int, Blob]] = {}
    for task, result in {INPUTS: state.inputs, **state.results}.items():
        results[task], found = _lifted(result, state.run, batch)
        if found:
            apart[task] = found
    names = {kind: i for i, kind in enumerate(TaskState)}
    frozen = _Frozen(
        format=FORMAT,
        rules=RULES,
        states=[str(kind) for kind in names],
        state=[names[kind] for kind in state.state],
        grown=_grown(state.graph),
        broken=sorted(state.broken),
        results=results,
        apart=apart,
        unpaid=sorted(state.unpaid),
        holds=[(task, attempt, hold) for (task, attempt), hold in state.holds.items()],
        flow=None if state.flow is None else _frozen_flow(state.flow),
        **{name: getattr(state, name) for name in _AS_IT_IS},
    )
    body = msgspec.json.encode(frozen)
    name = _keep(state.run, body, batch)
    state.snapshot = state.seq
    return f"{MARK}{name.digest}:{name.size}"


def _keep(run: str, body: bytes, batch: Batch) -> Blob:
    blob = Blob(digest=blobs.digest(body), size=len(body))
    batch.blobs.append((blob.digest, body))
    batch.uses.append((run, blob.digest))
    return blob


def _lifted(result: JSONValue, run: str, batch: Batch) -> tuple[JSONValue, dict[int, Blob]]:
    """A value without what is large in it, and that: items of a list by position, or `WHOLE`."""
    if not isinstance(result, str | list | dict):
        return result, {}
    body = msgspec.json.encode(result)
    if len(body) <= blobs.LARGE:
        return result, {}
    if not isinstance(result, list):
        return None, {WHOLE: _keep(run, body, batch)}
    small, large = list(result), dict[int, Blob]()
    for at, one in enumerate(result):
        item = msgspec.json.encode(one)
        if len(item) > blobs.LARGE:
            small[at], large[at] = None, _keep(run, item, batch)
    return small, large


def _grown(graph: Graph) -> list[_Grown]:
    found = []
    for index in range(graph.static, len(graph.nodes)):
        owner = graph.owner[index - graph.static]
        pattern, number = _pattern_of(graph.nodes[index], graph.nodes[owner])
        found.append(_Grown(owner, pattern, graph.keys[index], number))
    return found


def _pattern_of(node: Node, owner: Node) -> tuple[str, int]:
    for pattern in ("voices", "tools"):
        for number, one in enumerate(getattr(owner, pattern)):
            if node is one:
                return pattern, number
    pattern = "inner" if node is owner.inner else "undo"
    return ("reconcile" if node is owner.reconcile else pattern), 0


def _frozen_flow(flow: Flow) -> _FrozenFlow:
    return _FrozenFlow(
        listening={name: list(tasks) for name, tasks in flow.listening.items()},
        seen=list(flow.seen),
        repaired=sorted(flow.repaired),
        **{name: getattr(flow, name) for name in _FLOW_AS_IT_IS},
    )


def named(record: Record) -> Blob | None:
    """The snapshot of the state after a record."""
    digest, _, size = record.cause.removeprefix(MARK).partition(":")
    if not record.cause.startswith(MARK) or not size.isdecimal():
        return None
    return Blob(digest=digest, size=int(size))


class Snapshot:
    """One that can be used; `thaw` once."""

    def __init__(self, frozen: _Frozen) -> None:
        self._frozen = frozen

    @property
    def definition(self) -> str:
        """The digest of the definition that the run had."""
        return self._frozen.definition

    def thaw(self, graph: Graph) -> RunState:
        """The state of a run of that definition; large results are references, to be filled in."""
        frozen = self._frozen
        state = RunState(graph)
        for name in _AS_IT_IS:
            setattr(state, name, getattr(frozen, name))
        kinds = [TaskState(name) for name in frozen.states]
        state.state = [kinds[i] for i in frozen.state]
        state.counts = {kind: state.state.count(kind) for kind in TaskState}
        state.broken, state.unpaid = set(frozen.broken), set(frozen.unpaid)
        state.holds = {(task, attempt): hold for task, attempt, hold in frozen.holds}
        state.results = frozen.results
        for task, found in frozen.apart.items():
            for at, blob in found.items():
                _put(state.results, task, at, blob)
                state.blobs[task] = blob
        inputs = state.results.pop(INPUTS)
        state.inputs = inputs if isinstance(inputs, dict) else {}
        state.snapshot = state.seq
        state.flow = None if frozen.flow is None else _thawed_flow(frozen.flow)
        if frozen.grown:
            state.graph = _regrown(graph.own(), frozen.grown)
        return state


def opened(body: bytes) -> Snapshot | None:
    """A snapshot, if this version can use it."""
    try:
        frozen = _decode.decode(body)
    except msgspec.DecodeError:
        return None
    return Snapshot(frozen) if (frozen.format, frozen.rules) == (FORMAT, RULES) else None


def _put(results: dict[int, JSONValue], task: int, at: int, blob: Blob) -> None:
    """As a replay has it: a reference stands for what is to be filled in."""
    inside = results[task]
    if at == WHOLE or not isinstance(inside, list):
        results[task] = blob  # type: ignore[assignment]
    else:
        inside[at] = blob  # type: ignore[call-overload]


def latest(
    records: Sequence[Record], contents: Mapping[str, bytes]
) -> tuple[Snapshot, Sequence[Record]] | None:
    """The last snapshot among the records of a run, if it can be used, and the records after it."""
    for at in reversed(range(len(records))):
        blob = named(records[at])
        if blob is not None:
            found, rest = opened(contents.get(blob.digest, b"")), records[at + 1 :]
            return None if found is None or migrated(rest) else (found, rest)
    return None


def restored(graph: Graph, records: Sequence[Record], contents: Mapping[str, bytes]) -> RunState:
    """As `replay`, from the last snapshot on if there is one."""
    found = latest(records, contents)
    if found is None:
        return replay(graph, records, contents)
    state = found[0].thaw(graph)
    go_on(state, found[1])
    blobs.fill(state, contents)
    return state


def _thawed_flow(frozen: _FrozenFlow) -> Flow:
    flow = Flow()
    for name in _FLOW_AS_IT_IS:
        setattr(flow, name, getattr(frozen, name))
    flow.listening = {name: dict.fromkeys(tasks) for name, tasks in frozen.listening.items()}
    flow.seen, flow.repaired = dict.fromkeys(frozen.seen), set(frozen.repaired)
    return flow


def _regrown(graph: Graph, grown: list[_Grown]) -> Graph:
    for one in grown:
        found = getattr(graph.nodes[one.owner], one.pattern)
        pattern: Node | None = found[one.number] if isinstance(found, tuple) else found
        assert pattern is not None
        if one.pattern == "undo":
            pattern = msgspec.structs.replace(pattern, undoes=one.owner)
            graph.undo[one.owner] = len(graph.nodes)
        graph.grow(one.owner, pattern, one.key)
    return graph
