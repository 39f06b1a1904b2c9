"""What a workflow is, once it has been read and checked.

`authoring` builds these values from YAML, JSON or Python; the core runs them. They are plain frozen
values without behaviour: the code that builds one has checked it, and nothing here checks it again.
Durations are seconds, as users write them; amounts are nano-dollars. A run is pinned to the
canonical JSON of its `WorkflowSpec` (sorted keys, defaults left out), so every new field needs a
default that means "as before".
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
    """What a call may do to the outside world, and so when it may be repeated."""

    NONE = "none"
    """A pure read: it may be repeated freely."""
    KEYED = "keyed"
    """The other side honours the idempotency key."""
    ANY = "any"
    """Unknown: repeated only after a crash or by the retry policy, always under the same key."""
    ONCE = "once"
    """Repeated only if the call certainly did not act, or if a user records that it may be."""


class FailureStrategy(StrEnum):
    """What the failure of a task means for the run."""

    STOP = "stop_on_first_failure"
    """No further task starts; the run fails."""
    CONTINUE = "continue_on_failure"
    """Tasks that do not depend on the failed one still run; the run fails."""
    PARTIAL = "partial_completion_allowed"
    """As ``CONTINUE``, but a run with at least one success is partially completed."""


class OnExceeded(StrEnum):
    """What happens to a task when the budget does not cover its call."""

    FAIL = "fail"
    WAIT = "wait"
    """It waits until a user raises the limit, or the next day begins."""
    ASK = "ask"
    """It waits for an approval, which raises the limit by what the call may cost."""


class BudgetSpec(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """The budget of a run, for all calls of its tree: retries, items, child runs, compensations."""

    #: Nano-dollars.
    limit: NanoUSD
    on_exceeded: OnExceeded = OnExceeded.FAIL
    #: Cut the answer of a model (``max_tokens``) to what still fits, if the whole one does not.
    shrink: bool = False


class AgentSpec(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """An agent that a workflow uses.

    Secrets in ``authentication`` and ``custom_params`` are references, never values: strings of the
    form ``${env:NAME}``, ``${file:PATH}`` or ``${secret:NAME}``.
    """

    name: str
    #: The agent kind: ai_agent, mcp_server, http_api, custom, ...
    type: str
    #: What the kind calls: a URL, a command, a module; see the kind.
    endpoint: str
    #: Seconds for one call; None without a bound.
    timeout: float | None = 30.0
    authentication: JSONObject | None = None
    #: For tasks that declare no retry policy of their own.
    retry: RetryPolicy | None = None
    circuit_breaker: BreakerPolicy | None = None
    rate_limit: RateLimit | None = None
    #: Calls at once, over all runs; None without a bound.
    max_concurrency: int | None = None
    #: Settings of the agent kind.
    custom_params: JSONObject = {}
    #: Nano-dollars that one call costs at most, where no price list has the model.
    max_cost: NanoUSD | None = None
    #: Nano-dollars that all calls of this agent in a run may cost together.
    cost_limit: NanoUSD | None = None

    @property
    def endpoint_key(self) -> str:
        """The name of the endpoint: agents with the same one share breaker and rate limit."""
        return f"{self.type} {self.endpoint}"


class CompensationSpec(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """The call that compensates a task that succeeded; a task of its own named ``TASK#undo``."""

    agent: str
    action: str
    #: May contain expressions, which may read the result of the task.
    parameters: JSONObject = {}
    #: Seconds; None: the time-out of the agent.
    timeout: float | None = None
    retry: RetryPolicy | None = None
    effect: Effect = Effect.ANY


