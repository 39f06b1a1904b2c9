"""What a task does at last: call an agent, run a workflow, or nothing but wait.

Looks only at which keys are there and what they mean together; what they hold is checked where it
is read. A key that only makes sense for some tasks is added to the tables in `dialect`.
"""

from __future__ import annotations

from enum import Enum

from agenthive.authoring.checks.sections import Section
from agenthive.authoring.dialect.dialect import REFUSED_WITH_WORKFLOW, REFUSED_WITHOUT_BODY, WAITS
from agenthive.authoring.readers.problems import Problems

_WHO = "the key 'agent_name' is required: Who does it"
_WHAT = "the key 'action' is required: What to ask of the agent"
_NEITHER = f"{_WHO}. Only a task with workflow, {', '.join(WAITS[:-1])} or until does without"
_OF_A_WORKFLOW = "says something about a call; a workflow says it of its own tasks"
_OF_NOTHING = "says something about a call, and this task only waits; give it agent_name and action"
_NO_ROUNDS = "there is nothing to repeat: this task neither calls, nor runs a workflow, nor asks"
_NO_PAYLOAD = (
    "a task that does something asks for exactly that; a payload is for one that only asks"
)


class TaskBody(Enum):
    """What a task does at last."""

    CALL = "call"
    WORKFLOW = "workflow"
    NOTHING = "nothing"


def is_written(section: Section, key: str) -> bool:
    """Whether a key is written, be it right or wrong, and not switched off."""
    node = section.node.get(key)
    return node is not None and node.value is not False


def body_of(section: Section, problems: Problems) -> TaskBody:
    """What the task does; notes what does not go with it."""
    has_agent = is_written(section, "agent_name") or is_written(section, "agent")
    has_call = has_agent or is_written(section, "action")
    body = TaskBody.CALL
    if is_written(section, "workflow"):
        body = TaskBody.WORKFLOW
        if has_call:
            message = "a task either calls an agent or runs a workflow; remove one of them"
            problems.add(section.place_of("workflow"), f"{section.path}.workflow", message)
    elif not has_call and any(is_written(section, key) for key in WAITS):
        body = TaskBody.NOTHING
    else:
        _check_call(section, has_agent, problems)
    _check_keys(section, body, problems)
    return body


def _check_call(section: Section, has_agent: bool, problems: Problems) -> None:
    place, path = section.node.place, section.path
    if not has_agent and not is_written(section, "action"):
        problems.add(place, path, _NEITHER)
    elif not has_agent:
        problems.add(place, path, _WHO)
    elif not is_written(section, "action"):
        problems.add(place, path, _WHAT)


def _check_keys(section: Section, body: TaskBody, problems: Problems) -> None:
    if is_written(section, "delay") and is_written(section, "until"):
        message = "delay and until exclude each other; remove one of them"
        problems.add(section.place_of("until"), f"{section.path}.until", message)
    approval = section.subsection("approval")
    if body is TaskBody.NOTHING:
        _refuse_keys(section, REFUSED_WITHOUT_BODY, _OF_NOTHING, problems)
        if is_written(section, "repeat_until") and approval is None:
            problems.add(
                section.place_of("repeat_until"), f"{section.path}.repeat_until", _NO_ROUNDS
            )
    elif approval is not None and is_written(approval, "payload"):
        problems.add(approval.place_of("payload"), f"{approval.path}.payload", _NO_PAYLOAD)
    if body is TaskBody.WORKFLOW:
        _refuse_keys(section, REFUSED_WITH_WORKFLOW, _OF_A_WORKFLOW, problems)


def _refuse_keys(section: Section, keys: tuple[str, ...], reason: str, problems: Problems) -> None:
    for key in keys:
        if is_written(section, key):
            problems.add(section.place_of(key), f"{section.path}.{key}", f"{key} {reason}")
