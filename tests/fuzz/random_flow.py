"""Random things that stand around calls: conditions, waits, approvals, items, rounds, children.

A seed switches each feature on or off (`Features`), so that rare combinations come up alone and
together. Draws nothing but from the generator it is given. To add a feature: a switch, and a
function that dresses a task in it.
"""

from __future__ import annotations

from random import Random
from typing import Any, Final

import msgspec

from agenthive.core.model.control_flow import (
    ApprovalSpec,
    EachSpec,
    OnDeadline,
    OnReject,
    ReconcileSpec,
    RepeatSpec,
    WaitSpec,
)
from agenthive.core.model.workflow import Effect, TaskSpec, WorkflowSpec
from agenthive.core.values import JSONObject, JSONValue
from tests.fuzz.random_workflows import random_workflow

PEOPLE: Final = ("ann", "bob", "cid")
CHIEF: Final = "chief"
SIGNALS: Final = ("s0", "s1")
NO_SIGNAL: Final = "nobody"
"""What a task gets for a signal that does not come."""
UNTIL: Final = ("2023-11-14T22:13:50Z", "2023-11-14T22:15:00Z", "2001-01-01T00:00Z")
"""Half a minute and two minutes after a simulation begins; and long before."""
DEPTH: Final = 2
"""How deep workflows within workflows go."""


class Features(msgspec.Struct, frozen=True, kw_only=True):
    """What may stand around the calls of one simulation."""

    when: bool
    timer: bool
    signal: bool
    approval: bool
    each: bool
    rounds: bool
    child: bool
    reconcile: bool
    faulty: bool


def random_features(seed: int) -> Features | None:
    """Those of a seed; None is a plain one, of calls alone."""
    rng = Random(f"features of {seed}")
    if rng.random() < 0.5:
        return None
    return Features(**{name: rng.random() < 0.5 for name in Features.__struct_fields__})


def with_flow(rng: Random, spec: WorkflowSpec, features: Features, depth: int = 0) -> WorkflowSpec:
    """The workflow, with what the features give around some of its calls."""
    decorator = _FlowDecorator(rng, features, depth)
    tasks: list[TaskSpec] = []
    for task in spec.tasks:
        tasks.append(decorator.decorate(task, tasks, spec))
    outputs: JSONObject = {}
    if depth and tasks and rng.random() < 0.5:
        outputs = {"last": f"{{{{ tasks.{tasks[-1].name}.result }}}}"}
    return msgspec.structs.replace(spec, tasks=tuple(tasks), outputs=outputs)


