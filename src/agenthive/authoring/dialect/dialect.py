"""The one table of the dialect: every key of a workflow file, its kind, bounds, default and doc.

The checks, the JSON Schema and the reference page are all generated from this table, so that they
cannot disagree. The docs of the fields are user documentation: a noun phrase or a sentence, in
Markdown.

To add a key: add a `Field` to its `Shape`, read it in `authoring.checks` or in the assembler, and
run ``python -m agenthive.authoring.dialect.generate`` for the schema and the page.
"""

from __future__ import annotations

from typing import Final

from agenthive.authoring.dialect.control_flow import (
    APPROVAL,
    CACHE,
    COMPENSATE,
    ESCALATE,
    FALLBACK,
    FOR_EACH,
    RECONCILE,
    REPEAT_UNTIL,
    TOOL,
    WAIT_FOR,
)
from agenthive.authoring.dialect.fields import (
    AGENT_KEY,
    EFFECT,
    MAX_SECONDS,
    RETRY_FIELD,
    choices_of,
    dollars_field,
    seconds_field,
    section_field,
)
from agenthive.authoring.dialect.shapes import SWITCH, Field, Kind, Shape
from agenthive.core.model.workflow import FailureStrategy, OnExceeded
from agenthive.core.policies.fault_classes import RETRY_CHOICES
from agenthive.core.policies.retry import RetryStrategy
from agenthive.core.values import JSONValue
from agenthive.infra.discovery import list_agent_kinds

NATIVE: Final = 1
"""The only value of the key ``agenthive``. Without the key, a file has the classic dialect, 0."""

AGENT_KINDS: Final = tuple(list_agent_kinds())
"""The kinds of this package, one a module in its folder ``agents``."""
AUTH_KINDS: Final = ("bearer", "api_key", "basic")
INPUT_KINDS: Final = (
    "any",
    "string",
    "integer",
    "number",
    "boolean",
    "array",
    "object",
    "secret",
)
MAX_NAME: Final = 128


UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
"""Unit of a duration that is written as text -> its seconds."""


WORKFLOW: Final = Shape(
    name="workflow",
    doc="The top level of a file.",
    corrections={
        "timeout": "write global_timeout",
        "steps": "write tasks",
        "jobs": "write tasks",
        "parallel": "write parallel_execution",
    },
    fields=(
        Field(
            key="agenthive",
            kind=Kind.WHOLE,
            minimum=NATIVE,
            maximum=NATIVE,
            doc="Version of the dialect; must be the first key. `1` selects the native defaults.",
            default="absent",
        ),
        Field(key="name", kind=Kind.TITLE, required=True, doc="Name of the workflow."),
        Field(
            key="description", kind=Kind.TEXT, default="empty", doc="Description of the workflow."
        ),
        Field(
            key="version",
            kind=Kind.TEXT,
            default='"1.0.0"',
            doc="Version of the workflow, for its authors.",
        ),
        Field(
            key="parallel_execution",
            kind=Kind.FLAG,
            default="false",
            native="true",
            doc="Whether independent tasks run in parallel. `false` sets `max_parallel`"
            " to 1, `true` to 10 (native: 16), unless `max_parallel` is given.",
        ),
        Field(
            key="max_parallel",
            kind=Kind.WHOLE,
            minimum=1,
            maximum=10_000,
            default="by parallel_execution",
            doc="Maximum number of tasks of a run in parallel.",
        ),
        Field(
            key="failure_strategy",
            kind=Kind.CHOICE,
            choices=choices_of(FailureStrategy),
            default="stop_on_first_failure",
            doc="What the run does after a task has failed: stop, continue with the tasks that do "
            "not depend on it, or continue and end as partially completed if at least one task "
            "succeeded.",
        ),
        seconds_field(
            "global_timeout",
            "Maximum duration of the run; null: unbounded.",
            default="300",
            native="null",
            nullable=True,
        ),
        Field(
            key="inputs",
            kind=Kind.INPUTS,
            shape="input",
            default="any inputs are accepted",
            doc="Inputs of the run: maps a name to a declaration or to a default value.",
        ),
        Field(
            key="agents",
            kind=Kind.SHAPES,
            shape="agent",
            default="none",
            doc="Agents that the tasks use.",
        ),
        Field(
            key="tasks",
            kind=Kind.SHAPES,
            shape="task",
            required=True,
            minimum=1,
            doc="Tasks of the workflow.",
        ),
        section_field(
            "budget",
            "Maximum cost of the run: an amount of US dollars, or a section.",
            short="limit",
        ),
        Field(
            key="outputs",
            kind=Kind.MAP,
            default="the results of the tasks on which no task depends",
            doc="Result of a task that runs this workflow as its `workflow`. May contain"
            " `{{ expressions }}` over the tasks.",
        ),
    ),
)

