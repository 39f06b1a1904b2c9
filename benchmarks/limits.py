"""What the rate limiter costs, and what comes through when the other side refuses.

    python3 x.py bench limits [--seeds 10] [--rounds 5]

``acquire`` is one call through all five tiers, with its settlement and its release; the goal is
less than 3 us. ``burst``: a backend with 20 places, 8 of them for the second minute, 20 again; over
its places calls share them, over twice as many it answers 429. There are always calls to make. On
virtual time, through the shipped driver. Goals: 95 % of what the places could do, the breaker
closed, and no wave: after a pause no more calls at once than there were places before it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import Counter
from random import Random

from agenthive.core.engine.driver import Driver
from agenthive.core.model.calls import Call, Fault, Reply
from agenthive.core.model.control_flow import EachSpec
from agenthive.core.model.workflow import AgentSpec, FailureStrategy, TaskSpec, WorkflowSpec
from agenthive.core.policies.rate_limit import RateLimit, RateLimiter
from agenthive.core.values import SECOND, Micros
from agenthive.simulation.ports import Faults, SimulatedReply
from agenthive.simulation.recording import Recorder, WatchedDisk
from agenthive.simulation.runtime import EPOCH, SimulatedRuntime

CALLS = 200_000
PLACES, FEWER, MINUTES = 20, 8, 3


def acquire(rounds: int) -> float:
    """Microseconds a call, the best of so many rounds."""
    best = 1e9
    for _ in range(rounds):
        found = RateLimiter(
            RateLimit(
                requests_per_minute=60_000_000,
                requests_per_hour=3_000_000_000,
                requests_per_day=50_000_000_000,
                tokens_per_minute=1_000_000_000,
                concurrent_requests=10,
            )
        )
        now = time.time_ns()
        began = time.perf_counter()
        for _ in range(CALLS):
            now += 10_000
            found.acquire(now, 100)
            found.settle(found.last_receipt, 90)
            found.release()
        best = min(best, (time.perf_counter() - began) / CALLS * 1e6)
    return best


class Backend:
    """Some places, which all that are there share; 429 for those beyond twice as many."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._ends: list[Micros] = []
        self.refused: Counter[int] = Counter()
        self.done: Counter[int] = Counter()

    def answer(self, call: Call, agent: AgentSpec, now: Micros) -> SimulatedReply:
        self._ends = [end for end in self._ends if end > now]
        second = (now - EPOCH) // SECOND
        places = FEWER if 60 <= second < 120 else PLACES
        if len(self._ends) >= 2 * places:
            self.refused[second] += 1
            fault = Fault(kind="rate_limited", message="429", counts=False)
            return SimulatedReply(
                reply=Reply(fault=fault), acts_after=None, replies_after=(20_000,)
            )
        took = round(SECOND * max(1.0, (len(self._ends) + 1) / places))
        took = round(took * self._rng.uniform(0.8, 1.2))
        self._ends.append(now + took)
        self.done[(now + took - EPOCH) // SECOND] += 1
        return SimulatedReply(reply=Reply(result=1), acts_after=took, replies_after=(took,))


def burst(seed: int) -> tuple[float, int, int, bool]:
    """Goodput against the ideal, 429s, the most of them in a second, whether the breaker held."""
    limit = RateLimit(concurrent_requests=2 * PLACES)
    agent = AgentSpec(
        name="m", type="custom", endpoint="custom://m", timeout=None, rate_limit=limit
    )
    task = TaskSpec(
        name="t",
        agent="m",
        action="ask",
        for_each=EachSpec(items=list(range(2 * PLACES * 60 * MINUTES)), max_items=100_000),
    )
    spec = WorkflowSpec(
        name="w",
        agents=(agent,),
        tasks=(task,),
        max_parallel=1000,
        timeout=None,
        failure_strategy=FailureStrategy.CONTINUE,
    )
    backend, recorder = Backend(Random(seed)), Recorder()
    disk = WatchedDisk(recorder)
    runtime = SimulatedRuntime(seed, disk, backend, recorder, Faults(), Driver)
    runtime.submit(0, "r", spec, {})
    runtime.run(max_steps=1_000_000)
    until = 60 * MINUTES
    done = sum(count for second, count in backend.done.items() if second < until)
    ideal = 60 * (2 * PLACES + FEWER)
    refused = sum(count for second, count in backend.refused.items() if second < until)
    breaker = runtime.driver.breakers.state(agent.endpoint_key)
    closed = breaker is not None and str(breaker.state) == "closed"
    return done / ideal, refused, max(backend.refused.values(), default=0), closed


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"acquire, settle, release with five tiers: {acquire(options.rounds):.2f} us")
    told = [burst(seed) for seed in range(options.seeds)]
    print(
        f"burst: {statistics.fmean(one[0] for one in told):.1%} of the ideal "
        f"(least {min(one[0] for one in told):.1%}), "
        f"{statistics.fmean(one[1] for one in told):.0f} 429s "
        f"(at most {max(one[2] for one in told)} in a second), "
        f"breaker closed: {all(one[3] for one in told)}"
    )


if __name__ == "__main__":
    main()
