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
from agenthive.insights.distributions import Distribution, fit_times, from_values

KEPT: Final = 1000
"""Values kept of each kind of call, the newest."""
MOST_KINDS: Final = 10_000
"""Kinds of call that are kept apart; those that were met first are forgotten first."""
PULL: Final = 2
"""How many calls the rate of all others counts as, when an agent's own is told."""
NOT_THE_AGENT: Final = frozenset({"expression", "cancelled", "lost", "unregistered"})
"""Faults of calls that no agent has answered."""

_DERIVED_KEY: Final = re.compile(
    r"(?P<task>.+?)(?:\[\d+\])?(?:~\d+)?(?P<mark>#undo|#reconcile)?\d*"
)

Kind: TypeAlias = tuple[str, ...]
Trait: TypeAlias = tuple[str, bool, bool]


class AgentStatistics(msgspec.Struct, kw_only=True):
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

    def record_success(self, seconds: float, usage: Usage | None) -> None:
        """One more call went well."""
        self.calls += 1
        self.times.append(seconds)
        if usage is None:
            return
        self.tokens.append(usage.input_tokens + usage.output_tokens)
        if usage.cost is not None:
            self.costs.append(usage.cost)

    def record_failure(self, fault: Fault) -> None:
        """One more call did not."""
        self.calls += 1
        if fault.kind == "timeout":
            self.hung += 1
            return
        self.failed += 1
        trait = (fault.kind, fault.retriable, fault.counts)
        if trait in self.traits or len(self.traits) < KEPT:
            self.traits[trait] = self.traits.get(trait, 0) + 1


class CallEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """What may be expected of a call: shares from 0 to 1, None where nothing was recorded.

    ``own``: that action itself was recorded, in ``calls`` calls; else others of its agent.
    """

    own: bool
    calls: int
    time: Distribution | None = None
    fail: float = 0.0
    hang: float = 0.0
    traits: tuple[tuple[Trait, int], ...] = ()
    cost: Distribution | None = None
    tokens: Distribution | None = None


class Fit:
    """Takes records.

    The last result is kept of each task named in ``tasks``: of ``workflow``, else of any other.
    """

    def __init__(self, workflow: str = "", tasks: Collection[str] = ()) -> None:
        self._workflow = workflow
        self._result_tasks = frozenset(tasks)
        self._runs: dict[str, tuple[Graph, dict[str, Micros]]] = {}
        self._overall = AgentStatistics()
        self._statistics: dict[Kind, AgentStatistics] = {}
        self._results: dict[tuple[bool, str], JSONValue] = {}

    def open_run(self, run: str, graph: Graph) -> None:
        """Records of this run will follow; what they say of is in ``graph``."""
        self._runs[run] = (graph, {})

    def add_records(self, records: Iterable[Record]) -> None:
        """More records, in the order of their ``pos``. Passes over runs that were not opened."""
        for record in records:
            if record.stream == ev.HIVE:
                for hive_event in ev.decode_hive_events(record.payload):
                    if isinstance(hive_event, ev.RunClosed):
                        self._runs.pop(hive_event.run, None)
            elif (run := self._runs.get(record.stream)) is not None:
                for event in ev.decode_run_events(record.payload):
                    if isinstance(event, ev.TaskEvent):
                        self._on_task_event(*run, event)

    def estimate_call(self, agent: AgentSpec, action: str) -> CallEstimate | None:
        """What the past says of a call: its own, that of agents of its name, its other actions.

        None if there is none of these.
        """
        for kind in _call_kinds(agent, action):
            if kind in self._statistics:
                return _build_estimate(
                    self._statistics[kind], self._overall, own=action in kind[2:]
                )
        return None

    def result(self, task: str) -> tuple[JSONValue] | None:
        """The last result of a task of that name, in a tuple; None if there is none."""
        for own in (True, False):
            if (own, task) in self._results:
                return (self._results[own, task],)
        return None

    def _on_task_event(self, graph: Graph, calls: dict[str, Micros], event: ev.TaskEvent) -> None:
        if isinstance(event, ev.TaskStarted):
            calls[event.task] = event.at
            return
        started_at = calls.pop(event.task, None)
        node = _find_node(graph, event.task)
        if started_at is None or node is None:
            return
        if isinstance(event, ev.TaskSucceeded):
            for statistics in self._statistics_of(node.agent, node.action):
                statistics.record_success((event.at - started_at) / SECOND, event.usage)
            if node.key in self._result_tasks:
                self._results[graph.spec.name == self._workflow, node.key] = event.result
        elif isinstance(event, ev.TaskFailed) and event.fault.kind not in NOT_THE_AGENT:
            for statistics in self._statistics_of(node.agent, node.action):
                statistics.record_failure(event.fault)

    def _statistics_of(self, agent: AgentSpec, action: str) -> list[AgentStatistics]:
        kinds = _call_kinds(agent, action)
        statistics = [
            self._overall,
            *(self._statistics.setdefault(kind, AgentStatistics()) for kind in kinds),
        ]
        while len(self._statistics) > MOST_KINDS:
            del self._statistics[next(iter(self._statistics))]
        return statistics


def _find_node(graph: Graph, key: str) -> Node | None:
    """The node of a task, or the pattern it was made of: as an item, a round, a question."""
    index = graph.index.get(key)
    if index is not None:
        return graph.nodes[index]
    match = _DERIVED_KEY.fullmatch(key)
    index = None if match is None else graph.index.get(match["task"])
    if match is None or index is None:
        return None
    pattern_key = match["task"] + (match["mark"] or "")
    return next(
        (node for node in graph.nodes[index].iter_patterns() if node.key == pattern_key), None
    )


def _call_kinds(agent: AgentSpec, action: str) -> list[Kind]:
    """What a call is one of, nearest first: itself, that of its agent's name, its agent's."""
    return [
        ("where", agent.endpoint_key, action),
        ("name", agent.name, action),
        ("where", agent.endpoint_key),
    ]


def _build_estimate(
    statistics: AgentStatistics, overall: AgentStatistics, own: bool
) -> CallEstimate:
    return CallEstimate(
        own=own,
        calls=statistics.calls,
        time=fit_times(statistics.times) if statistics.times else None,
        fail=_shrink_rate(statistics.failed, statistics.calls, overall.failed / overall.calls),
        hang=_shrink_rate(statistics.hung, statistics.calls, overall.hung / overall.calls),
        traits=tuple(statistics.traits.items()),
        cost=from_values(statistics.costs) if own and statistics.costs else None,
        tokens=from_values(statistics.tokens) if own and statistics.tokens else None,
    )


def _shrink_rate(count: int, calls: int, overall: float) -> float:
    """A share, pulled towards that of everybody the more the fewer calls there were."""
    return (count + PULL * overall) / (calls + PULL)