AGENT: Final = Shape(
    name="agent",
    doc="An entry of `agents`. Its texts may contain `${env:NAME}`, `${file:PATH}` and "
    "`${secret:NAME}`; `endpoint` and `custom_params` may contain `{{ inputs.NAME }}`.",
    corrections={
        "url": "write endpoint",
        "kind": "write type",
        "auth": "write authentication",
        "retry": "write retry_config",
    },
    fields=(
        Field(
            key="name",
            kind=Kind.NAME,
            required=True,
            doc="Name of the agent, unique among the agents.",
        ),
        Field(
            key="type",
            kind=Kind.CHOICE,
            choices=AGENT_KINDS,
            required=True,
            doc="Kind of the agent.",
        ),
        Field(
            key="endpoint",
            kind=Kind.TEXT,
            required=True,
            minimum=1,
            doc="Address of the agent: a URL, `stdio:COMMAND`, `offline://extractive` or "
            "`custom://NAME`.",
        ),
        seconds_field(
            "timeout",
            "Maximum duration of one call; null: unbounded.",
            default="30",
            native="120 for ai_agent, else 30",
            nullable=True,
        ),
        Field(
            key="max_concurrency",
            kind=Kind.WHOLE,
            minimum=1,
            maximum=10_000,
            default="unbounded",
            doc="Maximum number of calls to this agent in parallel.",
        ),
        Field(
            key="authentication",
            kind=Kind.SHAPE,
            shape="authentication",
            default="none",
            doc="Credentials that are sent with each call.",
        ),
        Field(
            key="retry_config",
            kind=Kind.SHAPE,
            shape="retry_config",
            default="the defaults of the section",
            doc="Retry policy for failed attempts.",
        ),
        Field(
            key="circuit_breaker",
            kind=Kind.SHAPE,
            shape="circuit_breaker",
            default="the defaults of the section",
            doc="When calls to the endpoint are suspended.",
        ),
        section_field("rate_limit", "Maximum rate of calls, over all runs."),
        Field(
            key="custom_params",
            kind=Kind.MAP,
            default="empty",
            doc="Settings that depend on the kind of agent.",
        ),
        dollars_field("max_cost", "Maximum cost of one call, for models without a known price."),
        dollars_field("cost_limit", "Maximum total cost of its calls in a run."),
    ),
)


def _limit_field(key: str, doc: str) -> Field:
    return Field(
        key=key, kind=Kind.WHOLE, minimum=1, maximum=1_000_000_000, default="unbounded", doc=doc
    )


RATE_LIMIT: Final = Shape(
    name="rate_limit",
    doc="A call starts when all of these limits admit it. Calls are spread evenly, with bursts of"
    " up to a tenth of a limit. Agents with the same address share their limits.",
    fields=(
        _limit_field("requests_per_minute", "Calls per minute."),
        _limit_field("requests_per_hour", "Calls per hour."),
        _limit_field("requests_per_day", "Calls per day."),
        _limit_field("tokens_per_minute", "Input and output tokens per minute."),
        _limit_field(
            "concurrent_requests", "Calls in parallel; reduced while the service reports overload."
        ),
    ),
)