class ToolSpec(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """A tool that the model of a task may request, and the call that a request becomes."""

    #: The name that the model sees.
    name: str
    #: The agent that carries out the request, and its action.
    agent: str
    action: str
    #: The description that the model sees.
    description: str = ""
    #: JSON Schema of the arguments, which the model sees.
    input_schema: JSONObject = {}
    #: Parameters of the call; may contain expressions, which may read ``arguments``. None: the
    #: arguments are the parameters.
    parameters: JSONObject | None = None
    effect: Effect = Effect.ANY
    #: Seconds; None: the time-out of the agent.
    timeout: float | None = None
    retry: RetryPolicy | None = None
    #: An approval that every call of the tool needs.
    approval: ApprovalSpec | None = None
    reconcile: ReconcileSpec | None = None
    #: Nano-dollars that one call costs at most.
    max_cost: NanoUSD | None = None
    #: Requests with equal arguments by one model task, at most; more count as a loop.
    repeats: int = 5
    #: Characters of a result that the model gets, at most.
    max_result: int = 20_000


class FallbackSpec(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """A model that takes over when the agents before it failed."""

    agent: str
    #: Replaces the parameter ``model`` of the task; empty: the task has no such parameter then.
    model: str = ""


class TaskSpec(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """One task of a workflow.

    The steps of a task come in this order: ``when``, ``delay`` or ``until``, ``wait_for``,
    ``for_each``, ``repeat_until``, ``approval`` (for each iteration of each item), the call. A task
    without an agent makes no call: it runs ``workflow`` as a child run, or only waits.
    """

    #: Unique in the workflow; other tasks and expressions refer to it.
    name: str
    agent: str = ""
    action: str = ""
    description: str = ""
    #: Parameters of the call, or inputs of ``workflow``; strings may contain ``{{ expressions }}``.
    parameters: JSONObject = {}
    #: Names of the tasks that must have ended before.
    depends_on: tuple[str, ...] = ()
    #: Seconds for one call; None: the time-out of the agent.
    timeout: float | None = None
    #: Whether the run and the dependents continue when this task fails.
    continue_on_failure: bool = False
    #: None: the retry policy of the agent.
    retry: RetryPolicy | None = None
    effect: Effect = Effect.ANY
    #: 1 (last) to 10 (first).
    priority: int = 5
    #: Seconds; used for the order of ready tasks and for plans, never enforced.
    estimated_duration: float | None = None
    compensate: CompensationSpec | None = None
    #: An expression; the task is bypassed if its value is false.
    when: str = ""
    #: Seconds to wait, or a text with expressions that evaluates to seconds.
    delay: float | str | None = None
    #: The time to wait for; may contain expressions.
    until: str = ""
    wait_for: WaitSpec | None = None
    approval: ApprovalSpec | None = None
    for_each: EachSpec | None = None
    repeat_until: RepeatSpec | None = None
    #: The sub-workflow that the task runs.
    workflow: WorkflowSpec | None = None
    #: JSON Schema that the result must match.
    output_schema: JSONObject | None = None
    #: Whether a result of an equal call may be used; None: it may not.
    cache: CacheSpec | None = None
    #: Seconds that a call may be silent (reports no progress); None without a bound.
    heartbeat_timeout: float | None = None
    reconcile: ReconcileSpec | None = None
    #: Nano-dollars that one call of this task costs at most; replaces that of the agent.
    max_cost: NanoUSD | None = None
    #: Nano-dollars for all attempts, items and iterations of the task together.
    cost_limit: NanoUSD | None = None
    #: Tools that the model may request.
    tools: tuple[ToolSpec, ...] = ()
    #: Model turns that succeed, at most.
    max_turns: int = 10
    #: Models that take over, in order, when the agent failed.
    fallback: tuple[FallbackSpec, ...] = ()


class InputSpec(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """A declared input of a workflow."""

    #: string, integer, number, boolean, array, object, secret or any.
    type: str = "any"
    description: str = ""
    required: bool = False
    #: Used when the input is not given.
    default: JSONValue = None


class WorkflowSpec(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """A whole workflow."""

    name: str
    agents: tuple[AgentSpec, ...] = ()
    tasks: tuple[TaskSpec, ...] = ()
    description: str = ""
    version: str = "1.0.0"
    #: The defaults that the author relied on: 0 the classic ones, 1 the native ones. They have been
    #: applied already when this value exists, so this only records what the author wrote.
    dialect: int = 0
    #: Calls of a run at once.
    max_parallel: int = 1
    failure_strategy: FailureStrategy = FailureStrategy.STOP
    #: Seconds for the whole run; None without a bound. Time in which the run waits for help from
    #: outside does not count.
    timeout: float | None = 300.0
    inputs: dict[str, InputSpec] = {}
    #: The result of a child run of this workflow; may contain expressions. Empty: the results of
    #: the tasks without dependents.
    outputs: JSONObject = {}
    budget: BudgetSpec | None = None
