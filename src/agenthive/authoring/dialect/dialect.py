"""The one table of the dialect: every key of a workflow file, its kind, bounds, default and doc.

The checks, the JSON Schema and the reference page are all made from this table and nothing else,
so they cannot disagree. To add a key: add a `Field` to its `Shape`, take it over in `assemble`, and
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
from agenthive.core.policies.retry import RetryStrategy
from agenthive.core.values import JSONValue
from agenthive.infra.discovery import list_agent_kinds

NATIVE: Final = 1
"""The dialect number that ``agenthive:`` may give; without the key it is 0, document C's."""

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
"""What may follow the number in a duration written as text, and how many seconds it is."""


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
            doc="The dialect. Must be the first key. `1` switches to the native defaults.",
            default="absent",
        ),
        Field(key="name", kind=Kind.TITLE, required=True, doc="What the workflow is called."),
        Field(key="description", kind=Kind.TEXT, default="empty", doc="For people."),
        Field(key="version", kind=Kind.TEXT, default='"1.0.0"', doc="The author's version."),
        Field(
            key="parallel_execution",
            kind=Kind.FLAG,
            default="false",
            native="true",
            doc="Whether independent tasks run at once: `false` is one at a time, `true` is 10 "
            "(native: 16), unless `max_parallel` says otherwise.",
        ),
        Field(
            key="max_parallel",
            kind=Kind.WHOLE,
            minimum=1,
            maximum=10_000,
            default="by parallel_execution",
            doc="How many tasks of a run may run at once.",
        ),
        Field(
            key="failure_strategy",
            kind=Kind.CHOICE,
            choices=choices_of(FailureStrategy),
            default="stop_on_first_failure",
            doc="What a failed task means for the run: stop it, go on with what does not depend "
            "on it, or go on and call it a success if at least one task succeeded.",
        ),
        seconds_field(
            "global_timeout",
            "How long the run may take; null is no bound.",
            default="300",
            native="null",
            nullable=True,
        ),
        Field(
            key="inputs",
            kind=Kind.INPUTS,
            shape="input",
            default="any inputs are accepted",
            doc="What the run is given: name to a declaration, or to a plain default value.",
        ),
        Field(
            key="agents", kind=Kind.SHAPES, shape="agent", default="none", doc="Who does the tasks."
        ),
        Field(
            key="tasks",
            kind=Kind.SHAPES,
            shape="task",
            required=True,
            minimum=1,
            doc="What is to be done.",
        ),
        section_field(
            "budget", "What the run may spend in all: US dollars, or a section.", short="limit"
        ),
        Field(
            key="outputs",
            kind=Kind.MAP,
            default="the results of its last tasks",
            doc="What a task that runs this workflow gets as its result. May hold"
            " `{{ expressions }}` over the tasks.",
        ),
    ),
)