BUDGET: Final = Shape(
    name="budget",
    doc="The worst-case cost of every call is reserved before the call, so that parallel calls"
    " cannot exceed the limit. A call that does not fit waits while other calls are in flight; if"
    " none are, `on_exceeded` applies.",
    fields=(
        dollars_field("limit", "Maximum cost of the run.", required=True),
        Field(
            key="on_exceeded",
            kind=Kind.CHOICE,
            choices=choices_of(OnExceeded),
            default="fail",
            doc="What a task does if its call does not fit: `fail`, `wait` until the"
            " limit is raised, or `ask` for an approval that raises the limit by the"
            " worst-case cost of the call.",
        ),
        Field(
            key="shrink",
            kind=Kind.FLAG,
            default="false",
            doc="Whether `max_tokens` of the last call is reduced to what the limit leaves.",
        ),
    ),
)

AUTHENTICATION: Final = Shape(
    name="authentication",
    doc="`bearer` needs `token`; `api_key` needs `key`; `basic` needs `username` and `password`. "
    "Write references to secrets: a secret that is written out is moved to the secret store or "
    "refused.",
    fields=(
        Field(
            key="type",
            kind=Kind.CHOICE,
            choices=AUTH_KINDS,
            required=True,
            doc="How the credentials are sent.",
        ),
        Field(key="token", kind=Kind.TEXT, secret=True, minimum=1, doc="Token, for `bearer`."),
        Field(key="key", kind=Kind.TEXT, secret=True, minimum=1, doc="Key, for `api_key`."),
        Field(
            key="header",
            kind=Kind.TEXT,
            default="X-API-Key",
            minimum=1,
            doc="Header that carries the key, for `api_key`.",
        ),
        Field(key="username", kind=Kind.TEXT, minimum=1, doc="User name, for `basic`."),
        Field(key="password", kind=Kind.TEXT, secret=True, minimum=1, doc="Password, for `basic`."),
    ),
)
AUTH_NEEDS: Final = {"bearer": ("token",), "api_key": ("key",), "basic": ("username", "password")}

RETRY: Final = Shape(
    name="retry_config",
    doc="Retry policy: how often and after which delays failed attempts are repeated.",
    corrections={
        "max_retries": "write max_attempts, which includes the first attempt",
        "base_delay": "write initial_delay",
        "retry_if": "write retry_on, a list of not_sent, unknown and bad_end",
        "non_retryable": "write retry_on, a list of not_sent, unknown and bad_end",
    },
    fields=(
        Field(
            key="max_attempts",
            kind=Kind.WHOLE,
            minimum=1,
            maximum=1000,
            default="3",
            doc="Maximum number of attempts, including the first.",
        ),
        Field(
            key="strategy",
            kind=Kind.CHOICE,
            choices=choices_of(RetryStrategy),
            default="exponential_backoff",
            doc="How the delay grows between attempts.",
        ),
        seconds_field(
            "initial_delay", "Delay before the second attempt.", default="1.0", allow_zero=True
        ),
        seconds_field("max_delay", "Maximum delay.", default="60.0", allow_zero=True),
        Field(
            key="exponential_base",
            kind=Kind.NUMBER,
            minimum=1.0,
            maximum=100.0,
            default="2.0",
            doc="Factor between successive delays.",
        ),
        Field(
            key="jitter",
            kind=Kind.FLAG,
            default="true",
            doc="Whether each delay is drawn at random between 0 and its computed value.",
        ),
        Field(
            key="retry_on",
            kind=Kind.NAMES,
            choices=tuple([class_.value for class_ in RETRY_CHOICES]),
            default="`[not_sent, unknown]`",
            doc="Which failed attempts are repeated: `not_sent` (nothing reached the other side), "
            "`unknown` (the call may have acted), `bad_end` (it ran, and its result cannot be "
            "used). A refused call is never repeated, and with `effect: once` only `not_sent` "
            "counts. [Effects](../explanation/effects.md) has the table.",
        ),
    ),
)

