"""The outside world of a random simulation: what it answers, what goes wrong in it.

Draws nothing but from the generator it is given. Each reply is unique, so that the judge can tell
where a result is from. A new kind of trouble gets a chance in `Mood`, off in half of the seeds.
"""

from __future__ import annotations

from random import Random

import msgspec

from agenthive.core.graph.nodes import RECONCILE
from agenthive.core.model.calls import Call, Fault, Reply, Usage
from agenthive.core.model.workflow import AgentSpec
from agenthive.core.values import SECOND, JSONValue, Micros
from agenthive.simulation.ports import Answer, Faults


class Mood(msgspec.Struct, frozen=True, kw_only=True):
    """How the world behaves in one simulation: chances from 0 to 1."""

    fail: float
    hang: float
    lose: float
    repeat: float
    limit: float
    garble: float


class RandomWorld:
    """Answers calls as its mood says. Each reply is unique, so results can be traced."""

    def __init__(self, rng: Random, mood: Mood) -> None:
        self._rng = rng
        self._mood = mood
        self._number = 0

    def answer(self, call: Call, agent: AgentSpec, now: Micros) -> Answer:
        """Success, or one of the faults."""
        rng, mood = self._rng, self._mood
        self._number += 1
        took = rng.randrange(1000, 8 * SECOND)
        usage = Usage(model="m", input_tokens=self._number)
        if rng.random() < mood.limit:
            after = rng.choice((None, 0.5, 7.0))
            limited = Fault(
                kind="rate_limited", message="slow down", retry_after=after, counts=False
            )
            return Answer(reply=Reply(fault=limited), acts=None, replies=(took,))
        if rng.random() < mood.fail:
            return self._failure(took)
        if rng.random() < mood.garble:
            garbled = Reply(fault=Fault(kind="invalid_reply", message="not JSON"), usage=usage)
            return Answer(reply=garbled, acts=took // 2, replies=(took,))
        reply = Reply(result=self._result(call, now), usage=usage)
        return Answer(reply=reply, acts=took // 2, replies=self._replies(took))

    def _result(self, call: Call, now: Micros) -> JSONValue:
        """What a call gives that goes well."""
        return {"n": self._number}

    def _failure(self, took: Micros) -> Answer:
        kind = self._rng.choice(("connection", "refused", "agent_error", "agent_error"))
        fault = Fault(kind=kind, message="no", retriable=self._rng.random() < 0.7)
        acts = None if kind == "refused" else took // 2
        return Answer(reply=Reply(fault=fault), acts=acts, replies=(took,))

    def _replies(self, took: Micros) -> tuple[Micros, ...]:
        rng, mood = self._rng, self._mood
        if rng.random() < mood.hang:
            return ()
        if rng.random() < mood.lose:
            return (took + rng.randrange(5, 90) * SECOND,)
        if rng.random() < mood.repeat:
            return (took, took + rng.randrange(0, 20 * SECOND))
        return (took,)


class FlowWorld(RandomWorld):
    """Its results serve as items and as ends of rounds too; asked what came of a call, it knows."""

    def __init__(self, rng: Random, mood: Mood) -> None:
        super().__init__(rng, mood)
        self._acts: dict[tuple[str, str], Micros] = {}

    def answer(self, call: Call, agent: AgentSpec, now: Micros) -> Answer:
        """As any world; when a call acts is remembered."""
        answer = super().answer(call, agent, now)
        if answer.acts is not None:
            self._acts.setdefault((call.run, call.task), now + answer.acts)
        return answer

    def _result(self, call: Call, now: Micros) -> JSONValue:
        rng, number = self._rng, self._number
        of, asks, _ = call.task.rpartition(RECONCILE)
        if asks:
            return self._truth(call.run, of, now)
        items: list[JSONValue] = [f"{number}.{i}" for i in range(rng.choice((0, 1, 2, 3, 5)))]
        return {"n": number, "items": items, "stop": rng.random() < 0.4}

    def _truth(self, run: str, task: str, now: Micros) -> JSONValue:
        """Whether the call has acted, in any of the forms that may be answered; or no answer."""
        if self._rng.random() < 0.2:
            unclear: tuple[JSONValue, ...] = (None, "who knows", {"happened": None})
            return self._rng.choice(unclear)
        happened = self._acts.get((run, task), now + 1) <= now
        if self._rng.random() < 0.5:
            return happened
        return {"happened": happened, "result": {"n": self._number}}


def random_faults(rng: Random) -> Faults:
    """A mix of faults; each kind is off in half of the simulations."""
    return Faults(
        crash=rng.choice((0.0, 0.0, 0.01, 0.05, 0.15)),
        refuse=rng.choice((0.0, 0.0, 0.0, 0.1, 0.4)),
        jump=rng.choice((0.0, 0.0, 0.05)),
        stale=rng.choice((0.0, 0.5)),
        absent=rng.choice((0.0, 0.0, 0.2)),
        slow=rng.choice((0.0, 0.0, 0.5)),
    )


def random_mood(rng: Random) -> Mood:
    """A world with its own habits; each kind of trouble is off in half of them."""

    def some(most: float) -> float:
        return rng.choice((0.0, rng.random() * most))

    return Mood(
        fail=some(0.4), hang=some(0.2), lose=some(0.2), repeat=some(0.4), limit=some(0.3),
        garble=some(0.2),
    )  # fmt: skip
