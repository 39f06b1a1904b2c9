"""The outside world of a simulated workflow: how long calls take and what they return.

Each task has a `TaskScript`, built from the best source available: examples, statistics from a
journal, the declaration in the workflow, a guess by kind of agent. Never reaches a real agent, a
network, a file or a secret.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Final

import msgspec

from agenthive.core.budget.holds import was_not_carried_out
from agenthive.core.graph.graph import Graph, Node
from agenthive.core.graph.nodes import RECONCILE_SUFFIX
from agenthive.core.model.calls import Call, Fault, Reply, Usage
from agenthive.core.model.workflow import AgentSpec, Effect
from agenthive.core.policies.fault_classes import FaultClass, class_of_kind
from agenthive.core.values import SECOND, JSONValue, Micros, to_micros
from agenthive.insights.agent_statistics import CallEstimate, Fit, Trait
from agenthive.insights.distributions import Distribution, log_normal
from agenthive.insights.plan import GUESS, GUESSES
from agenthive.simulation.examples import SIGMA, Example
from agenthive.simulation.faults import FaultPlan
from agenthive.simulation.ports import SimulatedReply

#: Sigma of the log-normal distribution around a guessed duration.
DOUBT: Final = 0.6
NO_TIME: Final = Distribution((0.0,))
#: `TaskScript.source` of a task without an agent.
NO_AGENT: Final = "no call"
#: When a hanging call without a timeout does return: every run must end.
HANG_TIME: Final[Micros] = 3600 * SECOND
#: The result of a task without an example.
PLACEHOLDER: Final[JSONValue] = {}
#: How calls fail if no failures are recorded: kind, retryable, counts as an attempt; and weights.
DEFAULT_TRAITS: Final[tuple[tuple[Trait, int], ...]] = (
    (("agent_error", True, True), 2),
    (("connection", True, True), 1),
    (("refused", True, True), 1),
)


class TaskScript(msgspec.Struct, frozen=True, kw_only=True):
    """How the calls of one task are simulated."""

    #: Seconds of one call.
    time: Distribution
    #: Where ``time`` comes from.
    source: str
    result: JSONValue = PLACEHOLDER
    #: Whether ``result`` is an example, not the placeholder.
    example: bool = False
    #: The effect that the task declares; empty if it makes no call.
    effect: str = ""
    #: The chance, from 0 to 1, that a call fails.
    fail: float = 0.0
    #: The chance, from 0 to 1, that a call never returns.
    hang: float = 0.0
    #: Kinds of failure with their weights.
    traits: tuple[tuple[Trait, int], ...] = DEFAULT_TRAITS
    #: US dollars of one call; None if unknown.
    cost: Distribution | None = None
    #: Tokens of one call; None if unknown.
    tokens: Distribution | None = None


def build_scripts(
    graph: Graph, fit: Fit | None, examples: Mapping[str, Example], prefix: str = ""
) -> dict[str, TaskScript]:
    """The script of each task and of its compensation; ``above/NAME`` in sub-workflows.

    Mapped items and iterations of a task share its script.
    """
    scripts: dict[str, TaskScript] = {}
    for task, node in zip(graph.spec.tasks, graph.nodes[: graph.tasks], strict=True):
        for pattern in node.iter_patterns():
            key = prefix + pattern.key
            seconds = task.estimated_duration if pattern.key == task.name else None
            # Simulated models request no tools and need no fallback.
            if key not in scripts:
                scripts[key] = _build_script(pattern, seconds, fit, examples.get(key, Example()))
        if task.workflow is not None:
            scripts |= build_scripts(Graph(task.workflow), fit, examples, f"{prefix}{task.name}/")
    return scripts


def list_script_keys(graph: Graph) -> list[str]:
    """The names of the scripts of a workflow."""
    return list(build_scripts(graph, None, {}))


def _build_script(
    node: Node, declared: float | None, fit: Fit | None, example: Example
) -> TaskScript:
    if not node.agent.name:
        example_result = example.result or (PLACEHOLDER,)
        return TaskScript(
            time=NO_TIME,
            source=NO_AGENT,
            result=example_result[0],
            example=example.result is not None,
        )
    history = fit.estimate_call(node.agent, node.action) if fit is not None else None
    time, source = _choose_time(node.agent, declared, history, example)
    result = example.result or (fit.result(node.key) if fit is not None else None)
    script = TaskScript(time=time, source=source, effect=str(node.effect))
    if history is not None:
        script = msgspec.structs.replace(
            script,
            fail=history.fail,
            hang=history.hang,
            traits=history.traits or DEFAULT_TRAITS,
            cost=history.cost,
            tokens=history.tokens,
        )
    if example.fail is not None:
        script = msgspec.structs.replace(script, fail=example.fail)
    if example.cost is not None:
        script = msgspec.structs.replace(script, cost=example.cost)
    if result is not None:
        script = msgspec.structs.replace(script, result=result[0], example=True)
    return script


def _choose_time(
    agent: AgentSpec, declared: float | None, history: CallEstimate | None, example: Example
) -> tuple[Distribution, str]:
    """The duration of a call and its source: the most specific source first."""
    if example.duration is not None:
        return example.duration, "given"
    calls = "" if history is None else f"{history.calls:,} call{'s' * (history.calls != 1)}"
    if history is not None and history.time is not None and history.own:
        return history.time, f"fitted, {calls}"
    if declared is not None:
        return log_normal(declared, SIGMA), "declared"
    if history is not None and history.time is not None:
        return history.time, f"this agent's other actions, {calls}"
    return log_normal(GUESSES.get(agent.type, GUESS), DOUBT), f"a guess for {agent.type}"


class ScriptedWorld:
    """Answers calls from their scripts and the fault plan.

    ``key_of`` returns the name of the script of a call. All draws come from ``rng``.
    """

    def __init__(
        self,
        rng: Random,
        scripts: Mapping[str, TaskScript],
        fault_plan: FaultPlan,
        key_of: Callable[[str, str], str],
    ) -> None:
        self._key_of = key_of
        self._act_times: dict[tuple[str, str], Micros] = {}
        self._rng = rng
        self._scripts = scripts
        self._fault_plan = fault_plan

    def answer(self, call: Call, agent: AgentSpec, now: Micros) -> SimulatedReply:
        """A success or a fault; a reconciliation call returns the true outcome."""
        script = self._scripts[self._key_of(call.run, call.task)]
        task, mark, _ = call.task.rpartition(RECONCILE_SUFFIX)
        if mark and not script.example:
            happened = self._act_times.get((call.run, task), now + 1) <= now
            script = msgspec.structs.replace(script, result={"happened": happened})
        response = self._respond(call, script)
        if response.acts_after is not None:
            self._act_times.setdefault((call.run, call.task), now + response.acts_after)
        return response

    def _respond(self, call: Call, script: TaskScript) -> SimulatedReply:
        rng, faults = self._rng, self._fault_plan
        duration = max(1, to_micros(script.time.quantile(rng.random())))
        if rng.random() < faults.slow:
            duration = round(duration * rng.uniform(3, 10))
        if rng.random() < faults.limit:
            return _rate_limited_reply(rng)
        if rng.random() < 1 - (1 - script.fail) * (1 - faults.fail):
            return self._fail_call(script, duration)
        usage = self._draw_usage(script)
        if rng.random() < faults.garbage:
            fault = Fault(
                kind="invalid_reply",
                message="a response that is not valid",
                class_=FaultClass.UNKNOWN,
            )
            reply = Reply(fault=fault, usage=usage)
            return SimulatedReply(
                reply=reply, acts_after=_act_time(script, duration), replies_after=(duration,)
            )
        if rng.random() < 1 - (1 - script.hang) * (1 - faults.hang):
            reply_times = () if call.timeout is not None else (HANG_TIME,)
            return SimulatedReply(
                reply=Reply(result=script.result), acts_after=None, replies_after=reply_times
            )
        reply = Reply(result=script.result, usage=usage)
        return SimulatedReply(
            reply=reply,
            acts_after=_act_time(script, duration),
            replies_after=self._reply_times(call, duration),
        )

    def _fail_call(self, script: TaskScript, duration: Micros) -> SimulatedReply:
        traits, weights = zip(*script.traits, strict=True)
        kind, retriable, counts = self._rng.choices(traits, weights)[0]
        may_have_acted = self._rng.random() < 0.5
        fault = Fault(
            kind=kind,
            message=f"simulated: {kind}",
            retriable=retriable,
            counts=counts,
            class_=_fault_class(kind, may_have_acted=may_have_acted),
        )
        acted = may_have_acted and not was_not_carried_out(fault)
        act_time = _act_time(script, duration) if acted else None
        return SimulatedReply(
            reply=Reply(fault=fault), acts_after=act_time, replies_after=(duration,)
        )

    def _reply_times(self, call: Call, duration: Micros) -> tuple[Micros, ...]:
        if self._rng.random() < self._fault_plan.lose:
            return () if call.timeout is not None else (HANG_TIME,)
        if self._rng.random() < self._fault_plan.duplicate:
            return (duration, duration + self._rng.randrange(1, 20 * SECOND))
        return (duration,)

    def _draw_usage(self, script: TaskScript) -> Usage | None:
        if script.cost is None and script.tokens is None:
            return None
        tokens = 0 if script.tokens is None else round(script.tokens.quantile(self._rng.random()))
        cost = None if script.cost is None else round(script.cost.quantile(self._rng.random()))
        return Usage(model="simulated", input_tokens=tokens, cost=cost)


def _fault_class(kind: str, *, may_have_acted: bool) -> FaultClass:
    """The class that an agent would give such a fault."""
    class_ = class_of_kind(kind)
    if class_ is not FaultClass.UNKNOWN:
        return class_
    # A connection that failed at once sent nothing; a function that raised may have acted.
    not_sent = kind == "connection" and not may_have_acted
    return FaultClass.NOT_SENT if not_sent else FaultClass.UNKNOWN


def _act_time(script: TaskScript, duration: Micros) -> Micros | None:
    """When the call has its effect; None if it has none."""
    return None if script.effect == Effect.NONE else duration // 2


def _rate_limited_reply(rng: Random) -> SimulatedReply:
    fault = Fault(
        kind="rate_limited",
        message="simulated: 429",
        retry_after=rng.choice((None, 0.5, 5.0)),
        counts=False,
        class_=FaultClass.REFUSED,
    )
    return SimulatedReply(
        reply=Reply(fault=fault), acts_after=None, replies_after=(rng.randrange(1000, SECOND // 5),)
    )