AGENT: Final = Shape(
    name="agent",
    doc="An entry of `agents`. Its texts may hold `${env:NAME}`, `${file:PATH}` and "
    "`${secret:NAME}`; `endpoint` and `custom_params` may hold `{{ inputs.NAME }}`.",
    corrections={
        "url": "write endpoint",
        "kind": "write type",
        "auth": "write authentication",
        "retry": "write retry_config",
    },
    fields=(
        Field(key="name", kind=Kind.NAME, required=True, doc="Unique among the agents."),
        Field(
            key="type",
            kind=Kind.CHOICE,
            choices=AGENT_KINDS,
            required=True,
            doc="The kind of agent.",
        ),
        Field(
            key="endpoint",
            kind=Kind.TEXT,
            required=True,
            minimum=1,
            doc="Where it is: a URL, `offline://extractive`, `custom://NAME`.",
        ),
        seconds_field(
            "timeout",
            "How long one call may take; null is no bound.",
            default="30",
            native="120 for ai_agent, else 30",
            nullable=True,
        ),
        Field(
            key="max_concurrency",
            kind=Kind.WHOLE,
            minimum=1,
            maximum=10_000,
            default="no own bound",
            doc="How many calls this agent takes at once.",
        ),
        Field(
            key="authentication",
            kind=Kind.SHAPE,
            shape="authentication",
            default="none",
            doc="What it is sent to prove who calls.",
        ),
        Field(
            key="retry_config",
            kind=Kind.SHAPE,
            shape="retry_config",
            default="its own defaults",
            doc="How failed attempts are tried again.",
        ),
        Field(
            key="circuit_breaker",
            kind=Kind.SHAPE,
            shape="circuit_breaker",
            default="its own defaults",
            doc="When calls to the endpoint are suspended.",
        ),
        section_field("rate_limit", "How often it may be called, in all runs together."),
        Field(
            key="custom_params",
            kind=Kind.MAP,
            default="empty",
            doc="Anything the kind of agent knows.",
        ),
        dollars_field("max_cost", "What one call costs at most, where no list of prices says."),
        dollars_field("cost_limit", "What all its calls of a run may cost together."),
    ),
)


def _limit_field(key: str, doc: str) -> Field:
    return Field(key=key, kind=Kind.WHOLE, minimum=1, maximum=1_000_000_000, default="any", doc=doc)


RATE_LIMIT: Final = Shape(
    name="rate_limit",
    doc="A call starts when all of these admit it. They let their number pass evenly, with a burst"
    " of a tenth; agents of one address share them.",
    fields=(
        _limit_field("requests_per_minute", "Calls in a minute."),
        _limit_field("requests_per_hour", "Calls in an hour."),
        _limit_field("requests_per_day", "Calls in a day."),
        _limit_field("tokens_per_minute", "Tokens in a minute, of questions and answers."),
        _limit_field("concurrent_requests", "Calls at once; fewer while the other side says so."),
    ),
)

BUDGET: Final = Shape(
    name="budget",
    doc="The worst case of every call is put aside before it is made, so the limit holds also when"
    " many calls run at once. A call that does not fit waits while others are under way; when"
    " none is, `on_exceeded` says what happens.",
    fields=(
        dollars_field("limit", "What may be spent at most.", required=True),
        Field(
            key="on_exceeded",
            kind=Kind.CHOICE,
            choices=choices_of(OnExceeded),
            default="fail",
            doc="`fail` ends the task, `wait` waits until the limit is raised, `ask` asks people"
            " to raise it by what the call may cost.",
        ),
        Field(
            key="shrink",
            kind=Kind.FLAG,
            default="false",
            doc="Whether the last call's answer may be cut to what is left.",
        ),
    ),
)

AUTHENTICATION: Final = Shape(
    name="authentication",
    doc="`bearer` needs `token`; `api_key` needs `key`; `basic` needs `username` and `password`. "
    "Write a reference, not the secret: a secret written here is moved out or refused.",
    fields=(
        Field(
            key="type",
            kind=Kind.CHOICE,
            choices=AUTH_KINDS,
            required=True,
            doc="How the secret is sent.",
        ),
        Field(key="token", kind=Kind.TEXT, secret=True, minimum=1, doc="For bearer."),
        Field(key="key", kind=Kind.TEXT, secret=True, minimum=1, doc="For api_key."),
        Field(
            key="header",
            kind=Kind.TEXT,
            default="X-API-Key",
            minimum=1,
            doc="For api_key: the header it goes into.",
        ),
        Field(key="username", kind=Kind.TEXT, minimum=1, doc="For basic."),
        Field(key="password", kind=Kind.TEXT, secret=True, minimum=1, doc="For basic."),
    ),
)
AUTH_NEEDS: Final = {"bearer": ("token",), "api_key": ("key",), "basic": ("username", "password")}

