"""The outside world of a random simulation: what it answers, what goes wrong in it.

Draws nothing but from the generator it is given. Each reply is unique, so that the judge can tell
where a result is from. A new kind of trouble gets a chance in `FaultRates`, off in half of the
seeds.
"""

from __future__ import annotations

from random import Random

import msgspec

from agenthive.core.budget.holds import was_not_carried_out
from agenthive.core.graph.nodes import RECONCILE_SUFFIX
from agenthive.core.model.calls import Call, Fault, Reply, Usage
from agenthive.core.model.workflow import AgentSpec
from agenthive.core.policies.fault_classes import FaultClass
from agenthive.core.values import SECOND, JSONValue, Micros
from agenthive.simulation.ports import Faults, SimulatedReply

FAULT_CLASSES = {
    "connection": (FaultClass.NOT_SENT, FaultClass.UNKNOWN),
    "refused": (FaultClass.REFUSED, FaultClass.REFUSED),
    "agent_error": (FaultClass.BAD_END, FaultClass.UNKNOWN),
}
"""Kind of a fault -> the classes that it has by turns."""


class FaultRates(msgspec.Struct, frozen=True, kw_only=True):
    """How the world behaves in one simulation: chances from 0 to 1."""

    fail: float
    hang: float
    lose: float
    repeat: float
    limit: float
    garble: float


class RandomWorld:
    """Answers calls as its mood says. Each reply is unique, so results can be traced."""

    def __init__(self, rng: Random, rates: FaultRates) -> None:
        self._rng = rng
        self._rates = rates
        self._number = 0

    def answer(self, call: Call, agent: AgentSpec, now: Micros) -> SimulatedReply:
        """Success, or one of the faults."""
        rng, rates = self._rng, self._rates
        self._number += 1
        duration = rng.randrange(1000, 8 * SECOND)
        usage = Usage(model="m", input_tokens=self._number)
        if rng.random() < rates.limit:
            retry_after = rng.choice((None, 0.5, 7.0))
            # Some endpoints do not say what 429 means there.
            class_ = FaultClass.REFUSED if self._number % 4 else FaultClass.UNKNOWN
            limited = Fault(
                kind="rate_limited",
                message="slow down",
                retry_after=retry_after,
                counts=False,
                class_=class_,
            )
            return SimulatedReply(
                reply=Reply(fault=limited), acts_after=None, replies_after=(duration,)
            )
        if rng.random() < rates.fail:
            return self._fail_call(duration)
        if rng.random() < rates.garble:
            garbled = Reply(
                fault=Fault(kind="invalid_reply", message="not JSON", class_=FaultClass.UNKNOWN),
                usage=usage,
            )
            return SimulatedReply(
                reply=garbled, acts_after=duration // 2, replies_after=(duration,)
            )
        reply = Reply(result=self._make_result(call, now), usage=usage)
        return SimulatedReply(
            reply=reply, acts_after=duration // 2, replies_after=self._reply_times(duration)
        )

    def _make_result(self, call: Call, now: Micros) -> JSONValue:
        """What a call gives that goes well."""
        return {"n": self._number}

    def _fail_call(self, duration: Micros) -> SimulatedReply:
        kind = self._rng.choice(("connection", "refused", "agent_error", "agent_error"))
        first_class, second_class = FAULT_CLASSES[kind]
        class_ = first_class if self._number % 2 else second_class
        fault = Fault(kind=kind, message="no", retriable=self._rng.random() < 0.7, class_=class_)
        act_time = None if was_not_carried_out(fault) else duration // 2
        return SimulatedReply(
            reply=Reply(fault=fault), acts_after=act_time, replies_after=(duration,)
        )

    def _reply_times(self, duration: Micros) -> tuple[Micros, ...]:
        rng, rates = self._rng, self._rates
        if rng.random() < rates.hang:
            return ()
        if rng.random() < rates.lose:
            return (duration + rng.randrange(5, 90) * SECOND,)
        if rng.random() < rates.repeat:
            return (duration, duration + rng.randrange(0, 20 * SECOND))
        return (duration,)


class FlowWorld(RandomWorld):
    """Its results serve as items and as ends of rounds too; asked what came of a call, it knows."""

    def __init__(self, rng: Random, rates: FaultRates) -> None:
        super().__init__(rng, rates)
        self._act_times: dict[tuple[str, str], Micros] = {}

    def answer(self, call: Call, agent: AgentSpec, now: Micros) -> SimulatedReply:
        """As any world; when a call acts is remembered."""
        response = super().answer(call, agent, now)
        if response.acts_after is not None:
            self._act_times.setdefault((call.run, call.task), now + response.acts_after)
        return response

    def _make_result(self, call: Call, now: Micros) -> JSONValue:
        rng, number = self._rng, self._number
        target, mark, _ = call.task.rpartition(RECONCILE_SUFFIX)
        if mark:
            return self._reconcile_answer(call.run, target, now)
        items: list[JSONValue] = [f"{number}.{i}" for i in range(rng.choice((0, 1, 2, 3, 5)))]
        return {"n": number, "items": items, "stop": rng.random() < 0.4}

    def _reconcile_answer(self, run: str, task: str, now: Micros) -> JSONValue:
        """Whether the call has acted, in any of the forms that may be answered; or no answer."""
        if self._rng.random() < 0.2:
            unclear: tuple[JSONValue, ...] = (None, "who knows", {"happened": None})
            return self._rng.choice(unclear)
        happened = self._act_times.get((run, task), now + 1) <= now
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


def random_rates(rng: Random) -> FaultRates:
    """A world with its own habits; each kind of trouble is off in half of them."""

    def draw_rate(maximum: float) -> float:
        return rng.choice((0.0, rng.random() * maximum))

    return FaultRates(
        fail=draw_rate(0.4),
        hang=draw_rate(0.2),
        lose=draw_rate(0.2),
        repeat=draw_rate(0.4),
        limit=draw_rate(0.3),
        garble=draw_rate(0.2),
    )
