"""The outside world of a workflow that is only rehearsed: how long calls take, what they answer.

What is known of each task's call is its `Part`, from the best source there is: what somebody gave,
what was fitted from a journal, what the workflow declares, a guess by kind of agent. Nothing here
ever reaches a real agent, a network, a file or a secret.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Final

import msgspec

from agenthive.core.graph.graph import Graph, Node
from agenthive.core.graph.nodes import RECONCILE
from agenthive.core.model.calls import Call, Fault, Reply, Usage
from agenthive.core.model.workflow import AgentSpec, Effect
from agenthive.core.values import SECOND, JSONValue, Micros, micros
from agenthive.insights.agent_statistics import Fit, Known, Trait
from agenthive.insights.distributions import Spread, log_normal
from agenthive.insights.plan import GUESS, GUESSES
from agenthive.simulation.examples import SIGMA, Example
from agenthive.simulation.faults import Trouble
from agenthive.simulation.ports import Answer

DOUBT: Final = 0.6
"""The sigma of a guess."""
NO_TIME: Final = Spread((0.0,))
CALLS_NOBODY: Final = "calls nobody"
"""The source of the time of a task without an agent."""
FOREVER: Final[Micros] = 3600 * SECOND
"""When a call without a time-out that hangs does answer: a run must end."""
PLACEHOLDER: Final[JSONValue] = {}
"""The result of a task that nobody has given an example of."""
USUAL: Final[tuple[tuple[Trait, int], ...]] = (
    (("agent_error", True, True), 2),
    (("connection", True, True), 1),
    (("refused", True, True), 1),
)
"""How calls fail, if that was never recorded: kind, whether a retry may help, whether it counts."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """How the calls of one task are played. ``source`` says where its time is from.

    ``example`` is whether ``result`` is one, not a placeholder; ``effect`` is the task's, empty if
    it calls nobody.
    """

    time: Spread
    source: str
    result: JSONValue = PLACEHOLDER
    example: bool = False
    effect: str = ""
    fail: float = 0.0
    hang: float = 0.0
    traits: tuple[tuple[Trait, int], ...] = USUAL
    cost: Spread | None = None
    tokens: Spread | None = None


def parts_of(
    graph: Graph, fit: Fit | None, examples: Mapping[str, Example], above: str = ""
) -> dict[str, Part]:
    """The part of each task, and of what may be done about it; ``above/NAME`` in sub-workflows.

    Items and rounds of a task share its part.
    """
    found: dict[str, Part] = {}
    for task, node in zip(graph.spec.tasks, graph.nodes[: graph.tasks], strict=True):
        for one in node.patterns():
            key = above + one.key
            seconds = task.estimated_duration if one.key == task.name else None
            # Nobody asks for tools here, and nobody else goes on.
            if key not in found:
                found[key] = _part(one, seconds, fit, examples.get(key, Example()))
        if task.workflow is not None:
            found |= parts_of(Graph(task.workflow), fit, examples, f"{above}{task.name}/")
    return found


def keys_of(graph: Graph) -> list[str]:
    """What the parts of a workflow are called."""
    return list(parts_of(graph, None, {}))


def _part(node: Node, declared: float | None, fit: Fit | None, said: Example) -> Part:
    if not node.agent.name:
        given = said.result or (PLACEHOLDER,)
        return Part(
            time=NO_TIME, source=CALLS_NOBODY, result=given[0], example=said.result is not None
        )
    known = fit.known(node.agent, node.action) if fit is not None else None
    time, source = _time(node.agent, declared, known, said)
    result = said.result or (fit.result(node.key) if fit is not None else None)
    part = Part(time=time, source=source, effect=str(node.effect))
    if known is not None:
        part = msgspec.structs.replace(
            part, fail=known.fail, hang=known.hang, traits=known.traits or USUAL,
            cost=known.cost, tokens=known.tokens,
        )  # fmt: skip
    if said.fail is not None:
        part = msgspec.structs.replace(part, fail=said.fail)
    if said.cost is not None:
        part = msgspec.structs.replace(part, cost=said.cost)
    if result is not None:
        part = msgspec.structs.replace(part, result=result[0], example=True)
    return part


def _time(
    agent: AgentSpec, declared: float | None, known: Known | None, said: Example
) -> tuple[Spread, str]:
    """How long a call takes, and who says so: the nearest first."""
    if said.duration is not None:
        return said.duration, "given"
    calls = "" if known is None else f"{known.calls:,} call{'s' * (known.calls != 1)}"
    if known is not None and known.time is not None and known.own:
        return known.time, f"fitted, {calls}"
    if declared is not None:
        return log_normal(declared, SIGMA), "declared"
    if known is not None and known.time is not None:
        return known.time, f"this agent's other actions, {calls}"
    return log_normal(GUESSES.get(agent.type, GUESS), DOUBT), f"a guess for {agent.type}"


class RehearsedWorld:
    """Answers calls as their parts and the trouble say, from one generator of random numbers.

    ``key_of`` gives the name of a call's part.
    """

    def __init__(
        self,
        rng: Random,
        parts: Mapping[str, Part],
        trouble: Trouble,
        key_of: Callable[[str, str], str],
    ) -> None:
        self._key_of = key_of
        self._acts: dict[tuple[str, str], Micros] = {}
        self._rng = rng
        self._parts = parts
        self._trouble = trouble

    def answer(self, call: Call, agent: AgentSpec, now: Micros) -> Answer:
        """Success, or what goes wrong; who asks what came of a call is told the truth."""
        part = self._parts[self._key_of(call.run, call.task)]
        of, asks, _ = call.task.rpartition(RECONCILE)
        if asks and not part.example:
            happened = self._acts.get((call.run, of), now + 1) <= now
            part = msgspec.structs.replace(part, result={"happened": happened})
        answer = self._answer(call, part)
        if answer.acts is not None:
            self._acts.setdefault((call.run, call.task), now + answer.acts)
        return answer

    def _answer(self, call: Call, part: Part) -> Answer:
        rng, trouble = self._rng, self._trouble
        took = max(1, micros(part.time.at(rng.random())))
        if rng.random() < trouble.slow:
            took = round(took * rng.uniform(3, 10))
        if rng.random() < trouble.limit:
            return _limited(rng)
        if rng.random() < 1 - (1 - part.fail) * (1 - trouble.fail):
            return self._failure(part, took)
        usage = self._usage(part)
        if rng.random() < trouble.garbage:
            fault = Fault(kind="invalid_reply", message="an answer that cannot be used")
            reply = Reply(fault=fault, usage=usage)
            return Answer(reply=reply, acts=_acts(part, took), replies=(took,))
        if rng.random() < 1 - (1 - part.hang) * (1 - trouble.hang):
            never = () if call.timeout is not None else (FOREVER,)
            return Answer(reply=Reply(result=part.result), acts=None, replies=never)
        reply = Reply(result=part.result, usage=usage)
        return Answer(reply=reply, acts=_acts(part, took), replies=self._replies(call, took))

    def _failure(self, part: Part, took: Micros) -> Answer:
        traits, weights = zip(*part.traits, strict=True)
        kind, retriable, counts = self._rng.choices(traits, weights)[0]
        fault = Fault(kind=kind, message=f"simulated: {kind}", retriable=retriable, counts=counts)
        acted = self._rng.random() < 0.5 and kind not in ("refused", "rate_limited", "overloaded")
        acts = _acts(part, took) if acted else None
        return Answer(reply=Reply(fault=fault), acts=acts, replies=(took,))

    def _replies(self, call: Call, took: Micros) -> tuple[Micros, ...]:
        if self._rng.random() < self._trouble.lose:
            return () if call.timeout is not None else (FOREVER,)
        if self._rng.random() < self._trouble.duplicate:
            return (took, took + self._rng.randrange(1, 20 * SECOND))
        return (took,)

    def _usage(self, part: Part) -> Usage | None:
        if part.cost is None and part.tokens is None:
            return None
        tokens = 0 if part.tokens is None else round(part.tokens.at(self._rng.random()))
        cost = None if part.cost is None else round(part.cost.at(self._rng.random()))
        return Usage(model="simulated", input_tokens=tokens, cost=cost)


def _acts(part: Part, took: Micros) -> Micros | None:
    """When the call's effect happens, if it has one."""
    return None if part.effect == Effect.NONE else took // 2


def _limited(rng: Random) -> Answer:
    fault = Fault(
        kind="rate_limited", message="simulated: 429", retry_after=rng.choice((None, 0.5, 5.0)),
        counts=False,
    )  # fmt: skip
    return Answer(reply=Reply(fault=fault), acts=None, replies=(rng.randrange(1000, SECOND // 5),))
