"""The people of a simulation: they answer approvals and send signals, each after a while.

They look at the runs whenever something has been written, as somebody does who is told of it, and
remember what they are about to say. What a crash has swallowed they say again. Draws come from one
generator; nobody here ever rejects.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Final, TypeAlias

from agenthive.core.engine.driver import Driver
from agenthive.core.engine.human_input import Verdict, questions
from agenthive.core.machine.run_state import RunState
from agenthive.core.values import JSONValue, Micros, micros
from agenthive.errors import ConfigurationError
from agenthive.insights.distributions import Spread, log_normal
from agenthive.simulation.runtime import SimulatedRuntime

Say: TypeAlias = Callable[[Driver, Micros], None]

NEVER: Final = "never"
USUAL: Final = "1h"
SIGMA: Final = 1.0
"""How far the time spreads that people take: two of three answer within a factor of 2.7."""
TOKEN: Final = 4
_UNITS: Final = {"": 1.0, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_FORM: Final = re.compile(r"(\d{1,9}(?:\.\d{1,6})?) ?(s|min|m|h|d|)")


def patience(text: str) -> Spread | None:
    """How long people take, from ``1h`` (the median) or ``never``. Raises ConfigurationError."""
    if text == NEVER:
        return None
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise ConfigurationError(
            f"--people: {text[:80]!r} is no length of time",
            hint="Write 90s, 15m, 1h, 2d, or never.",
        )
    return log_normal(float(found[1]) * _UNITS[found[2]], SIGMA)


class People:
    """Who answers in one simulation, after a time drawn from ``takes`` (None: never).

    ``data`` gives what a signal brings to a task of a run.
    """

    def __init__(
        self, rng: Random, takes: Spread | None, data: Callable[[str, str], JSONValue]
    ) -> None:
        self._rng = rng
        self._takes = takes
        self._data = data
        self._about_to: set[tuple[str, ...]] = set()
        self._signals = 0

    def look(self, runtime: SimulatedRuntime) -> None:
        """Somebody has been asked, or a signal is waited for: it will come."""
        if self._takes is None:
            return
        for run, live in runtime.driver.runs.items():
            if live.state.flow is not None:
                self._look_at(runtime, run, live.state)

    def _look_at(self, runtime: SimulatedRuntime, run: str, state: RunState) -> None:
        for one in questions(state):
            for actor in one.approvers or [f"person {n + 1}" for n in range(one.quorum)]:
                if actor not in one.agreed:
                    verdict = Verdict(actor=actor, approved=True, digest=one.digest)
                    say = partial(_answer, run=run, task=one.task, verdict=verdict)
                    self._later(runtime, ("answer", run, one.task, one.digest, actor), say)
        assert state.flow is not None
        for name, tasks in state.flow.listening.items():
            if tasks:
                self._signals += 1
                task = state.graph.keys[next(iter(tasks))]
                say = partial(
                    _signal, run=run, name=name, data=self._data(run, task),
                    number=f"signal {self._signals}",
                )  # fmt: skip
                self._later(runtime, ("signal", run, name), say)

    def _later(self, runtime: SimulatedRuntime, what: tuple[str, ...], say: Say) -> None:
        if what in self._about_to:
            return
        self._about_to.add(what)
        assert self._takes is not None

        def now(driver: Driver, at: Micros) -> None:
            self._about_to.discard(what)
            say(driver, at)

        runtime.ask(micros(self._takes.at(self._rng.random())), now)


def _answer(driver: Driver, now: Micros, *, run: str, task: str, verdict: Verdict) -> None:
    driver.answer(now, run, task, verdict, TOKEN)


def _signal(
    driver: Driver, now: Micros, *, run: str, name: str, data: JSONValue, number: str
) -> None:
    driver.signal(now, run, name, data, number, "somebody", TOKEN)
