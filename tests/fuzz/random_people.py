"""The people of a random simulation: they approve, signal and decide, rightly and wrongly.

While it goes they come by now and then and say anything: as somebody who was not asked, twice, too
late, about another payload, to a task that asks nothing. In the end (`close`) they answer all that
is asked, until nothing is, so that every run must end. All that they say is seen, with what came of
it under the same token. Draws nothing but from the generator they are given.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Final, TypeAlias

from agenthive.core.budget.scopes import run_of
from agenthive.core.engine.active_run import Live
from agenthive.core.engine.driver import Driver
from agenthive.core.engine.human_input import OUTCOMES, Question, Verdict, questions
from agenthive.core.journal.records import RunRow
from agenthive.core.model.states import CLOSED, TaskState
from agenthive.core.values import SECOND, JSONObject, JSONValue, Micros, NanoUSD
from agenthive.errors import Conflict, NotFound
from agenthive.simulation.runtime import SimulatedRuntime
from tests.fuzz.random_flow import CHIEF, PEOPLE, SIGNALS

Say: TypeAlias = Callable[[Driver, Micros, int], None]
Saw: TypeAlias = Callable[[Micros, str, JSONObject], None]

VISITS: Final = 12
WITHIN: Final[Micros] = 120 * SECOND
"""How often somebody comes by, and in what time."""
MOST_CLOSING: Final = 300
"""How often they look again whether something is still asked."""


class Crowd:
    """All people of one simulation. ``saw`` takes what they say."""

    def __init__(self, rng: Random, runtime: SimulatedRuntime, saw: Saw) -> None:
        self._rng = rng
        self._runtime = runtime
        self._saw = saw
        self._token = 100
        self._said: list[str] = []

    def come_by(self, visits: int, within: Micros) -> None:
        """Have somebody say something at that many random times."""
        for _ in range(visits):
            self._runtime.ask(self._rng.randrange(within), self._visit)

    def close(self) -> bool:
        """Everybody answers until nothing is asked any more. False if that does not end."""
        for _ in range(MOST_CLOSING):
            before = self._token
            for live in [*self._runtime.driver.runs.values()]:
                self._answer_all(live)
            if self._token == before:
                return True
            if not self._runtime.run():
                return False
        return False

    # Now and then, anything.

    def _visit(self, driver: Driver, now: Micros) -> None:
        rng = self._rng
        lives = [*driver.runs.values()]
        if rng.random() < 0.1:
            self._too_late()
        elif lives:
            live = rng.choice(lives)
            deed = rng.choice((self._verdict, self._verdict, self._some_signal, self._decision))
            deed(live)
            if live.state.holds or live.state.lacks:
                self._money(live)
            if rng.random() < 0.03:
                self._runtime.cancel(0, live.run)

    def _verdict(self, live: Live) -> None:
        rng, asked = self._rng, questions(live.state)
        if not asked or rng.random() < 0.1:
            task = rng.choice([*live.state.graph.keys, "no such task"])
            self._answer(live.run, task, rng.choice(PEOPLE), approved=True)
            return
        one = rng.choice(asked)
        digest = rng.choice((one.digest, one.digest, one.digest[:12], "", "0" * 64))
        actor = rng.choice((*PEOPLE, CHIEF, "mallory", *one.agreed))
        self._answer(live.run, one.task, actor, approved=rng.random() < 0.8, digest=digest)

    def _some_signal(self, live: Live) -> None:
        rng = self._rng
        name = rng.choice((*SIGNALS, SIGNALS[0], "unknown"))
        for _ in range(rng.choice((1, 2, 3))):
            repeated = rng.choice(self._said) if self._said and rng.random() < 0.3 else ""
            new = "" if rng.random() < 0.2 else f"id {self._token}"
            self._signal(live.run, name, repeated or new)

    def _decision(self, live: Live) -> None:
        unknown = _unknown(live) or live.state.graph.keys
        if unknown:
            self._resolve(live.run, self._rng.choice(unknown), self._rng.choice(OUTCOMES))

    def _money(self, live: Live) -> None:
        """Somebody raises a limit, or has seen the bill of a call."""
        state, rng = live.state, self._rng
        for scope, amount in [*state.lacks.values()][:1]:
            more = rng.choice((amount, amount // 2, 3 * amount))
            self._tell({"what": "budget", "run": run_of(scope)}, partial(_raise, scope, more))
        for index, attempt in [*state.holds][:1]:
            task, cost = state.graph.keys[index], state.holds[index, attempt].amount
            said: JSONObject = {"what": "settle", "run": live.run, "task": task}
            self._tell(said, partial(_settle, live.run, task, cost))

    def _too_late(self) -> None:
        """An answer about a run that has ended: its state is no longer in anybody's hands."""
        rows: list[RunRow] = [row for row in self._runtime.disk.rows() if row.status in CLOSED]
        if rows:
            run = self._rng.choice(rows).run
            verdict = Verdict(actor="ann", approved=True)
            self._tell(
                {"what": "late", "run": run, "task": "t0", "actor": "ann"},
                lambda driver, now, token: driver.answer_after_end(now, run, "t0", verdict, token),
            )

    # In the end, all that is asked.

    def _answer_all(self, live: Live) -> None:
        state = live.state
        for one in questions(state):
            for actor in _asked(one):
                good = self._rng.random() < 0.9
                self._answer(live.run, one.task, actor, approved=good, digest=one.digest)
        for name, tasks in ({} if state.flow is None else state.flow.listening).items():
            for _ in tasks:
                self._signal(live.run, name, f"id {self._token}")
        if state.status not in CLOSED and not state.stopping:
            for task in _unknown(live):
                outcome = self._rng.choice(("succeeded", "failed", *OUTCOMES))
                self._resolve(live.run, task, outcome)

    # What is said.

    def _answer(self, run: str, task: str, actor: str, *, approved: bool, digest: str = "") -> None:
        verdict = Verdict(actor=actor, approved=approved, digest=digest)
        said: JSONObject = {"what": "answer", "run": run, "task": task, "actor": actor}
        self._tell(
            said | {"approved": approved, "digest": digest},
            lambda driver, now, token: driver.answer(now, run, task, verdict, token),
        )

    def _signal(self, run: str, name: str, identity: str) -> None:
        data = f"data {self._token}"
        if identity:
            self._said.append(identity)
        self._tell(
            {"what": "signal", "run": run, "name": name, "id": identity, "data": data},
            lambda driver, now, token: driver.signal(now, run, name, data, identity, "x", token),
        )

    def _resolve(self, run: str, task: str, outcome: str) -> None:
        result: JSONValue = {"n": 10_000 + self._token} if outcome == "succeeded" else None
        self._tell(
            {"what": "resolve", "run": run, "task": task, "outcome": outcome, "result": result},
            lambda driver, now, token: driver.resolve(
                now, run, task, outcome, result, "ann", "she saw", token
            ),
        )

    def _tell(self, said: JSONObject, say: Say) -> None:
        self._token += 1
        token = self._token

        def now(driver: Driver, at: Micros) -> None:
            self._saw(self._runtime.now, "said", said | {"token": token})
            try:
                say(driver, at, token)
            except (NotFound, Conflict):
                self._saw(self._runtime.now, "turned_away", {"token": token})
                raise

        self._runtime.ask(0, now)


def _raise(scope: str, more: NanoUSD, driver: Driver, now: Micros, token: int) -> None:
    driver.set_budget(now, scope, more, "ann", "she may", token, add=True)


def _settle(run: str, task: str, cost: NanoUSD, driver: Driver, now: Micros, token: int) -> None:
    driver.settle_hold(now, run, task, None, cost, "ann", "the bill", token)


def _asked(one: Question) -> list[str]:
    everybody = one.approvers or PEOPLE
    return [actor for actor in everybody if actor not in one.agreed]


def _unknown(live: Live) -> list[str]:
    state = live.state
    return [
        key
        for key, kind in zip(state.graph.keys, state.state, strict=True)
        if kind is TaskState.UNKNOWN_OUTCOME
        and state.graph.nodes[state.graph.index[key]].undoes is None
    ]
