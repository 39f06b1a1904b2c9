"""What people say about a run: approvals, signals, and what came of a call nobody knows about.

Each function looks at what was said and gives the fact to apply, or the reason why it does not
count. Pure. Who somebody is, is the business of whoever lets them in.
"""

from __future__ import annotations

from typing import Final

import msgspec

from agenthive.core.budget.holds import MONEY
from agenthive.core.engine.step_evaluation import payload_digest
from agenthive.core.graph.nodes import Node
from agenthive.core.journal import run_events as ev
from agenthive.core.machine.flow_state import MOST_KEPT
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.states import TaskState
from agenthive.core.values import JSONObject, JSONValue, Micros
from agenthive.errors import Conflict, NotFound

OUTCOMES: Final = ("succeeded", "failed", "retry")
MOST_REFUSALS: Final = 1000
"""Answers that did not count, after which a run records no more of them."""
MOST_SEEN: Final = 10_000
"""Ids of signals a run remembers."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody answers. ``digest`` is that of the payload they saw; empty: of any."""

    actor: str
    approved: bool
    digest: str = ""
    comment: str = ""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """An approval that is waited for. ``digest`` is that of ``payload``; times are microseconds.

    ``approvers`` may answer now (nobody named: anybody); ``agreed`` of ``quorum`` have.
    """

    run: str
    task: str
    message: str
    payload: JSONValue
    digest: str
    asked: Micros
    approvers: tuple[str, ...]
    agreed: tuple[str, ...]
    quorum: int
    deadline: Micros | None = None


def questions(state: RunState) -> list[Question]:
    """The approvals that a run waits for."""
    found = state.flow.approvals if state.flow is not None else {}
    money = [
        Question(
            run=state.run, task=state.graph.keys[task], message=detail,
            payload=_lack(state, task), digest=digest_of_lack(state, task),
            asked=state.since[task], approvers=(), agreed=(), quorum=1, deadline=None,
        )
        for task, (reason, detail) in state.blocked.items()
        if reason == MONEY[1]
    ]  # fmt: skip
    return money + [
        Question(
            run=state.run, task=state.graph.keys[task], message=one.message, payload=one.payload,
            digest=one.digest, asked=one.asked, approvers=one.approvers,
            agreed=tuple(one.agreed), quorum=one.spec.quorum, deadline=one.deadline,
        )
        for task, one in found.items()
    ]  # fmt: skip


def _lack(state: RunState, task: int) -> JSONObject:
    """What people are asked to agree to: that a scope may be spent from by so much."""
    scope, amount = state.lacks[task]
    return {"scope": scope, "may_cost_usd": amount / 10**9}


def digest_of_lack(state: RunState, task: int) -> str:
    """The name of that question."""
    return payload_digest(_lack(state, task))


def answered(state: RunState, key: str, verdict: Verdict, now: Micros) -> tuple[ev.RunEvent, str]:
    """The fact that an answer is, and why it does not count (empty if it does).

    Raises NotFound if the run has no such task.
    """
    task = _find(state, key)
    refusal = _refusal(state, task, verdict)
    if refusal:
        fact: ev.RunEvent = ev.ApprovalRefused(
            at=now, task=key, actor=verdict.actor, approved=verdict.approved,
            digest=verdict.digest, reason=refusal,
        )  # fmt: skip
        return fact, refusal
    assert state.flow is not None
    digest = state.flow.approvals[task].digest
    return ev.ApprovalGiven(
        at=now, task=key, actor=verdict.actor, approved=verdict.approved, digest=digest,
        comment=verdict.comment,
    ), ""  # fmt: skip


def _refusal(state: RunState, task: int, verdict: Verdict) -> str:
    approval = None if state.flow is None else state.flow.approvals.get(task)
    if approval is None:
        return (
            f"task '{state.graph.keys[task]}' is {state.state[task]}: no approval is asked for it"
        )
    if not approval.may_answer(verdict.actor):
        return f"'{verdict.actor}' is not asked; asked are {', '.join(approval.approvers)}"
    if verdict.actor in approval.agreed:
        return f"'{verdict.actor}' has answered already"
    if verdict.digest and not approval.digest.startswith(verdict.digest):
        return f"the answer is about another payload: {approval.digest[:12]} is asked about"
    return ""


def signalled(
    state: RunState, name: str, data: JSONValue, signal: str, actor: str, now: Micros
) -> ev.SignalReceived | None:
    """The fact that a signal is; None for one that has come already.

    Raises NotFound if no task waits for such a signal at any time, Conflict if it is refused.
    """
    waits = _waiting_nodes(state, name)
    if not waits:
        raise NotFound(
            f"no task of run {state.run} waits for a signal '{name}'",
            hint=f"It waits for: {', '.join(_signals(state)) or 'none'}.",
        )
    flow = state.flow
    if flow is not None and signal and signal in flow.seen:
        return None
    listening = flow is not None and bool(flow.listening.get(name))
    kept = 0 if flow is None else len(flow.kept.get(name, ()))
    if not listening and not any(node.wait.keep for node in waits):
        raise Conflict(f"nobody waits for the signal '{name}' now, and it is not to be kept")
    if kept >= MOST_KEPT or (flow is not None and len(flow.seen) >= MOST_SEEN):
        raise Conflict(f"run {state.run} keeps no more signals '{name}'")
    return ev.SignalReceived(at=now, name=name, data=data, id=signal, actor=actor)


def _waiting_nodes(state: RunState, name: str) -> list[Node]:
    tasks = state.graph.nodes[: state.graph.tasks]
    return [n for n in tasks if n.around and n.around.wait and n.around.wait.signal == name]


def _signals(state: RunState) -> list[str]:
    tasks = state.graph.nodes[: state.graph.tasks]
    return sorted({n.around.wait.signal for n in tasks if n.around and n.around.wait})


def resolved(
    state: RunState, key: str, outcome: str, result: JSONValue, actor: str, reason: str, now: Micros
) -> ev.TaskResolved:
    """The fact that somebody found out. Raises NotFound, Conflict."""
    task = _find(state, key)
    if outcome not in OUTCOMES:
        raise Conflict(f"'{outcome}' is no outcome; there are {', '.join(OUTCOMES)}")
    if state.state[task] is not TaskState.UNKNOWN_OUTCOME:
        raise Conflict(f"task '{key}' is {state.state[task]}: its outcome is not unknown")
    if state.graph.nodes[task].undoes is not None:
        raise Conflict(f"'{key}' has undone something or not: the run goes on without knowing")
    return ev.TaskResolved(
        at=now, task=key, attempt=state.attempts[task], outcome=outcome, result=result,
        actor=actor, reason=reason,
    )  # fmt: skip


def _find(state: RunState, key: str) -> int:
    task = state.graph.index.get(key)
    if task is None:
        raise NotFound(f"run {state.run} has no task '{key}'", hint="`agenthive show` lists them.")
    return task
