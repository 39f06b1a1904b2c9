"""The sections of what may stand around a call, and of what a model may ask for.

Part of the one table of the dialect: `dialect` puts it together.
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
    doc="How a finished task is undone when the run fails. Runs in the reverse order of the tasks.",
    fields=(
        Field(key="agent_name", kind=Kind.NAME, default="the task's", doc="Who undoes it."),
        AGENT_KEY,
        ACTION,
        Field(
            key="parameters",
            kind=Kind.MAP,
            default="empty",
            doc="May hold `{{ expressions }}`, also over the task's own result.",
        ),
        seconds_field("timeout", "How long one attempt may take.", default="the agent's"),
        RETRY_FIELD,
        EFFECT,
    ),
)

WAIT_FOR: Final = Shape(
    name="wait_for",
    doc="A signal to wait for, before anything is done. What it brings is `signal` in expressions.",
    fields=(
        Field(key="signal", kind=Kind.NAME, required=True, doc="What the signal is called."),
        seconds_field("timeout", "How long to wait.", default="for ever"),
        Field(
            key="default",
            kind=Kind.ANY,
            default="the task fails",
            doc="What is taken for the signal's data if none came in time.",
        ),
        Field(
            key="keep",
            kind=Kind.FLAG,
            default="true",
            doc="Whether a signal that comes too early is kept; else it is refused.",
        ),
    ),
)

ESCALATE: Final = Shape(
    name="escalate",
    doc="Who may answer too when nobody has answered for a while.",
    fields=(
        Field(
            key="after",
            kind=Kind.SECONDS,
            required=True,
            minimum=0.0,
            exclusive_minimum=True,
            maximum=MAX_SECONDS,
            doc="How long after the request.",
        ),
        Field(key="to", kind=Kind.NAMES, required=True, minimum=1, doc="Who."),
    ),
)

APPROVAL: Final = Shape(
    name="approval",
    doc="People who must agree first. They see what is going to be done, and that is what is done.",
    corrections={"timeout": "write deadline", "who": "write approvers"},
    fields=(
        Field(
            key="message",
            kind=Kind.TEXT,
            default="empty",
            doc="What they are asked. May hold `{{ expressions }}`.",
        ),
        Field(
            key="payload",
            kind=Kind.ANY,
            default="null",
            doc="What they are shown; only for a task that does nothing else: of any other it is"
            " what will be done. May hold `{{ expressions }}`.",
        ),
        Field(
            key="approvers", kind=Kind.NAMES, minimum=1, default="anybody", doc="Who may answer."
        ),
        Field(
            key="quorum",
            kind=Kind.WHOLE,
            minimum=1,
            maximum=1000,
            default="1",
            doc="How many different people must agree; one rejection is enough to reject.",
        ),
        seconds_field("deadline", "How long there is to answer.", default="for ever"),
        Field(
            key="on_deadline",
            kind=Kind.CHOICE,
            choices=choices_of(OnDeadline),
            default="reject",
            doc="What no answer in time comes to.",
        ),
        Field(
            key="on_reject",
            kind=Kind.CHOICE,
            choices=choices_of(OnReject),
            default="fail",
            doc="Whether a rejected task fails or is skipped. One that only asks and is to be"
            " skipped succeeds with `approved: false`.",
        ),
        section_field("escalate", "Who may answer too after a while."),
    ),
)

FOR_EACH: Final = Shape(
    name="for_each",
    doc="One task for every item of a list, all on their own; the result is the list of theirs.",
    corrections={"in": "write items", "list": "write items"},
    fields=(
        Field(
            key="items",
            kind=Kind.ITEMS,
            required=True,
            doc="The list, or an expression that gives it. Parameters read `item` and `index`.",
        ),
        Field(
            key="max_items",
            kind=Kind.WHOLE,
            minimum=1,
            maximum=100_000,
            default="1000",
            doc="A longer list fails the task.",
        ),
        Field(
            key="max_parallel",
            kind=Kind.WHOLE,
            minimum=1,
            maximum=10_000,
            default="the run's",
            doc="How many items may run at once.",
        ),
        Field(
            key="label",
            kind=Kind.FORMULA,
            default="none",
            doc="An expression over `item` and `index` that names an item for people.",
        ),
    ),
)

REPEAT_UNTIL: Final = Shape(
    name="repeat_until",
    doc="The call is made again until a condition holds. There is always a last round.",
    corrections={"max": "write max_rounds", "max_iterations": "write max_rounds"},
    fields=(
        Field(
            key="until",
            kind=Kind.FORMULA,
            required=True,
            doc="An expression. It may read `result`, and like the parameters `round` (from 1)"
            " and `previous` (the result of the round before).",
        ),
        Field(
            key="max_rounds",
            kind=Kind.WHOLE,
            minimum=1,
            maximum=10_000,
            default="10",
            doc="If the condition does not hold after so many the task fails.",
        ),
    ),
)

CACHE: Final = Shape(
    name="cache",
    doc="Whether a result is used again for the same agent, action and parameters.",
    fields=(
        seconds_field("ttl", "How old it may be.", default="as long as it is kept"),
        Field(
            key="version",
            kind=Kind.TEXT,
            default="empty",
            doc="Tells apart what the parameters alone do not.",
        ),
    ),
)

RECONCILE: Final = Shape(
    name="reconcile",
    doc="A pure read that finds out whether a call of unknown outcome has acted. It answers true,"
    " false, null (cannot tell) or a map of `happened` and `result`.",
    fields=(
        Field(key="agent_name", kind=Kind.NAME, default="the task's", doc="Who is asked."),
        AGENT_KEY,
        ACTION,
        Field(
            key="parameters",
            kind=Kind.MAP,
            default="empty",
            doc="May hold the `{{ expressions }}` the task's own may hold.",
        ),
        seconds_field("timeout", "How long the question may take.", default="the agent's"),
    ),
)

TOOL: Final = Shape(
    name="tool",
    doc="What the model of a task may ask for. Each time it does, that is a call like any other:"
    " recorded before it is made, with its own key and effect. The model is told what came of"
    " it, also if it failed.",
    corrections={"args": "write parameters", "schema": "write input_schema"},
    fields=(
        Field(
            key="name",
            kind=Kind.NAME,
            required=True,
            doc="What the model calls it: letters, digits, `_` and `-`.",
        ),
        Field(key="description", kind=Kind.TEXT, default="empty", doc="What the model is told."),
        Field(key="agent_name", kind=Kind.NAME, required=True, doc="Who does it."),
        AGENT_KEY,
        Field(
            key="action",
            kind=Kind.TEXT,
            minimum=1,
            default="its name",
            doc="What to ask of the agent.",
        ),
        Field(
            key="input_schema",
            kind=Kind.MAP,
            default="any arguments",
            doc="A JSON Schema of the arguments; the model is told, and held to it.",
        ),
        Field(
            key="parameters",
            kind=Kind.MAP,
            default="the arguments",
            doc="What the agent is given. May hold the `{{ expressions }}` the task's own may"
            " hold, and `arguments`.",
        ),
        EFFECT,
        seconds_field("timeout", "How long one attempt may take.", default="the agent's (30)"),
        RETRY_FIELD,
        section_field(
            "approval",
            "People who must agree to what it would do: true, or a section.",
            short=SWITCH,
        ),
        section_field("reconcile", "How to find out what a call of unknown outcome did."),
        dollars_field("max_cost", "What one call costs at most.", default="the agent's"),
        Field(
            key="repeats",
            kind=Kind.WHOLE,
            minimum=1,
            maximum=10_000,
            default="5",
            doc="How often a run may ask for it with the same arguments.",
        ),
        Field(
            key="max_result",
            kind=Kind.WHOLE,
            minimum=100,
            maximum=1_000_000,
            default="20000",
            doc="How many characters of the result the model is told.",
        ),
    ),
)

FALLBACK: Final = Shape(
    name="fallback",
    doc="Who goes on with a task when the agents before could not, for whatever reason: down,"
    " refused, too dear.",
    fields=(
        Field(key="agent_name", kind=Kind.NAME, required=True, doc="Who."),
        AGENT_KEY,
        Field(
            key="model",
            kind=Kind.TEXT,
            minimum=1,
            default="the agent's",
            doc="Stands in place of the parameter `model`.",
        ),
    ),
)
