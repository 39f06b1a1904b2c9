"""The simulated people: they answer approvals and send signals after a delay.

They review the runs after every write to the journal, as if they were notified, and schedule each
response once. A response that a crash has lost is sent again. All draws come from one generator of
random numbers; simulated people never reject.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Final, TypeAlias

from agenthive.core.engine.driver import Driver
from agenthive.core.engine.human_input import ApprovalDecision, pending_approvals
from agenthive.core.machine.run_state import RunState
from agenthive.core.values import JSONValue, Micros, to_micros
from agenthive.errors import ConfigurationError
from agenthive.insights.distributions import Distribution, log_normal
from agenthive.simulation.runtime import SimulatedRuntime

DriverRequest: TypeAlias = Callable[[Driver, Micros], None]

NEVER: Final = "never"
#: Median time in which people answer.
DEFAULT_PATIENCE: Final = "1h"
#: Sigma of the log-normal response time: two of three answers are within a factor of 2.7.
SIGMA: Final = 1.0
#: The request token of simulated people.
TOKEN: Final = 4
_UNITS: Final = {"": 1.0, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_FORM: Final = re.compile(r"(\d{1,9}(?:\.\d{1,6})?) ?(s|min|m|h|d|)")


def parse_patience(text: str) -> Distribution | None:
    """How long people take, from ``1h`` (the median) or ``never``. Raises ConfigurationError."""
    if text == NEVER:
        return None
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise ConfigurationError(
            f"--people: {text[:80]!r} is not a duration",
            hint="Write 90s, 15m, 1h, 2d, or never.",
        )
    return log_normal(float(match[1]) * _UNITS[match[2]], SIGMA)


class SimulatedPeople:
    """The approvers and senders of one simulation.

    ``delay`` is the distribution of their response time in seconds (None: they never respond).
    ``data`` returns the payload of the signal that a task of a run waits for.
    """

    def __init__(
        self, rng: Random, delay: Distribution | None, signal_data: Callable[[str, str], JSONValue]
    ) -> None:
        self._rng = rng
        self._delay = delay
        self._signal_data = signal_data
        self._pending: set[tuple[str, ...]] = set()
        self._signals = 0

    def review_runs(self, runtime: SimulatedRuntime) -> None:
        """Schedule a response for each new approval request and each awaited signal."""
        if self._delay is None:
            return
        for run, active_run in runtime.driver.runs.items():
            if active_run.state.flow is not None:
                self._review_run(runtime, run, active_run.state)

    def _review_run(self, runtime: SimulatedRuntime, run: str, state: RunState) -> None:
        for approval in pending_approvals(state):
            for actor in approval.approvers or [f"person {n + 1}" for n in range(approval.quorum)]:
                if actor not in approval.agreed:
                    verdict = ApprovalDecision(actor=actor, approved=True, digest=approval.digest)
                    request = partial(_send_approval, run=run, task=approval.task, verdict=verdict)
                    self._schedule_request(
                        runtime, ("answer", run, approval.task, approval.digest, actor), request
                    )
        assert state.flow is not None
        for name, tasks in state.flow.listening.items():
            if tasks:
                self._signals += 1
                task = state.graph.keys[next(iter(tasks))]
                request = partial(
                    _send_signal,
                    run=run,
                    name=name,
                    data=self._signal_data(run, task),
                    number=f"signal {self._signals}",
                )
                self._schedule_request(runtime, ("signal", run, name), request)

    def _schedule_request(
        self, runtime: SimulatedRuntime, key: tuple[str, ...], request: DriverRequest
    ) -> None:
        if key in self._pending:
            return
        self._pending.add(key)
        assert self._delay is not None

        def send(driver: Driver, at: Micros) -> None:
            self._pending.discard(key)
            request(driver, at)

        runtime.schedule_request(to_micros(self._delay.quantile(self._rng.random())), send)


def _send_approval(
    driver: Driver, now: Micros, *, run: str, task: str, verdict: ApprovalDecision
) -> None:
    driver.answer(now, run, task, verdict, TOKEN)


def _send_signal(
    driver: Driver, now: Micros, *, run: str, name: str, data: JSONValue, number: str
) -> None:
    driver.signal_run(now, run, name, data, number, "somebody", TOKEN)