BREAKER: Final = Shape(
    name="circuit_breaker",
    doc="When calls to an endpoint are suspended and resumed.",
    fields=(
        Field(
            key="failure_threshold",
            kind=Kind.WHOLE,
            minimum=1,
            maximum=1_000_000,
            default="5",
            doc="Number of consecutive failures that open the breaker.",
        ),
        seconds_field(
            "recovery_timeout", "How long the breaker stays open.", default="60.0", allow_zero=True
        ),
        Field(
            key="half_open_max_calls",
            kind=Kind.WHOLE,
            minimum=1,
            maximum=1000,
            default="1",
            doc="Number of trial calls before the breaker closes.",
        ),
    ),
)

TASK: Final = Shape(
    name="task",
    doc="An entry of `tasks`. Texts in `parameters` may contain `{{ expressions }}`. A task calls"
    " an agent (`agent_name` and `action`), runs a `workflow`, or only waits for an `approval`,"
    " a signal or a time. Its control flow applies in this order: `when`, `delay` or `until`,"
    " `wait_for`, `for_each`, `repeat_until`, and `approval` for each iteration of each item.",
    corrections={
        "needs": "write depends_on",
        "dependencies": "write depends_on",
        "params": "write parameters",
        "with": "write parameters",
        "if": "write when",
        "foreach": "write for_each",
        "loop": "write for_each or repeat_until",
        "sleep": "write delay",
        "retry": "write retry_config",
    },
    fields=(
        Field(
            key="name",
            kind=Kind.NAME,
            required=True,
            doc="Name of the task, unique among the tasks.",
        ),
        Field(
            key="description",
            kind=Kind.TEXT,
            default="empty",
            doc="Description of the task; model agents receive it too.",
        ),
        Field(
            key="agent_name",
            kind=Kind.NAME,
            doc="Agent that executes the task.",
            default="**required** for a call",
        ),
        AGENT_KEY,
        Field(
            key="action",
            kind=Kind.TEXT,
            minimum=1,
            doc="Action that the agent executes.",
            default="**required** for a call",
        ),
        Field(
            key="workflow",
            kind=Kind.WORKFLOW,
            default="none",
            doc="Workflow to run instead of a call: the path of a file, relative to this"
            " file, or an embedded workflow. Workflows can be nested 5 levels deep.",
        ),
        Field(
            key="parameters",
            kind=Kind.MAP,
            default="empty",
            doc="Parameters of the call, or inputs of the `workflow`.",
        ),
        Field(
            key="depends_on",
            kind=Kind.NAMES,
            default="none",
            doc="Tasks that must end before this one starts; their results are passed to"
            " the agent.",
        ),
        Field(
            key="when",
            kind=Kind.FORMULA,
            default="always",
            doc="Condition; if it is false, the task is skipped.",
        ),
        Field(
            key="delay",
            kind=Kind.DELAY,
            minimum=0.0,
            maximum=MAX_SECONDS,
            default="none",
            doc="Time to wait before the task starts: a duration, or a text with `{{ }}` that"
            " yields seconds.",
        ),
        Field(
            key="until",
            kind=Kind.TIME,
            default="none",
            doc="Time before which the task does not start, with its zone, such as"
            " `2026-12-01T09:00:00+01:00`, or a text with `{{ }}` that yields one.",
        ),
        section_field("wait_for", "Signal to wait for: its name, or a section.", short="signal"),
        section_field(
            "for_each",
            "Runs the task once for each item: a list, an expression, or a section.",
            short="items",
        ),
        section_field(
            "approval", "Approval that is required first: true, or a section.", short=SWITCH
        ),
        section_field(
            "repeat_until",
            "Repeats the call until a condition is true: an expression, or a section.",
            short="until",
        ),
        seconds_field("timeout", "Maximum duration of one attempt.", default="the agent's (30)"),
        Field(
            key="continue_on_failure",
            kind=Kind.FLAG,
            default="false",
            doc="Whether the run continues if this task fails, with null as its result.",
        ),
        RETRY_FIELD,
        EFFECT,
        Field(
            key="priority",
            kind=Kind.WHOLE,
            minimum=1,
            maximum=10,
            default="5",
            doc="Among ready tasks, those with a higher priority start first.",
        ),
        seconds_field(
            "estimated_duration",
            "Expected duration; used to order ready tasks and to plan.",
            default="unknown",
            allow_zero=True,
        ),
        Field(
            key="compensate",
            kind=Kind.SHAPE,
            shape="compensate",
            default="none",
            doc="Compensation of the task if the run fails.",
        ),
        Field(
            key="output_schema",
            kind=Kind.MAP,
            default="none",
            doc="JSON Schema (draft 2020-12) that the result must satisfy.",
        ),
        section_field("cache", "Whether results are reused: true, or a section.", short=SWITCH),
        seconds_field(
            "heartbeat_timeout", "Maximum time between two heartbeats.", default="unbounded"
        ),
        section_field(
            "reconcile", "Call that determines whether a call of unknown outcome took effect."
        ),
        Field(
            key="tools",
            kind=Kind.SHAPES,
            shape="tool",
            default="none",
            doc="Tools that the model may call before it returns its result.",
        ),
        Field(
            key="max_turns",
            kind=Kind.WHOLE,
            minimum=1,
            maximum=1000,
            default="10",
            doc="Maximum number of model turns with `tools`; the task fails if the model still"
            " calls tools in the last one.",
        ),
        Field(
            key="fallback",
            kind=Kind.SHAPES,
            shape="fallback",
            short="agent_name",
            default="none",
            doc="Agents to use if the task fails at its agent, in order: names, or sections.",
        ),
        dollars_field("max_cost", "Maximum cost of one call.", default="the agent's"),
        dollars_field(
            "cost_limit", "Maximum total cost of its attempts, items, iterations and tools."
        ),
    ),
)

