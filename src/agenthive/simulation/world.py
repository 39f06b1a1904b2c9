"""The outside world of a workflow that is only rehearsed: how long calls take, what they answer.

What is known of each task's call is its `TaskScript`, from the best source there is: what somebody
gave, what was fitted from a journal, what the workflow declares, a guess by kind of agent. Nothing
here ever reaches a real agent, a network, a file or a secret.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Final

import msgspec

from agenthive.core.graph.graph import Graph, Node
from agenthive.core.graph.nodes import RECONCILE_SUFFIX
from agenthive.core.model.calls import Call, Fault, Reply, Usage
from agenthive.core.model.workflow import AgentSpec, Effect
from agenthive.core.values import SECOND, JSONValue, Micros, to_micros
from agenthive.insights.agent_statistics import CallEstimate, Fit, Trait
from agenthive.insights.distributions import Distribution, log_normal
from agenthive.insights.plan import GUESS, GUESSES
from agenthive.simulation.examples import SIGMA, Example
from agenthive.simulation.faults import FaultPlan
from agenthive.simulation.ports import SimulatedReply

DOUBT: Final = 0.6
"""The sigma of a guess."""
NO_TIME: Final = Distribution((0.0,))
NO_AGENT: Final = "calls nobody"
"""The source of the time of a task without an agent."""
HANG_TIME: Final[Micros] = 3600 * SECOND
"""When a call without a time-out that hangs does answer: a run must end."""
PLACEHOLDER: Final[JSONValue] = {}
"""The result of a task that nobody has given an example of."""
DEFAULT_TRAITS: Final[tuple[tuple[Trait, int], ...]] = (
    (("agent_error", True, True), 2),
    (("connection", True, True), 1),
    (("refused", True, True), 1),
)
"""How calls fail, if that was never recorded: kind, whether a retry may help, whether it counts."""


class TaskScript(msgspec.Struct, frozen=True, kw_only=True):
    """How the calls of one task are played. ``source`` says where its time is from.

    ``example`` is whether ``result`` is one, not a placeholder; ``effect`` is the task's, empty if
    it calls nobody.
    """

    time: Distribution
    source: str
    result: JSONValue = PLACEHOLDER
    example: bool = False
    effect: str = ""
    fail: float = 0.0
    hang: float = 0.0
    traits: tuple[tuple[Trait, int], ...] = DEFAULT_TRAITS
    cost: Distribution | None = None
    tokens: Distribution | None = None


def build_scripts(
    graph: Graph, fit: Fit | None, examples: Mapping[str, Example], prefix: str = ""
) -> dict[str, TaskScript]:
    """The part of each task, and of what may be done about it; ``above/NAME`` in sub-workflows.

    Items and rounds of a task share its part.
    """
    scripts: dict[str, TaskScript] = {}
    for task, node in zip(graph.spec.tasks, graph.nodes[: graph.tasks], strict=True):
        for pattern in node.iter_patterns():
            key = prefix + pattern.key
            seconds = task.estimated_duration if pattern.key == task.name else None
            # Nobody asks for tools here, and nobody else goes on.
            if key not in scripts:
                scripts[key] = _build_script(pattern, seconds, fit, examples.get(key, Example()))
        if task.workflow is not None:
            scripts |= build_scripts(Graph(task.workflow), fit, examples, f"{prefix}{task.name}/")
    return scripts


def list_script_keys(graph: Graph) -> list[str]:
    """What the parts of a workflow are called."""
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
    """How long a call takes, and who says so: the nearest first."""
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
    """Answers calls as their parts and the trouble say, from one generator of random numbers.

    ``key_of`` gives the name of a call's part.
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
        """Success, or what goes wrong; who asks what came of a call is told the truth."""
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
            fault = Fault(kind="invalid_reply", message="an answer that cannot be used")
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
        fault = Fault(kind=kind, message=f"simulated: {kind}", retriable=retriable, counts=counts)
        acted = self._rng.random() < 0.5 and kind not in ("refused", "rate_limited", "overloaded")
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


def _act_time(script: TaskScript, duration: Micros) -> Micros | None:
    """When the call's effect happens, if it has one."""
    return None if script.effect == Effect.NONE else duration // 2


def _rate_limited_reply(rng: Random) -> SimulatedReply:
    fault = Fault(
        kind="rate_limited",
        message="simulated: 429",
        retry_after=rng.choice((None, 0.5, 5.0)),
        counts=False,
    )
    return SimulatedReply(
        reply=Reply(fault=fault), acts_after=None, replies_after=(rng.randrange(1000, SECOND // 5),)
    )
