"""The people of a random simulation: they approve, signal and decide, rightly and wrongly.

While it goes they come by now and then and say anything: as somebody who was not asked, twice, too
late, about another payload, to a task that asks nothing. In the end (`answer_everything`) they
answer all that is asked, until nothing is, so that every run must end. All that they say is seen,
with what came of it under the same token. Draws nothing but from the generator they are given.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Final, TypeAlias

from agenthive.core.budget.scopes import run_of
from agenthive.core.engine.active_run import ActiveRun
from agenthive.core.engine.budget_requests import HoldSettlement
from agenthive.core.engine.driver import Driver
from agenthive.core.engine.human_input import (
    OUTCOMES,
    ApprovalDecision,
    PendingApproval,
    TaskResolution,
    pending_approvals,
)
from agenthive.core.journal.records import RunRow
from agenthive.core.model.states import CLOSED, TaskState
from agenthive.core.values import SECOND, JSONObject, JSONValue, Micros, NanoUSD
from agenthive.errors import Conflict, NotFound
from agenthive.simulation.runtime import SimulatedRuntime
from tests.fuzz.random_flow import CHIEF, PEOPLE, SIGNALS

DriverRequest: TypeAlias = Callable[[Driver, Micros, int], None]
ObserveCall: TypeAlias = Callable[[Micros, str, JSONObject], None]

VISITS: Final = 12
VISIT_PERIOD: Final[Micros] = 120 * SECOND
"""How often somebody comes by, and in what time."""
MAX_CLOSING_ROUNDS: Final = 300
"""How often they look again whether something is still asked."""


class RandomPeople:
    """All people of one simulation. ``observe`` takes what they say."""

    def __init__(self, rng: Random, runtime: SimulatedRuntime, observe: ObserveCall) -> None:
        self._rng = rng
        self._runtime = runtime
        self._observe = observe
        self._token = 100
        self._signal_ids: list[str] = []

    def schedule_visits(self, visits: int, period: Micros) -> None:
        """Have somebody say something at that many random times."""
        for _ in range(visits):
            self._runtime.schedule_request(self._rng.randrange(period), self._make_visit)

    def answer_everything(self) -> bool:
        """Everybody answers until nothing is asked any more. False if that does not end."""
        for _ in range(MAX_CLOSING_ROUNDS):
            before = self._token
            for run in [*self._runtime.driver.runs.values()]:
                self._answer_all(run)
            if self._token == before:
                return True
            if not self._runtime.run():
                return False
        return False

    # Now and then, anything.

    def _make_visit(self, driver: Driver, now: Micros) -> None:
        rng = self._rng
        runs = [*driver.runs.values()]
        if rng.random() < 0.1:
            self._answer_after_end()
        elif runs:
            run = rng.choice(runs)
            action = rng.choice(
                (
                    self._random_approval,
                    self._random_approval,
                    self._random_signals,
                    self._random_resolution,
                )
            )
            action(run)
            if run.state.holds or run.state.lacks:
                self._change_money(run)
            if rng.random() < 0.03:
                self._runtime.cancel(0, run.id)

    def _random_approval(self, run: ActiveRun) -> None:
        rng, approvals = self._rng, pending_approvals(run.state)
        if not approvals or rng.random() < 0.1:
            task = rng.choice([*run.state.graph.keys, "no such task"])
            self._send_answer(run.id, task, rng.choice(PEOPLE), approved=True)
            return
        approval = rng.choice(approvals)
        digest = rng.choice((approval.digest, approval.digest, approval.digest[:12], "", "0" * 64))
        actor = rng.choice((*PEOPLE, CHIEF, "mallory", *approval.agreed))
        self._send_answer(run.id, approval.task, actor, approved=rng.random() < 0.8, digest=digest)

    def _random_signals(self, run: ActiveRun) -> None:
        rng = self._rng
        name = rng.choice((*SIGNALS, SIGNALS[0], "unknown"))
        for _ in range(rng.choice((1, 2, 3))):
            repeated = (
                rng.choice(self._signal_ids) if self._signal_ids and rng.random() < 0.3 else ""
            )
            new_id = "" if rng.random() < 0.2 else f"id {self._token}"
            self._send_signal(run.id, name, repeated or new_id)

    def _random_resolution(self, run: ActiveRun) -> None:
        unknown = _unknown_outcomes(run) or run.state.graph.keys
        if unknown:
            self._send_resolution(run.id, self._rng.choice(unknown), self._rng.choice(OUTCOMES))

    def _change_money(self, run: ActiveRun) -> None:
        """Somebody raises a limit, or has seen the bill of a call."""
        state, rng = run.state, self._rng
        for scope, amount in [*state.lacks.values()][:1]:
            increase = rng.choice((amount, amount // 2, 3 * amount))
            self._submit_statement(
                {"what": "budget", "run": run_of(scope)}, partial(_raise_budget, scope, increase)
            )
        for index, attempt in [*state.holds][:1]:
            task, cost = state.graph.keys[index], state.holds[index, attempt].amount
            statement: JSONObject = {"what": "settle", "run": run.id, "task": task}
            self._submit_statement(statement, partial(_settle_hold, run.id, task, cost))

    def _answer_after_end(self) -> None:
        """An answer about a run that has ended: its state is no longer in anybody's hands."""
        rows: list[RunRow] = [row for row in self._runtime.disk.rows() if row.status in CLOSED]
        if rows:
            run = self._rng.choice(rows).run
            verdict = ApprovalDecision(actor="ann", approved=True)
            self._submit_statement(
                {"what": "late", "run": run, "task": "t0", "actor": "ann"},
                lambda driver, now, token: driver.record_answer_after_end(
                    now, run, "t0", verdict, token
                ),
            )

    # In the end, all that is asked.

    def _answer_all(self, run: ActiveRun) -> None:
        state = run.state
        for approval in pending_approvals(state):
            for actor in _missing_approvers(approval):
                approved = self._rng.random() < 0.9
                self._send_answer(
                    run.id, approval.task, actor, approved=approved, digest=approval.digest
                )
        for name, tasks in ({} if state.flow is None else state.flow.listening).items():
            for _ in tasks:
                self._send_signal(run.id, name, f"id {self._token}")
        if state.status not in CLOSED and not state.stopping:
            for task in _unknown_outcomes(run):
                outcome = self._rng.choice(("succeeded", "failed", *OUTCOMES))
                self._send_resolution(run.id, task, outcome)

    # What is said.

    def _send_answer(
        self, run: str, task: str, actor: str, *, approved: bool, digest: str = ""
    ) -> None:
        verdict = ApprovalDecision(actor=actor, approved=approved, digest=digest)
        statement: JSONObject = {"what": "answer", "run": run, "task": task, "actor": actor}
        self._submit_statement(
            statement | {"approved": approved, "digest": digest},
            lambda driver, now, token: driver.answer(now, run, task, verdict, token),
        )

    def _send_signal(self, run: str, name: str, identity: str) -> None:
        data = f"data {self._token}"
        if identity:
            self._signal_ids.append(identity)
        self._submit_statement(
            {"what": "signal", "run": run, "name": name, "id": identity, "data": data},
            lambda driver, now, token: driver.signal_run(
                now, run, name, data, identity, "x", token
            ),
        )

    def _send_resolution(self, run: str, task: str, outcome: str) -> None:
        result: JSONValue = {"n": 10_000 + self._token} if outcome == "succeeded" else None
        resolution = TaskResolution(
            run=run, task=task, outcome=outcome, result=result, actor="ann", reason="she saw"
        )
        self._submit_statement(
            {"what": "resolve", "run": run, "task": task, "outcome": outcome, "result": result},
            lambda driver, now, token: driver.resolve_outcome(now, resolution, token),
        )

    def _submit_statement(self, statement: JSONObject, request: DriverRequest) -> None:
        self._token += 1
        token = self._token

        def deliver(driver: Driver, at: Micros) -> None:
            self._observe(self._runtime.now, "said", statement | {"token": token})
            try:
                request(driver, at, token)
            except (NotFound, Conflict):
                self._observe(self._runtime.now, "turned_away", {"token": token})
                raise

        self._runtime.schedule_request(0, deliver)


def _raise_budget(scope: str, amount: NanoUSD, driver: Driver, now: Micros, token: int) -> None:
    driver.set_budget(now, scope, amount, "ann", "she may", token, add=True)


def _settle_hold(
    run: str, task: str, cost: NanoUSD, driver: Driver, now: Micros, token: int
) -> None:
    settlement = HoldSettlement(run=run, task=task, cost=cost, actor="ann", reason="the bill")
    driver.settle_hold(now, settlement, token)


def _missing_approvers(approval: PendingApproval) -> list[str]:
    approvers = approval.approvers or PEOPLE
    return [actor for actor in approvers if actor not in approval.agreed]


def _unknown_outcomes(run: ActiveRun) -> list[str]:
    state = run.state
    return [
        key
        for key, kind in zip(state.graph.keys, state.state, strict=True)
        if kind is TaskState.UNKNOWN_OUTCOME
        and state.graph.nodes[state.graph.index[key]].compensates is None
    ]