WAITS: Final = ("approval", "wait_for", "delay", "until")
"""Keys of which a task needs one if it neither calls an agent nor runs a workflow."""
REFUSED_WITH_WORKFLOW: Final = (
    "effect",
    "cache",
    "heartbeat_timeout",
    "reconcile",
    "max_cost",
    "tools",
    "max_turns",
    "fallback",
)
"""Keys of a call, which a task with ``workflow`` must not have."""
REFUSED_WITHOUT_BODY: Final = (
    *REFUSED_WITH_WORKFLOW,
    "parameters",
    "timeout",
    "retry_config",
    "output_schema",
    "compensate",
    "cost_limit",
)
"""Keys of a call or a workflow, which a task that only waits must not have."""

INPUT: Final = Shape(
    name="input",
    doc="A declared input. The value of a `secret` is a reference such as `${env:NAME}`.",
    fields=(
        Field(
            key="type",
            kind=Kind.CHOICE,
            choices=INPUT_KINDS,
            default="any",
            doc="Type of the value.",
        ),
        Field(key="description", kind=Kind.TEXT, default="empty", doc="Description of the input."),
        Field(
            key="required",
            kind=Kind.FLAG,
            default="false",
            doc="Whether a run needs a value for this input.",
        ),
        Field(
            key="default",
            kind=Kind.ANY,
            default="null",
            doc="Value that is used if a run has none.",
        ),
    ),
)

SHAPES: Final = {
    shape.name: shape
    for shape in (
        WORKFLOW,
        BUDGET,
        RATE_LIMIT,
        AGENT,
        AUTHENTICATION,
        RETRY,
        BREAKER,
        TASK,
        COMPENSATE,
        WAIT_FOR,
        FOR_EACH,
        APPROVAL,
        ESCALATE,
        REPEAT_UNTIL,
        CACHE,
        RECONCILE,
        TOOL,
        FALLBACK,
        INPUT,
    )
}
"""Every section by its name, in the order of the reference page."""


def value_fits(kind: str, value: JSONValue) -> bool:
    """Whether ``value`` is of the input type ``kind``; null is only of type ``any``."""
    if kind == "any":
        return True
    if kind in ("integer", "number"):
        return not isinstance(value, bool) and isinstance(
            value, int if kind == "integer" else int | float
        )
    python_types = {"string": str, "secret": str, "boolean": bool, "array": list, "object": dict}
    return isinstance(value, python_types[kind])