RETRY: Final = Shape(
    name="retry_config",
    doc="How failed attempts are tried again.",
    corrections={
        "max_retries": "write max_attempts, which counts the first try too",
        "base_delay": "write initial_delay",
    },
    fields=(
        Field(
            key="max_attempts",
            kind=Kind.WHOLE,
            minimum=1,
            maximum=1000,
            default="3",
            doc="All tries, the first one too.",
        ),
        Field(
            key="strategy",
            kind=Kind.CHOICE,
            choices=choices_of(RetryStrategy),
            default="exponential_backoff",
            doc="How the delay grows.",
        ),
        seconds_field("initial_delay", "The first delay.", default="1.0", allow_zero=True),
        seconds_field("max_delay", "The longest delay.", default="60.0", allow_zero=True),
        Field(
            key="exponential_base",
            kind=Kind.NUMBER,
            minimum=1.0,
            maximum=100.0,
            default="2.0",
            doc="What each delay is multiplied by.",
        ),
        Field(
            key="jitter",
            kind=Kind.FLAG,
            default="true",
            doc="Whether the delay is drawn at random below its bound.",
        ),
    ),
)

BREAKER: Final = Shape(
    name="circuit_breaker",
    doc="When calls to an endpoint are suspended.",
    fields=(
        Field(
            key="failure_threshold",
            kind=Kind.WHOLE,
            minimum=1,
            maximum=1_000_000,
            default="5",
            doc="Failures in a row that open it.",
        ),
        seconds_field(
            "recovery_timeout", "How long it stays open.", default="60.0", allow_zero=True
        ),
        Field(
            key="half_open_max_calls",
            kind=Kind.WHOLE,
            minimum=1,
            maximum=1000,
            default="1",
            doc="Calls that probe whether the endpoint is well again.",
        ),
    ),
)

