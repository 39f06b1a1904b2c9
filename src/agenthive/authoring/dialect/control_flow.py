"""The sections of a task: control flow, approval, compensation, cache, tools, fallback.

Part of the dialect's table, which `dialect` assembles.
"""

from __future__ import annotations

from typing import Final

from agenthive.authoring.dialect.fields import (
    ACTION,
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
from agenthive.core.model.control_flow import OnDeadline, OnReject

COMPENSATE: Final = Shape(
    name="compensate",
    doc="Compensation of a succeeded task if the run fails. Compensations run in the reverse order"
    " of the tasks.",
    fields=(
        Field(
            key="agent_name", kind=Kind.NAME, default="the task's", doc="Agent that compensates."
        ),
        AGENT_KEY,
        ACTION,
        Field(
            key="parameters",
            kind=Kind.MAP,
            default="empty",
            doc="Parameters of the call. May contain `{{ expressions }}`, which may also read the"
            " result of the task itself.",
        ),
        seconds_field("timeout", "Maximum duration of one attempt.", default="the agent's"),
        RETRY_FIELD,
        EFFECT,
    ),
)

WAIT_FOR: Final = Shape(
    name="wait_for",
    doc="Signal that the task waits for before it starts. Its data is `signal` in expressions.",
    fields=(
        Field(key="signal", kind=Kind.NAME, required=True, doc="Name of the signal."),
        seconds_field("timeout", "Maximum time to wait.", default="unbounded"),
        Field(
            key="default",
            kind=Kind.ANY,
            default="the task fails",
            doc="Data that is used if no signal arrives within the timeout.",
        ),
        Field(
            key="keep",
            kind=Kind.FLAG,
            default="true",
            doc="Whether a signal that arrives before the task waits for it is kept;"
            " otherwise it is refused.",
        ),
    ),
)

ESCALATE: Final = Shape(
    name="escalate",
    doc="Additional approvers if there is no decision after some time.",
    fields=(
        Field(
            key="after",
            kind=Kind.SECONDS,
            required=True,
            minimum=0.0,
            exclusive_minimum=True,
            maximum=MAX_SECONDS,
            doc="Time since the request.",
        ),
        Field(key="to", kind=Kind.NAMES, required=True, minimum=1, doc="Additional approvers."),
    ),
)

APPROVAL: Final = Shape(
    name="approval",
    doc="Approval that is required before the action. Exactly the action that was shown to the"
    " approvers is executed.",
    corrections={"timeout": "write deadline", "who": "write approvers"},
    fields=(
        Field(
            key="message",
            kind=Kind.TEXT,
            default="empty",
            doc="Message for the approvers. May contain `{{ expressions }}`.",
        ),
        Field(
            key="payload",
            kind=Kind.ANY,
            default="null",
            doc="Data to approve, for a task that has no action; otherwise the approvers see the"
            " action. May contain `{{ expressions }}`.",
        ),
        Field(
            key="approvers",
            kind=Kind.NAMES,
            minimum=1,
            default="any user",
            doc="Users who may approve or reject.",
        ),
        Field(
            key="quorum",
            kind=Kind.WHOLE,
            minimum=1,
            maximum=1000,
            default="1",
            doc="Number of different approvers who must approve; one rejection is enough"
            " to reject.",
        ),
        seconds_field("deadline", "Maximum time to decide.", default="unbounded"),
        Field(
            key="on_deadline",
            kind=Kind.CHOICE,
            choices=choices_of(OnDeadline),
            default="reject",
            doc="Decision that applies if there is none before the deadline.",
        ),
        Field(
            key="on_reject",
            kind=Kind.CHOICE,
            choices=choices_of(OnReject),
            default="fail",
            doc="Whether a rejected task fails or is skipped. With `skip`, a task without an action"
            " succeeds with `approved: false`.",
        ),
        section_field("escalate", "Additional approvers after some time."),
    ),
)

FOR_EACH: Final = Shape(
    name="for_each",
    doc="Runs the task once for each item of a list, independently; the result is the list of the"
    " results.",
    corrections={"in": "write items", "list": "write items"},
    fields=(
        Field(
            key="items",
            kind=Kind.ITEMS,
            required=True,
            doc="The list, or an expression that yields it. Parameters can read `item`"
            " and `index`.",
        ),
        Field(
            key="max_items",
            kind=Kind.WHOLE,
            minimum=1,
            maximum=100_000,
            default="1000",
            doc="Maximum number of items; the task fails if the list is longer.",
        ),
        Field(
            key="max_parallel",
            kind=Kind.WHOLE,
            minimum=1,
            maximum=10_000,
            default="the run's",
            doc="Maximum number of items in parallel.",
        ),
        Field(
            key="label",
            kind=Kind.FORMULA,
            default="none",
            doc="Expression over `item` and `index` that yields a label for an item.",
        ),
    ),
)

REPEAT_UNTIL: Final = Shape(
    name="repeat_until",
    doc="Repeats the call until a condition is true, up to a maximum number of iterations.",
    corrections={"max": "write max_rounds", "max_iterations": "write max_rounds"},
    fields=(
        Field(
            key="until",
            kind=Kind.FORMULA,
            required=True,
            doc="Condition. It can read `result` and, like the parameters, `round` (the iteration,"
            " from 1) and `previous` (the result of the previous iteration).",
        ),
        Field(
            key="max_rounds",
            kind=Kind.WHOLE,
            minimum=1,
            maximum=10_000,
            default="10",
            doc="Maximum number of iterations; the task fails if the condition is still false.",
        ),
    ),
)

CACHE: Final = Shape(
    name="cache",
    doc="Reuse of results for an equal call: the same agent, action, description, evaluated"
    " parameters, results of dependencies, output schema and bounds.",
    fields=(
        seconds_field("ttl", "Maximum age of a reused result.", default="unbounded"),
        Field(
            key="version",
            kind=Kind.TEXT,
            default="empty",
            doc="Additional part of the cache key, for anything that the call does not contain,"
            " such as the code of a function.",
        ),
    ),
)

RECONCILE: Final = Shape(
    name="reconcile",
    doc="A pure read that determines whether a call of unknown outcome took effect. It returns"
    " true, false, null (unknown), or a map with `happened` and `result`.",
    fields=(
        Field(key="agent_name", kind=Kind.NAME, default="the task's", doc="Agent to call."),
        AGENT_KEY,
        ACTION,
        Field(
            key="parameters",
            kind=Kind.MAP,
            default="empty",
            doc="Parameters of the call. May contain the same `{{ expressions }}` as those of the"
            " task.",
        ),
        seconds_field("timeout", "Maximum duration of the call.", default="the agent's"),
    ),
)

TOOL: Final = Shape(
    name="tool",
    doc="A tool that the model of a task may call. Each tool call is a call like any other: it is"
    " recorded before it is made, and has its own idempotency key and effect. The model receives"
    " its result or its error.",
    corrections={"args": "write parameters", "schema": "write input_schema"},
    fields=(
        Field(
            key="name",
            kind=Kind.NAME,
            required=True,
            doc="Name of the tool for the model: letters, digits, `_` and `-`.",
        ),
        Field(key="description", kind=Kind.TEXT, default="empty", doc="Description for the model."),
        Field(key="agent_name", kind=Kind.NAME, required=True, doc="Agent that executes the tool."),
        AGENT_KEY,
        Field(
            key="action",
            kind=Kind.TEXT,
            minimum=1,
            default="its name",
            doc="Action that the agent executes.",
        ),
        Field(
            key="input_schema",
            kind=Kind.MAP,
            default="any arguments",
            doc="JSON Schema of the arguments; sent to the model, and enforced.",
        ),
        Field(
            key="parameters",
            kind=Kind.MAP,
            default="the arguments",
            doc="Parameters of the call. May contain the same `{{ expressions }}` as those of the"
            " task, and `arguments`.",
        ),
        EFFECT,
        seconds_field("timeout", "Maximum duration of one attempt.", default="the agent's (30)"),
        RETRY_FIELD,
        section_field(
            "approval",
            "Approval that is required before each call: true, or a section.",
            short=SWITCH,
        ),
        section_field(
            "reconcile", "Call that determines whether a call of unknown outcome took effect."
        ),
        dollars_field("max_cost", "Maximum cost of one call.", default="the agent's"),
        Field(
            key="repeats",
            kind=Kind.WHOLE,
            minimum=1,
            maximum=10_000,
            default="5",
            doc="Maximum number of calls with the same arguments in one task and its turns.",
        ),
        Field(
            key="max_result",
            kind=Kind.WHOLE,
            minimum=100,
            maximum=1_000_000,
            default="20000",
            doc="Maximum number of characters of the result that the model receives.",
        ),
    ),
)

FALLBACK: Final = Shape(
    name="fallback",
    doc="An agent that executes the task if the previous agents failed, for example because they"
    " are unavailable, refuse the call or exceed the budget.",
    fields=(
        Field(key="agent_name", kind=Kind.NAME, required=True, doc="Agent to use."),
        AGENT_KEY,
        Field(
            key="model",
            kind=Kind.TEXT,
            minimum=1,
            default="the agent's",
            doc="Model to use; replaces the parameter `model`.",
        ),
    ),
)
