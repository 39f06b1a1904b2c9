"""How agents have behaved: how long their calls took, how often they failed, what they cost.

Folded from the records of a journal, one pass, in the order they were committed. Who has little or
no past is judged by those next to it: an agent's rate of failures is pulled towards that of all.
Memory grows with the kinds of call and the open runs, not with the journal.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Iterable
from typing import Final, TypeAlias

import msgspec

from agenthive.core.graph.graph import Graph, Node
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Record
from agenthive.core.model.calls import Fault, Usage
from agenthive.core.model.workflow import AgentSpec
from agenthive.core.values import SECOND, JSONValue, Micros
from agenthive.insights.distributions import Spread, fitted, measured

KEPT: Final = 1000
"""Values kept of each kind of call, the newest."""
MOST_KINDS: Final = 10_000
"""Kinds of call that are kept apart; those that were met first are forgotten first."""
PULL: Final = 2
"""How many calls the rate of all others counts as, when an agent's own is told."""
NOT_THE_AGENT: Final = frozenset({"expression", "cancelled", "lost", "unregistered"})
"""Faults of calls that no agent has answered."""

_MADE: Final = re.compile(r"(?P<task>.+?)(?:\[\d+\])?(?:~\d+)?(?P<mark>#undo|#reconcile)?\d*")

Kind: TypeAlias = tuple[str, ...]
Trait: TypeAlias = tuple[str, bool, bool]


class Habits(msgspec.Struct, kw_only=True):
    """Calls of one kind. Times are seconds; costs nano-dollars a call; ``traits`` counts failures
    by (kind, whether a retry may help, whether the endpoint is unwell).
    """

    calls: int = 0
    failed: int = 0
    hung: int = 0
    times: deque[float] = msgspec.field(default_factory=lambda: deque(maxlen=KEPT))
    costs: deque[int] = msgspec.field(default_factory=lambda: deque(maxlen=KEPT))
    tokens: deque[int] = msgspec.field(default_factory=lambda: deque(maxlen=KEPT))
    traits: dict[Trait, int] = {}

    def succeeded(self, took: float, usage: Usage | None) -> None:
        """One more call went well."""
        self.calls += 1
        self.times.append(took)
        if usage is None:
            return
        self.tokens.append(usage.input_tokens + usage.output_tokens)
        if usage.cost is not None:
            self.costs.append(usage.cost)

    def went_wrong(self, fault: Fault) -> None:
        """One more call did not."""
        self.calls += 1
        if fault.kind == "timeout":
            self.hung += 1
            return
        self.failed += 1
        trait = (fault.kind, fault.retriable, fault.counts)
        if trait in self.traits or len(self.traits) < KEPT:
            self.traits[trait] = self.traits.get(trait, 0) + 1


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What may be expected of a call: shares from 0 to 1, None where nothing was recorded.

    ``own``: that action itself was recorded, in ``calls`` calls; else others of its agent.
    """

    own: bool
    calls: int
    time: Spread | None = None
    fail: float = 0.0
    hang: float = 0.0
    traits: tuple[tuple[Trait, int], ...] = ()
    cost: Spread | None = None
    tokens: Spread | None = None


class Fit:
    """Takes records.

    The last result is kept of each task named in ``tasks``: of ``workflow``, else of any other.
    """

    def __init__(self, workflow: str = "", tasks: Collection[str] = ()) -> None:
        self._workflow = workflow
        self._wanted = frozenset(tasks)
        self._runs: dict[str, tuple[Graph, dict[str, Micros]]] = {}
        self._every = Habits()
        self._habits: dict[Kind, Habits] = {}
        self._results: dict[tuple[bool, str], JSONValue] = {}

    def opens(self, run: str, graph: Graph) -> None:
        """Records of this run will follow; what they say of is in ``graph``."""
        self._runs[run] = (graph, {})

    def take(self, records: Iterable[Record]) -> None:
        """More records, in the order of their ``pos``. Passes over runs that were not opened."""
        for record in records:
            if record.stream == ev.HIVE:
                for about in ev.decode_hive(record.payload):
                    if isinstance(about, ev.RunClosed):
                        self._runs.pop(about.run, None)
            elif (run := self._runs.get(record.stream)) is not None:
                for event in ev.decode_run(record.payload):
                    if isinstance(event, ev.TaskEvent):
                        self._task(*run, event)

    def known(self, agent: AgentSpec, action: str) -> Known | None:
        """What the past says of a call: its own, that of agents of its name, its other actions.

        None if there is none of these.
        """
        for kind in _kinds(agent, action):
            if kind in self._habits:
                return _expected(self._habits[kind], self._every, own=action in kind[2:])
        return None

    def result(self, task: str) -> tuple[JSONValue] | None:
        """The last result of a task of that name, in a tuple; None if there is none."""
        for own in (True, False):
            if (own, task) in self._results:
                return (self._results[own, task],)
        return None

    def _task(self, graph: Graph, calls: dict[str, Micros], event: ev.TaskEvent) -> None:
        if isinstance(event, ev.TaskStarted):
            calls[event.task] = event.at
            return
        began = calls.pop(event.task, None)
        node = _node(graph, event.task)
        if began is None or node is None:
            return
        if isinstance(event, ev.TaskSucceeded):
            for habits in self._of(node.agent, node.action):
                habits.succeeded((event.at - began) / SECOND, event.usage)
            if node.key in self._wanted:
                self._results[graph.spec.name == self._workflow, node.key] = event.result
        elif isinstance(event, ev.TaskFailed) and event.fault.kind not in NOT_THE_AGENT:
            for habits in self._of(node.agent, node.action):
                habits.went_wrong(event.fault)

    def _of(self, agent: AgentSpec, action: str) -> list[Habits]:
        kinds = _kinds(agent, action)
        found = [self._every, *(self._habits.setdefault(kind, Habits()) for kind in kinds)]
        while len(self._habits) > MOST_KINDS:
            del self._habits[next(iter(self._habits))]
        return found


def _node(graph: Graph, key: str) -> Node | None:
    """The node of a task, or the pattern it was made of: as an item, a round, a question."""
    index = graph.index.get(key)
    if index is not None:
        return graph.nodes[index]
    made = _MADE.fullmatch(key)
    index = None if made is None else graph.index.get(made["task"])
    if made is None or index is None:
        return None
    wanted = made["task"] + (made["mark"] or "")
    return next((one for one in graph.nodes[index].patterns() if one.key == wanted), None)


def _kinds(agent: AgentSpec, action: str) -> list[Kind]:
    """What a call is one of, nearest first: itself, that of its agent's name, its agent's."""
    return [("where", agent.where, action), ("name", agent.name, action), ("where", agent.where)]


def _expected(habits: Habits, every: Habits, own: bool) -> Known:
    return Known(
        own=own,
        calls=habits.calls,
        time=fitted(habits.times) if habits.times else None,
        fail=_rate(habits.failed, habits.calls, every.failed / every.calls),
        hang=_rate(habits.hung, habits.calls, every.hung / every.calls),
        traits=tuple(habits.traits.items()),
        cost=measured(habits.costs) if own and habits.costs else None,
        tokens=measured(habits.tokens) if own and habits.tokens else None,
    )


def _rate(count: int, calls: int, every: float) -> float:
    """A share, pulled towards that of everybody the more the fewer calls there were."""
    return (count + PULL * every) / (calls + PULL)
