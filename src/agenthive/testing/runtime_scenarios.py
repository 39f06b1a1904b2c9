"""What the kit for runtimes plays: small workflows, what their agents answer, how they must end.

Plain data. Times are short but real, so that a runtime on a real clock gets through all of them in
a few seconds. Never says how a runtime is driven. To add one: a line in `SCENARIOS`.
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
from agenthive.core.policies.retry import RetryPolicy, RetryStrategy
from agenthive.core.values import JSONObject, JSONValue

CANCEL: Final = "cancel"
"""Then somebody asks for the run to be cancelled."""
CRASH: Final = "crash"
"""Then the process ends, and another takes over."""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """What comes of one call: ``reply``, or None if it never comes. ``then`` happens meanwhile."""

    reply: Reply | None = None
    then: str = ""


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One run.

    ``answers`` has the turns of each task by attempt; the last one goes on, and a task that is not
    named succeeds with its own name. ``lacking`` has the agents that nobody has in the second life
    of the process, the third, ...: a life ends by a turn that says so, or when the run waits for
    somebody and there is a further one. ``status`` and ``tasks`` are what it must come to,
    ``hangs`` the calls that must be given up. ``ordered``: starts have one order only.
    ``pauses`` are seconds that must lie between an attempt of a task and what follows in its log.
    """

    name: str
    spec: WorkflowSpec
    status: str
    tasks: dict[str, str]
    inputs: JSONObject = {}
    answers: dict[str, tuple[Turn, ...]] = {}
    lacking: tuple[frozenset[str], ...] = ()
    ordered: bool = True
    hangs: int = 0
    pauses: dict[str, float] = {}

    def turn(self, task: str, attempt: int) -> Turn:
        """What comes of that attempt."""
        turns = self.answers.get(task, (Turn(reply=Reply(result=task)),))
        return turns[min(attempt, len(turns)) - 1]


AT_ONCE: Final = RetryPolicy(max_attempts=3, strategy=RetryStrategy.IMMEDIATE)
ONE_TRY: Final = RetryPolicy(max_attempts=1)


def _task(name: str, *after: str, **more: Any) -> TaskSpec:
    given: dict[str, Any] = {"agent": "a", "action": "do", "retry": ONE_TRY, **more}
    return TaskSpec(name=name, depends_on=after, **given)


def _flow(*tasks: TaskSpec, **more: Any) -> WorkflowSpec:
    breaker = more.pop("breaker", None)
    names = sorted({task.agent for task in tasks} | {"a"})
    agents = tuple(
        AgentSpec(name=n, type="custom", endpoint=f"custom://{n}", circuit_breaker=breaker)
        for n in names
    )
    return WorkflowSpec(name="kit", agents=agents, tasks=tasks, **{"timeout": None, **more})


def _good(result: JSONValue, **more: Any) -> Turn:
    return Turn(reply=Reply(result=result, **more))


def _bad(**more: Any) -> Turn:
    given: dict[str, Any] = {"kind": "agent_error", "message": "no", **more}
    return Turn(reply=Reply(fault=Fault(**given)))


def _undo() -> CompensationSpec:
    return CompensationSpec(agent="a", action="undo", retry=ONE_TRY)


NEVER: Final = Turn()
_OK: Final = "succeeded"
_THREE: Final = (_task("a"), _task("b"), _task("c", "b"), _task("d"))
_SAGA: Final = (
    _task("a", compensate=_undo()),
    _task("b", "a", compensate=_undo()),
    _task("c", "b"),
)
_HELD: Final = Turn(then=CRASH)
_USED: Final = Usage(model="m", input_tokens=7, output_tokens=3, cost=1_500)

