"""How agents have behaved: how long their calls took, how often they failed, what they cost.

Folded from the records of a journal in one pass, in the order they were committed. Calls are
counted by kind: a kind is an action of an agent at an endpoint, an action of an agent by name, or
an endpoint as a whole. An estimate takes the most specific kind that has calls.

Failure rates of a kind with few calls are shrunk towards the rate of all calls:
``(failures + PULL * overall rate) / (calls + PULL)``, the posterior mean of a beta-binomial model
whose prior is worth `PULL` calls (Gelman et al., Bayesian Data Analysis, section 2.4).

Memory grows with the kinds of call and the open runs, not with the journal.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Iterable
from typing import Final, TypeAlias

import msgspec

from agenthive.core.graph.graph import Graph, Node
from agenthive.core.history import blobs
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Record
from agenthive.core.model.calls import Fault, Usage
from agenthive.core.model.workflow import AgentSpec
from agenthive.core.values import SECOND, JSONValue, Micros
from agenthive.insights.distributions import Distribution, fit_times, from_values

KEPT: Final = 1000
"""Durations, costs and token counts kept for each kind of call; the newest are kept."""
MOST_KINDS: Final = 10_000
"""Kinds of call that are counted; those that were added first are dropped first."""
PULL: Final = 2
"""Calls that the overall rate counts as, when the rate of a kind is estimated."""
NOT_THE_AGENT: Final = frozenset({"expression", "cancelled", "lost", "unregistered"})
"""Kinds of fault that do not come from the agent; such calls are not counted."""

# The key of a derived task: mapped item `[2]`, iteration or model turn `~3`, compensation or
# reconcile call.
_DERIVED_KEY: Final = re.compile(
    r"(?P<task>.+?)(?:\[\d+\])?(?:~\d+)?(?P<mark>#undo|#reconcile)?\d*"
)

Kind: TypeAlias = tuple[str, ...]
"""``("where", endpoint key[, action])`` or ``("name", agent, action)``."""
Trait: TypeAlias = tuple[str, bool, bool]
"""Kind of a fault, whether it is retriable, and whether it counts for the circuit breaker."""


class AgentStatistics(msgspec.Struct, kw_only=True):
    """What is recorded of the calls of one kind."""

    calls: int = 0
    #: Calls that failed, without those that timed out.
    failed: int = 0
    #: Calls that timed out.
    hung: int = 0
    #: Seconds of each call that succeeded.
    times: deque[float] = msgspec.field(default_factory=lambda: deque(maxlen=KEPT))
    #: Nano-dollars of each call that succeeded and has a known price.
    costs: deque[int] = msgspec.field(default_factory=lambda: deque(maxlen=KEPT))
    #: Input and output tokens of each call that succeeded and reported them.
    tokens: deque[int] = msgspec.field(default_factory=lambda: deque(maxlen=KEPT))
    #: Number of failed calls by trait of the fault.
    traits: dict[Trait, int] = {}

    def record_success(self, seconds: float, usage: Usage | None) -> None:
        """Count a call that succeeded after ``seconds``."""
        self.calls += 1
        self.times.append(seconds)
        if usage is None:
            return
        self.tokens.append(usage.input_tokens + usage.output_tokens)
        if usage.cost is not None:
            self.costs.append(usage.cost)

    def record_failure(self, fault: Fault) -> None:
        """Count a call that failed or timed out."""
        self.calls += 1
        if fault.kind == "timeout":
            self.hung += 1
            return
        self.failed += 1
        trait = (fault.kind, fault.retriable, fault.counts)
        if trait in self.traits or len(self.traits) < KEPT:
            self.traits[trait] = self.traits.get(trait, 0) + 1


class CallEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """What to expect of a call; None where nothing is recorded."""

    #: Whether calls of this action are recorded; else the estimate is from other actions.
    own: bool
    #: Recorded calls that the estimate is from.
    calls: int
    #: Seconds of a call that succeeds.
    time: Distribution | None = None
    #: Share of calls that fail, 0 to 1.
    fail: float = 0.0
    #: Share of calls that time out, 0 to 1.
    hang: float = 0.0
    #: Number of failed calls by trait of the fault.
    traits: tuple[tuple[Trait, int], ...] = ()
    #: Nano-dollars of a call.
    cost: Distribution | None = None
    #: Input and output tokens of a call.
    tokens: Distribution | None = None


class Fit:
    """Folds records into statistics of agents.

    Also keeps the last result of each task named in ``tasks``: of the workflow named ``workflow``,
    and of any other workflow.
    """

    def __init__(self, workflow: str = "", tasks: Collection[str] = ()) -> None:
        self._workflow = workflow
        self._result_tasks = frozenset(tasks)
        #: Graph of each open run, and when the running call of each task started.
        self._runs: dict[str, tuple[Graph, dict[str, Micros]]] = {}
        self._overall = AgentStatistics()
        self._statistics: dict[Kind, AgentStatistics] = {}
        #: By (whether the task is of ``workflow``, name of the task).
        self._results: dict[tuple[bool, str], JSONValue] = {}

    def open_run(self, run: str, graph: Graph) -> None:
        """Announce a run; records of runs that were not announced are ignored."""
        self._runs[run] = (graph, {})

    def add_records(self, records: Iterable[Record]) -> None:
        """Add records, in the order of their ``pos``; ignores runs that were not opened."""
        for record in records:
            if record.stream == ev.HIVE:
                for hive_event in ev.decode_hive_events(record.payload):
                    if isinstance(hive_event, ev.RunClosed):
                        self._runs.pop(hive_event.run, None)
            elif (run := self._runs.get(record.stream)) is not None:
                for event in blobs.decode_record(record):
                    if isinstance(event, ev.TaskEvent):
                        self._on_task_event(*run, event)

    def estimate_call(self, agent: AgentSpec, action: str) -> CallEstimate | None:
        """The estimate from the most specific kind of call that is recorded; None if none is.

        Kinds are tried in this order: the action at the endpoint, the action of agents with the
        same name, all actions at the endpoint.
        """
        for kind in _call_kinds(agent, action):
            if kind in self._statistics:
                return _build_estimate(
                    self._statistics[kind], self._overall, own=action in kind[2:]
                )
        return None

    def result(self, task: str) -> tuple[JSONValue] | None:
        """The last result of a task of that name as a tuple of one; None if there is none."""
        for own in (True, False):
            if (own, task) in self._results:
                return (self._results[own, task],)
        return None

    def _on_task_event(self, graph: Graph, calls: dict[str, Micros], event: ev.TaskEvent) -> None:
        if isinstance(event, ev.TaskStarted):
            calls[event.task] = event.time
            return
        started_at = calls.pop(event.task, None)
        node = _find_node(graph, event.task)
        if started_at is None or node is None:
            return
        if isinstance(event, ev.TaskSucceeded):
            # Not below 0: the clock may have been set back meanwhile.
            seconds = max(0, event.time - started_at) / SECOND
            for statistics in self._statistics_of(node.agent, node.action):
                statistics.record_success(seconds, event.usage)
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
    """The node of a task; for an item, iteration or turn the pattern that it was made from."""
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
    """The kinds that a call belongs to, the most specific first."""
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
    """A share of calls, shrunk towards the overall share (see the module)."""
    return (count + PULL * overall) / (calls + PULL)
