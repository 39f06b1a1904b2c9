"""Scenarios of the kit for runtimes: small workflows, the replies of their agents, their outcome.

Plain data. Times are short but real, so that a runtime on a real clock finishes all scenarios in a
few seconds. Never says how a runtime is driven. To add one: a line in `SCENARIOS`.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from agenthive.core.model.calls import Fault, Reply, Usage
from agenthive.core.model.workflow import (
    AgentSpec,
    CompensationSpec,
    Effect,
    FailureStrategy,
    TaskSpec,
    WorkflowSpec,
)
from agenthive.core.policies.circuit_breaker import BreakerPolicy
from agenthive.core.policies.fault_classes import class_of_kind
from agenthive.core.policies.retry import RetryPolicy, RetryStrategy
from agenthive.core.values import JSONObject, JSONValue

#: During the call, cancellation of the run is requested.
CANCEL: Final = "cancel"
#: During the call, the process ends and another takes over.
CRASH: Final = "crash"


class ScriptedCall(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one call."""

    #: The reply; None if it never arrives.
    reply: Reply | None = None
    #: What happens during the call: `CANCEL`, `CRASH` or nothing.
    then: str = ""


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One run and its expected outcome.

    ``answers`` has the calls of each task by attempt; the last one repeats, and a task without an
    entry succeeds with its own name as result. A process ends with a `CRASH`, or when the run waits
    for an external decision and ``missing_agents`` has a further entry.
    """

    name: str
    spec: WorkflowSpec
    #: The expected status of the run.
    status: str
    #: Task -> its expected state.
    tasks: dict[str, str]
    inputs: JSONObject = {}
    answers: dict[str, tuple[ScriptedCall, ...]] = {}
    #: The agents that are missing in the second process, the third, and so on.
    missing_agents: tuple[frozenset[str], ...] = ()
    #: Whether tasks start in one order only.
    ordered: bool = True
    #: The number of calls that must be cancelled.
    hangs: int = 0
    #: Task -> seconds that must pass between an attempt and the next event of the task.
    pauses: dict[str, float] = {}

    def find_call(self, task: str, attempt: int) -> ScriptedCall:
        """The outcome of that attempt."""
        calls = self.answers.get(task, (ScriptedCall(reply=Reply(result=task)),))
        return calls[min(attempt, len(calls)) - 1]


AT_ONCE: Final = RetryPolicy(max_attempts=3, strategy=RetryStrategy.IMMEDIATE)
ONE_TRY: Final = RetryPolicy(max_attempts=1)


def _build_task(name: str, *depends_on: str, **overrides: Any) -> TaskSpec:
    fields: dict[str, Any] = {"agent": "a", "action": "do", "retry": ONE_TRY, **overrides}
    return TaskSpec(name=name, depends_on=depends_on, **fields)


def _build_workflow(*tasks: TaskSpec, **overrides: Any) -> WorkflowSpec:
    breaker = overrides.pop("breaker", None)
    names = sorted({task.agent for task in tasks} | {"a"})
    agents = tuple(
        AgentSpec(name=n, type="custom", endpoint=f"custom://{n}", circuit_breaker=breaker)
        for n in names
    )
    return WorkflowSpec(name="kit", agents=agents, tasks=tasks, **{"timeout": None, **overrides})


def _success(result: JSONValue, **fields: Any) -> ScriptedCall:
    return ScriptedCall(reply=Reply(result=result, **fields))


def _failure(**overrides: Any) -> ScriptedCall:
    fields: dict[str, Any] = {"kind": "agent_error", "message": "no", **overrides}
    class_ = class_of_kind(fields["kind"])
    return ScriptedCall(reply=Reply(fault=Fault(class_=class_, **fields)))


def _compensation() -> CompensationSpec:
    return CompensationSpec(agent="a", action="undo", retry=ONE_TRY)


NEVER: Final = ScriptedCall()
_OK: Final = "succeeded"
_THREE: Final = (_build_task("a"), _build_task("b"), _build_task("c", "b"), _build_task("d"))
_SAGA: Final = (
    _build_task("a", compensate=_compensation()),
    _build_task("b", "a", compensate=_compensation()),
    _build_task("c", "b"),
)
_CRASHING_CALL: Final = ScriptedCall(then=CRASH)
_USAGE: Final = Usage(model="m", input_tokens=7, output_tokens=3, cost=1_500)

SCENARIOS: Final = (
    Scenario(
        name="success",
        spec=_build_workflow(
            _build_task("a", parameters={"topic": "{{ inputs.topic }}"}),
            _build_task(
                "b", "a", parameters={"say": "{{ tasks.a.result.x }} & {{ tasks.a.status }}"}
            ),
            _build_task("c", "a", "b", effect=Effect.NONE),
        ),
        inputs={"topic": "bees"},
        answers={"a": (_success({"x": [1, None, 2.5]}, usage=_USAGE),)},
        status="completed",
        tasks={"a": _OK, "b": _OK, "c": _OK},
    ),
    Scenario(
        name="fan-out",
        spec=_build_workflow(*(_build_task(f"t{n}") for n in range(12)), max_parallel=5),
        status="completed",
        tasks={f"t{n}": _OK for n in range(12)},
        ordered=False,
    ),
    Scenario(
        name="priorities",
        spec=_build_workflow(
            *(_build_task(f"p{n}", "first", priority=n) for n in (5, 1, 10, 7)),
            _build_task("first"),
            _build_task("early", priority=10),
        ),
        status="completed",
        tasks=dict.fromkeys(("p5", "p1", "p10", "p7", "first", "early"), _OK),
    ),
    Scenario(
        name="retries, after the requested time",
        spec=_build_workflow(_build_task("a", retry=AT_ONCE), _build_task("b", "a")),
        answers={
            "a": (
                _failure(kind="rate_limited", retry_after=0.15, counts=False),
                _failure(kind="connection"),
                _success(3, usage=_USAGE),
            )
        },
        status="completed",
        tasks={"a": _OK, "b": _OK},
        pauses={"a": 0.15},
    ),
    Scenario(
        name="retries exhausted, or not retryable",
        spec=_build_workflow(
            _build_task("a", retry=AT_ONCE),
            _build_task("b", retry=AT_ONCE),
            failure_strategy=FailureStrategy.CONTINUE,
        ),
        answers={"a": (_failure(),), "b": (_failure(kind="refused", retriable=False),)},
        status="failed",
        tasks={"a": "failed", "b": "failed"},
    ),
    Scenario(
        name="stop on the first failure",
        spec=_build_workflow(*_THREE),
        answers={"b": (_failure(),)},
        status="failed",
        # The task on the longest remaining path starts first.
        tasks={"a": "skipped", "b": "failed", "c": "skipped", "d": "skipped"},
    ),
    Scenario(
        name="continue on failure",
        spec=_build_workflow(*_THREE, failure_strategy=FailureStrategy.CONTINUE),
        answers={"b": (_failure(),)},
        status="failed",
        tasks={"a": _OK, "b": "failed", "c": "skipped", "d": _OK},
    ),
    Scenario(
        name="partial completion",
        spec=_build_workflow(*_THREE, failure_strategy=FailureStrategy.PARTIAL),
        answers={"b": (_failure(),)},
        status="partially_completed",
        tasks={"a": _OK, "b": "failed", "c": "skipped", "d": _OK},
    ),
    Scenario(
        name="a failure that is tolerated",
        spec=_build_workflow(_build_task("a", continue_on_failure=True), _build_task("b", "a")),
        answers={"a": (_failure(),)},
        status="completed",
        tasks={"a": "failed", "b": _OK},
    ),
    Scenario(
        name="an expression without a value",
        spec=_build_workflow(
            _build_task("a"), _build_task("b", "a", parameters={"x": "{{ tasks.a.result.no.way }}"})
        ),
        status="failed",
        tasks={"a": _OK, "b": "failed"},
    ),
    Scenario(
        name="a task that times out",
        spec=_build_workflow(_build_task("a", timeout=0.3, retry=AT_ONCE), _build_task("b", "a")),
        answers={"a": (NEVER, NEVER, _success(1))},
        status="completed",
        tasks={"a": _OK, "b": _OK},
        hangs=2,
        pauses={"a": 0.3},
    ),
    Scenario(
        name="a run that times out",
        spec=_build_workflow(
            _build_task("a"),
            _build_task("b", "a", effect=Effect.NONE),
            _build_task("c", "b"),
            timeout=0.6,
        ),
        answers={"b": (NEVER,)},
        status="failed",
        tasks={"a": _OK, "b": "cancelled", "c": "skipped"},
        hangs=1,
    ),
    Scenario(
        name="a run that is cancelled",
        spec=_build_workflow(_build_task("a"), _build_task("b", "a"), _build_task("c", "b")),
        answers={"b": (ScriptedCall(then=CANCEL),)},
        status="cancelled",
        tasks={"a": _OK, "b": "cancelled", "c": "cancelled"},
        hangs=1,
    ),
    Scenario(
        name="compensation",
        spec=_build_workflow(*_SAGA),
        answers={"c": (_failure(),)},
        status="compensated",
        tasks={"a": "compensated", "b": "compensated", "c": "failed"},
    ),
    Scenario(
        name="compensation that fails",
        spec=_build_workflow(*_SAGA),
        answers={"c": (_failure(),), "b#undo": (_failure(),)},
        status="compensation_failed",
        tasks={"a": "compensated", "b": "compensation_failed", "c": "failed"},
    ),
    Scenario(
        name="a breaker that opens and closes",
        spec=_build_workflow(
            *(_build_task(f"t{n}") for n in range(3)),
            _build_task("u", agent="b"),
            breaker=BreakerPolicy(failure_threshold=2, recovery_timeout=0.2),
            failure_strategy=FailureStrategy.CONTINUE,
        ),
        answers={name: (_failure(kind="unavailable"),) for name in ("t0", "t1")},
        status="failed",
        tasks={"t0": "failed", "t1": "failed", "t2": _OK, "u": _OK},
        ordered=False,
    ),
    Scenario(
        name="a call that is cut off and made again",
        spec=_build_workflow(
            _build_task("a"), _build_task("b", "a", retry=AT_ONCE), _build_task("c", "b")
        ),
        answers={"b": (_CRASHING_CALL, _success(2))},
        missing_agents=(frozenset(),),
        status="completed",
        tasks={"a": _OK, "b": _OK, "c": _OK},
        hangs=1,
    ),
    Scenario(
        name="a call that may be made only once is cut off",
        spec=_build_workflow(
            _build_task("a"), _build_task("b", "a", effect=Effect.ONCE), _build_task("c", "b")
        ),
        answers={"b": (_CRASHING_CALL,)},
        missing_agents=(frozenset(),),
        status="waiting",
        tasks={"a": _OK, "b": "unknown_outcome", "c": "waiting"},
        hangs=1,
    ),
    Scenario(
        name="an agent that is missing, then supplied",
        spec=_build_workflow(
            _build_task("a", retry=AT_ONCE), _build_task("b", "a", agent="b"), _build_task("c", "b")
        ),
        answers={"a": (_CRASHING_CALL, _success(1))},
        missing_agents=(frozenset({"b"}), frozenset()),
        status="completed",
        tasks={"a": _OK, "b": _OK, "c": _OK},
        hangs=1,
    ),
)