SCENARIOS: Final = (
    Scenario(
        name="success",
        spec=_flow(
            _task("a", parameters={"topic": "{{ inputs.topic }}"}),
            _task("b", "a", parameters={"say": "{{ tasks.a.result.x }} & {{ tasks.a.status }}"}),
            _task("c", "a", "b", effect=Effect.NONE),
        ),
        inputs={"topic": "bees"},
        answers={"a": (_good({"x": [1, None, 2.5]}, usage=_USED),)},
        status="completed",
        tasks={"a": _OK, "b": _OK, "c": _OK},
    ),
    Scenario(
        name="fan-out",
        spec=_flow(*(_task(f"t{n}") for n in range(12)), max_parallel=5),
        status="completed",
        tasks={f"t{n}": _OK for n in range(12)},
        ordered=False,
    ),
    Scenario(
        name="priorities",
        spec=_flow(
            *(_task(f"p{n}", "first", priority=n) for n in (5, 1, 10, 7)),
            _task("first"),
            _task("early", priority=10),
        ),
        status="completed",
        tasks=dict.fromkeys(("p5", "p1", "p10", "p7", "first", "early"), _OK),
    ),
    Scenario(
        name="retries, as long as the other side asks for",
        spec=_flow(_task("a", retry=AT_ONCE), _task("b", "a")),
        answers={
            "a": (
                _bad(kind="rate_limited", retry_after=0.15, counts=False),
                _bad(kind="connection"),
                _good(3, usage=_USED),
            )
        },
        status="completed",
        tasks={"a": _OK, "b": _OK},
        pauses={"a": 0.15},
    ),
    Scenario(
        name="retries used up, or of no use",
        spec=_flow(
            _task("a", retry=AT_ONCE),
            _task("b", retry=AT_ONCE),
            failure_strategy=FailureStrategy.CONTINUE,
        ),
        answers={"a": (_bad(),), "b": (_bad(kind="refused", retriable=False),)},
        status="failed",
        tasks={"a": "failed", "b": "failed"},
    ),
    Scenario(
        name="stop on the first failure",
        spec=_flow(*_THREE),
        answers={"b": (_bad(),)},
        status="failed",
        # The longest way to the end goes first.
        tasks={"a": "skipped", "b": "failed", "c": "skipped", "d": "skipped"},
    ),
    Scenario(
        name="continue on failure",
        spec=_flow(*_THREE, failure_strategy=FailureStrategy.CONTINUE),
        answers={"b": (_bad(),)},
        status="failed",
        tasks={"a": _OK, "b": "failed", "c": "skipped", "d": _OK},
    ),
    Scenario(
        name="partial completion",
        spec=_flow(*_THREE, failure_strategy=FailureStrategy.PARTIAL),
        answers={"b": (_bad(),)},
        status="partially_completed",
        tasks={"a": _OK, "b": "failed", "c": "skipped", "d": _OK},
    ),
    Scenario(
        name="a failure that is tolerated",
        spec=_flow(_task("a", continue_on_failure=True), _task("b", "a")),
        answers={"a": (_bad(),)},
        status="completed",
        tasks={"a": "failed", "b": _OK},
    ),
    Scenario(
        name="an expression without a value",
        spec=_flow(_task("a"), _task("b", "a", parameters={"x": "{{ tasks.a.result.no.way }}"})),
        status="failed",
        tasks={"a": _OK, "b": "failed"},
    ),
    Scenario(
        name="a task that times out",
        spec=_flow(_task("a", timeout=0.3, retry=AT_ONCE), _task("b", "a")),
        answers={"a": (NEVER, NEVER, _good(1))},
        status="completed",
        tasks={"a": _OK, "b": _OK},
        hangs=2,
        pauses={"a": 0.3},
    ),
    Scenario(
        name="a run that times out",
        spec=_flow(_task("a"), _task("b", "a", effect=Effect.NONE), _task("c", "b"), timeout=0.6),
        answers={"b": (NEVER,)},
        status="failed",
        tasks={"a": _OK, "b": "cancelled", "c": "skipped"},
        hangs=1,
    ),
    Scenario(
        name="a run that is cancelled",
        spec=_flow(_task("a"), _task("b", "a"), _task("c", "b")),
        answers={"b": (Turn(then=CANCEL),)},
        status="cancelled",
        tasks={"a": _OK, "b": "cancelled", "c": "cancelled"},
        hangs=1,
    ),
    Scenario(
        name="compensation",
        spec=_flow(*_SAGA),
        answers={"c": (_bad(),)},
        status="compensated",
        tasks={"a": "compensated", "b": "compensated", "c": "failed"},
    ),
    Scenario(
        name="compensation that fails",
        spec=_flow(*_SAGA),
        answers={"c": (_bad(),), "b#undo": (_bad(),)},
        status="compensation_failed",
        tasks={"a": "compensated", "b": "compensation_failed", "c": "failed"},
    ),
    Scenario(
        name="a breaker that opens and closes",
        spec=_flow(
            *(_task(f"t{n}") for n in range(3)),
            _task("u", agent="b"),
            breaker=BreakerPolicy(failure_threshold=2, recovery_timeout=0.2),
            failure_strategy=FailureStrategy.CONTINUE,
        ),
        answers={name: (_bad(kind="unavailable"),) for name in ("t0", "t1")},
        status="failed",
        tasks={"t0": "failed", "t1": "failed", "t2": _OK, "u": _OK},
        ordered=False,
    ),
    Scenario(
        name="a call that is cut off and made again",
        spec=_flow(_task("a"), _task("b", "a", retry=AT_ONCE), _task("c", "b")),
        answers={"b": (_HELD, _good(2))},
        lacking=(frozenset(),),
        status="completed",
        tasks={"a": _OK, "b": _OK, "c": _OK},
        hangs=1,
    ),
    Scenario(
        name="a call that may be made only once is cut off",
        spec=_flow(_task("a"), _task("b", "a", effect=Effect.ONCE), _task("c", "b")),
        answers={"b": (_HELD,)},
        lacking=(frozenset(),),
        status="waiting",
        tasks={"a": _OK, "b": "unknown_outcome", "c": "waiting"},
        hangs=1,
    ),
    Scenario(
        name="an agent that is missing, then supplied",
        spec=_flow(_task("a", retry=AT_ONCE), _task("b", "a", agent="b"), _task("c", "b")),
        answers={"a": (_HELD, _good(1))},
        lacking=(frozenset({"b"}), frozenset()),
        status="completed",
        tasks={"a": _OK, "b": _OK, "c": _OK},
        hangs=1,
    ),
)
