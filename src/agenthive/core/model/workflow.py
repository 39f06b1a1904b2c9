"""What a workflow is, once it has been read and checked.

`authoring` makes these from YAML, JSON or Python; the core runs them. Plain frozen values without
behaviour: whoever makes one has checked it. Durations here are seconds, as people write them.
Canonical JSON of a `WorkflowSpec` (sorted keys, defaults left out) is what a run is pinned to.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from agenthive.core.model.control_flow import (
    ApprovalSpec,
    CacheSpec,
    EachSpec,
    ReconcileSpec,
    RepeatSpec,
    WaitSpec,
)
from agenthive.core.policies.circuit_breaker import BreakerPolicy
from agenthive.core.policies.rate_limit import RateLimit
from agenthive.core.policies.retry import RetryPolicy
from agenthive.core.values import JSONObject, JSONValue, NanoUSD


class Effect(StrEnum):
    """What calling a task's agent may do to the outside world (DESIGN: effects)."""

    NONE = "none"
    """A pure read: may be repeated freely."""
    KEYED = "keyed"
    """The other side honours our idempotency key."""
    ANY = "any"
    """Unknown: repeated only after a crash or by the retry policy, always under the same key."""
    ONCE = "once"
    """Never called again unless somebody decides."""


class FailureStrategy(StrEnum):
    """What the failure of a task means for the run."""

    STOP = "stop_on_first_failure"
    CONTINUE = "continue_on_failure"
    PARTIAL = "partial_completion_allowed"


class OnExceeded(StrEnum):
    """What happens to a call that the budget has nothing left for."""

    FAIL = "fail"
    WAIT = "wait"
    """Until somebody raises the limit, or the next day begins."""
    ASK = "ask"
    """People are asked to raise the limit by what the call may cost."""


class BudgetSpec(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """What a run may spend, with all that belongs to it. ``limit`` is nano-dollars.

    ``shrink``: the last call's answer is cut to what still fits.
    """

    limit: NanoUSD
    on_exceeded: OnExceeded = OnExceeded.FAIL
    shrink: bool = False


class AgentSpec(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """Who does tasks. ``timeout`` is seconds; secrets in ``authentication`` are references.

    ``type`` is an agent kind (ai_agent, mcp_server, http_api, custom, ...). A secret reference is a
    string of the form ``${env:NAME}``, ``${file:PATH}`` or ``${secret:NAME}``, never the secret.
    ``max_cost`` is what one call costs at most, where no list of prices says, and ``cost_limit``
    what all calls of a run cost together, both in nano-dollars.
    """

    name: str
    type: str
    endpoint: str
    timeout: float | None = 30.0
    authentication: JSONObject | None = None
    retry: RetryPolicy | None = None
    circuit_breaker: BreakerPolicy | None = None
    rate_limit: RateLimit | None = None
    max_concurrency: int | None = None
    custom_params: JSONObject = {}
    max_cost: NanoUSD | None = None
    cost_limit: NanoUSD | None = None

    @property
    def endpoint_key(self) -> str:
        """What agents that share a circuit breaker have in common."""
        return f"{self.type} {self.endpoint}"


class CompensationSpec(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """How a finished task is undone. Runs as a task of its own, named ``TASK#undo``."""

    agent: str
    action: str
    parameters: JSONObject = {}
    timeout: float | None = None
    retry: RetryPolicy | None = None
    effect: Effect = Effect.ANY


class ToolSpec(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """What a model may ask for while it does a task, and the call that this becomes.

    ``name``, ``description`` and ``input_schema`` (of the arguments) are what the model is told.
    ``parameters`` may read ``arguments``; without any, they are the arguments. ``repeats`` bounds
    how often a run may ask for the same with equal arguments; of a result the model is told
    ``max_result`` characters.
    """

    name: str
    agent: str
    action: str
    description: str = ""
    input_schema: JSONObject = {}
    parameters: JSONObject | None = None
    effect: Effect = Effect.ANY
    timeout: float | None = None
    retry: RetryPolicy | None = None
    approval: ApprovalSpec | None = None
    reconcile: ReconcileSpec | None = None
    max_cost: NanoUSD | None = None
    repeats: int = 5
    max_result: int = 20_000


class FallbackSpec(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """Who does a task when the agents before could not.

    ``model`` stands in place of the task's parameter of that name; without it there is none.
    """

    agent: str
    model: str = ""


class TaskSpec(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """One node of the graph. ``timeout`` and ``estimated_duration`` are seconds.

    ``parameters`` may hold ``{{ expressions }}`` in its strings. ``timeout`` None means that of the
    agent. ``priority`` is 1 (last) to 10 (first). What stands around the call comes in this order:
    ``when``, ``delay`` or ``until``, ``wait_for``, ``for_each``, ``repeat_until``, ``approval`` (of
    each round of each item), the call. A task without an agent calls nobody: it runs ``workflow``
    (with its parameters as the inputs), or only waits. ``when`` is an expression; ``delay``
    (seconds) and ``until`` (a time) may hold expressions. ``max_cost`` is that of the agent for
    this task's calls; ``cost_limit`` (nano-dollars) is for all its attempts, items and rounds.
    With ``tools`` the model has at most ``max_turns`` turns; those of ``fallback`` come next when
    the agent could not, in their order.
    """

    name: str
    agent: str = ""
    action: str = ""
    description: str = ""
    parameters: JSONObject = {}
    depends_on: tuple[str, ...] = ()
    timeout: float | None = None
    continue_on_failure: bool = False
    retry: RetryPolicy | None = None
    effect: Effect = Effect.ANY
    priority: int = 5
    estimated_duration: float | None = None
    compensate: CompensationSpec | None = None
    when: str = ""
    delay: float | str | None = None
    until: str = ""
    wait_for: WaitSpec | None = None
    approval: ApprovalSpec | None = None
    for_each: EachSpec | None = None
    repeat_until: RepeatSpec | None = None
    workflow: WorkflowSpec | None = None
    output_schema: JSONObject | None = None
    cache: CacheSpec | None = None
    heartbeat_timeout: float | None = None
    reconcile: ReconcileSpec | None = None
    max_cost: NanoUSD | None = None
    cost_limit: NanoUSD | None = None
    tools: tuple[ToolSpec, ...] = ()
    max_turns: int = 10
    fallback: tuple[FallbackSpec, ...] = ()


class InputSpec(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """A declared input.

    ``type``: string, integer, number, boolean, array, object, secret or any.
    """

    type: str = "any"
    description: str = ""
    required: bool = False
    default: JSONValue = None


class WorkflowSpec(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """A whole workflow. ``timeout`` (seconds) bounds the run; None means no bound.

    ``dialect`` 0 is document C's defaults, 1 is the native ones; the defaults have been applied
    already when this value exists, so it is only a record of what the author wrote. ``outputs`` may
    hold expressions: what a task that runs this workflow gets as its result.
    """

    name: str
    agents: tuple[AgentSpec, ...] = ()
    tasks: tuple[TaskSpec, ...] = ()
    description: str = ""
    version: str = "1.0.0"
    dialect: int = 0
    max_parallel: int = 1
    failure_strategy: FailureStrategy = FailureStrategy.STOP
    timeout: float | None = 300.0
    inputs: dict[str, InputSpec] = {}
    outputs: JSONObject = {}
    budget: BudgetSpec | None = None