TASK: Final = Shape(
    name="task",
    doc="An entry of `tasks`. Texts in `parameters` may hold `{{ expressions }}`. A task has"
    " `agent_name` and `action`, or `workflow`; or neither and only waits, for an `approval`,"
    " a signal or a time. What stands around the call comes in this order: `when`, `delay` or"
    " `until`, `wait_for`, `for_each`, `repeat_until`, `approval` of each round of each item.",
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
        Field(key="name", kind=Kind.NAME, required=True, doc="Unique among the tasks."),
        Field(
            key="description",
            kind=Kind.TEXT,
            default="empty",
            doc="For people; model agents read it too.",
        ),
        Field(
            key="agent_name", kind=Kind.NAME, doc="Who does it.", default="**required** for a call"
        ),
        AGENT_KEY,
        Field(
            key="action",
            kind=Kind.TEXT,
            minimum=1,
            doc="What to ask of the agent.",
            default="**required** for a call",
        ),
        Field(
            key="workflow",
            kind=Kind.WORKFLOW,
            default="none",
            doc="A workflow to run instead of a call: a file, found from the one that names it,"
            " or written out here. At most 5 within one another.",
        ),
        Field(
            key="parameters",
            kind=Kind.MAP,
            default="empty",
            doc="What the agent is given, or the inputs of `workflow`.",
        ),
        Field(
            key="depends_on",
            kind=Kind.NAMES,
            default="none",
            doc="Tasks that must be done before; their results are passed on.",
        ),
        Field(
            key="when",
            kind=Kind.FORMULA,
            default="always",
            doc="An expression; if it does not hold the task is skipped.",
        ),
        Field(
            key="delay",
            kind=Kind.DELAY,
            minimum=0.0,
            maximum=MAX_SECONDS,
            default="none",
            doc="How long to wait first: seconds, a duration, or a text with `{{ }}` that gives"
            " seconds.",
        ),
        Field(
            key="until",
            kind=Kind.TIME,
            default="none",
            doc="When to start: a time with its zone, as `2026-12-01T09:00:00+01:00`, or a text"
            " with `{{ }}` that gives one.",
        ),
        section_field("wait_for", "A signal to wait for: its name, or a section.", short="signal"),
        section_field(
            "for_each",
            "One task for every item: a list, an expression, or a section.",
            short="items",
        ),
        section_field("approval", "People who must agree first: true, or a section.", short=SWITCH),
        section_field(
            "repeat_until",
            "The call again until it is right: an expression, or a section.",
            short="until",
        ),
        seconds_field("timeout", "How long one attempt may take.", default="the agent's (30)"),
        Field(
            key="continue_on_failure",
            kind=Kind.FLAG,
            default="false",
            doc="Whether the run goes on, with null as the result, if this task fails.",
        ),
        RETRY_FIELD,
        EFFECT,
        Field(
            key="priority",
            kind=Kind.WHOLE,
            minimum=1,
            maximum=10,
            default="5",
            doc="Of tasks that are ready, those with a higher number start first.",
        ),
        seconds_field(
            "estimated_duration",
            "How long it is expected to take; orders the tasks.",
            default="unknown",
            allow_zero=True,
        ),
        Field(
            key="compensate",
            kind=Kind.SHAPE,
            shape="compensate",
            default="none",
            doc="How it is undone when the run fails.",
        ),
        Field(
            key="output_schema",
            kind=Kind.MAP,
            default="none",
            doc="A JSON Schema (draft 2020-12) that the result must fit.",
        ),
        section_field("cache", "Whether results are used again: true, or a section.", short=SWITCH),
        seconds_field("heartbeat_timeout", "How long the agent may be silent.", default="no bound"),
        section_field("reconcile", "How to find out what a call of unknown outcome did."),
        Field(
            key="tools",
            kind=Kind.SHAPES,
            shape="tool",
            default="none",
            doc="What its model may ask for before it answers.",
        ),
        Field(
            key="max_turns",
            kind=Kind.WHOLE,
            minimum=1,
            maximum=1000,
            default="10",
            doc="How often a model with `tools` may speak; who still asks then has failed.",
        ),
        Field(
            key="fallback",
            kind=Kind.SHAPES,
            shape="fallback",
            short="agent_name",
            default="none",
            doc="Who goes on when its agent could not: names, or sections.",
        ),
        dollars_field("max_cost", "What one call costs at most.", default="the agent's"),
        dollars_field(
            "cost_limit", "What all its attempts, items, rounds and tools may cost together."
        ),
    ),
)

WAITS: Final = ("approval", "wait_for", "delay", "until")
"""What a task may do that has no body."""
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
"""Keys that say something about a call: a workflow says it of its own tasks."""
REFUSED_WITHOUT_BODY: Final = (
    *REFUSED_WITH_WORKFLOW,
    "parameters",
    "timeout",
    "retry_config",
    "output_schema",
    "compensate",
    "cost_limit",
)
"""Keys that say something about a call or a workflow."""

INPUT: Final = Shape(
    name="input",
    doc="A declared input. A `secret` is given as a reference, `${env:NAME}`, never as the secret.",
    fields=(
        Field(
            key="type",
            kind=Kind.CHOICE,
            choices=INPUT_KINDS,
            default="any",
            doc="What may be given.",
        ),
        Field(key="description", kind=Kind.TEXT, default="empty", doc="For people."),
        Field(key="required", kind=Kind.FLAG, default="false", doc="Whether it must be given."),
        Field(key="default", kind=Kind.ANY, default="null", doc="Its value when it is not given."),
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
"""Every section by its name, in the order the reference page shows them."""


def value_fits(kind: str, value: JSONValue) -> bool:
    """Whether ``value`` is of the input type ``kind``; null fits only ``any``."""
    if kind == "any":
        return True
    if kind in ("integer", "number"):
        return not isinstance(value, bool) and isinstance(
            value, int if kind == "integer" else int | float
        )
    python_types = {"string": str, "secret": str, "boolean": bool, "array": list, "object": dict}
    return isinstance(value, python_types[kind])