class _FlowDecorator:
    def __init__(self, rng: Random, features: Features, depth: int) -> None:
        self._rng = rng
        self._features = features
        self._depth = depth

    def decorate(self, task: TaskSpec, before: list[TaskSpec], spec: WorkflowSpec) -> TaskSpec:
        """The task with something around it; ``before`` are those that it may depend on."""
        calls = [
            candidate.name
            for candidate in before
            if candidate.name in task.depends_on and _has_single_result(candidate)
        ]
        changes: dict[str, Any] = {}
        if before and before[-1].for_each is not None and self._rng.random() < 0.6:
            changes["depends_on"] = tuple(dict.fromkeys((*task.depends_on, before[-1].name)))
        for name in ("when", "timer", "signal", "each", "rounds", "approval"):
            if getattr(self._features, name) and self._rng.random() < 0.4:
                changes |= getattr(self, "_" + name)(calls)
        changes |= self._replace_body(task, changes)
        if self._features.reconcile and task.effect is Effect.ONCE and self._rng.random() < 0.7:
            agent = self._rng.choice(spec.agents).name
            changes["reconcile"] = ReconcileSpec(agent=agent, action="ask", timeout=5.0)
        changes["parameters"] = self._build_parameters(task, changes, calls)
        return msgspec.structs.replace(task, **changes)

    def _replace_body(self, task: TaskSpec, changes: dict[str, Any]) -> dict[str, Any]:
        """Another workflow, nothing at all, or the call as it is."""
        rng = self._rng
        if self._features.child and self._depth < DEPTH and rng.random() < 0.3:
            inner = random_workflow(rng, max_tasks=3)
            child = with_flow(rng, inner, self._features, self._depth + 1)
            return {"agent": "", "action": "", "workflow": child}
        waits = changes.keys() & {"delay", "until", "wait_for", "approval"}
        if waits and not changes.keys() & {"for_each", "repeat_until"} and rng.random() < 0.3:
            return {"agent": "", "action": "", "compensate": None}
        return {}

    def _build_parameters(
        self, task: TaskSpec, changes: dict[str, Any], calls: list[str]
    ) -> JSONObject:
        """What there is to be read; the name says what it is, so that the judge can compare."""
        readable = task.parameters
        if (
            not all(f"tasks.{name}." in str(readable) for name in calls)
            and self._rng.random() < 0.9
        ):
            readable = {}
        parameters: JSONObject = dict(readable)
        if "for_each" in changes:
            parameters |= {"item": "{{ item }}", "index": "{{ index }}"}
        if "repeat_until" in changes:
            parameters |= {"round": "{{ round }}", "previous": "{{ previous }}"}
        if "wait_for" in changes:
            parameters["signal"] = "{{ signal }}"
        if calls and self._features.faulty and self._rng.random() < 0.2:
            parameters["faulty"] = f"{{{{ 1 / (tasks.{calls[0]}.result.n % 2) }}}}"
        return parameters

    def _when(self, calls: list[str]) -> dict[str, Any]:
        rng = self._rng
        if not calls or rng.random() < 0.3:
            return {"when": rng.choice(("true", "false"))}
        if self._features.faulty and rng.random() < 0.1:
            return {"when": f"tasks.{calls[0]}.result.n.x.y"}
        return {"when": f"tasks.{rng.choice(calls)}.result.n % 2 == 0"}

    def _timer(self, calls: list[str]) -> dict[str, Any]:
        rng = self._rng
        if rng.random() < 0.3:
            faulty = self._features.faulty and rng.random() < 0.2
            return {"until": "soon" if faulty else rng.choice(UNTIL)}
        if calls and rng.random() < 0.3:
            return {"delay": f"{{{{ tasks.{calls[0]}.result.n }}}}"}
        return {"delay": rng.choice((0.0, 1.5, 20.0, 300.0))}

    def _signal(self, calls: list[str]) -> dict[str, Any]:
        rng = self._rng
        timeout = rng.choice((None, None, 20.0))
        wait = WaitSpec(
            signal=rng.choice((*SIGNALS, SIGNALS[0])),
            timeout=timeout,
            default=NO_SIGNAL,
            has_default=timeout is not None and rng.random() < 0.5,
            keep=rng.random() < 0.8,
        )
        return {"wait_for": wait}

    def _approval(self, calls: list[str]) -> dict[str, Any]:
        rng = self._rng
        approvers = PEOPLE[: rng.choice((0, 1, 2, 3))]
        deadline = rng.choice((None, None, 40.0))
        escalates = bool(approvers) and rng.random() < 0.3
        approval = ApprovalSpec(
            message="may it?",
            payload={"n": f"{{{{ tasks.{calls[0]}.result.n }}}}"} if calls else 7,
            approvers=approvers,
            quorum=rng.randint(1, len(approvers) or 2),
            deadline=deadline,
            on_deadline=rng.choice(list(OnDeadline)),
            on_reject=rng.choice(list(OnReject)),
            escalate_after=15.0 if escalates else None,
            escalate_to=(CHIEF,) if escalates else (),
        )
        return {"approval": approval}

    def _each(self, calls: list[str]) -> dict[str, Any]:
        rng = self._rng
        items: JSONValue = [f"item {i}" for i in range(rng.choice((0, 1, 2, 4)))]
        if calls and rng.random() < 0.5:
            field = "n" if self._features.faulty and rng.random() < 0.2 else "items"
            items = f"tasks.{rng.choice(calls)}.result.{field}"
        max_items = 3 if self._features.faulty and rng.random() < 0.2 else 1000
        return {
            "for_each": EachSpec(
                items=items, max_items=max_items, max_parallel=rng.choice((None, 1, 2))
            )
        }

    def _rounds(self, calls: list[str]) -> dict[str, Any]:
        until = self._rng.choice(("result.stop", "result.stop", "round >= 2"))
        return {"repeat_until": RepeatSpec(until=until, max_rounds=self._rng.randint(1, 4))}


def _has_single_result(task: TaskSpec) -> bool:
    """Whether its result is that of one call."""
    return bool(task.agent) and task.for_each is None
