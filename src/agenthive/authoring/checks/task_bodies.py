"""The body of a task: it calls an agent, runs a workflow, or only waits.

Checks only which keys may occur together; their values are checked where they are read. A key that
is allowed only for some bodies is listed in `REFUSED_WITH_WORKFLOW` or `REFUSED_WITHOUT_BODY` of
the dialect.
"""

from __future__ import annotations

from enum import Enum

from agenthive.authoring.checks.sections import Section
from agenthive.authoring.dialect.dialect import REFUSED_WITH_WORKFLOW, REFUSED_WITHOUT_BODY, WAITS
from agenthive.authoring.readers.problems import Problems

_NO_AGENT = "the key 'agent_name' is required: Agent that executes the task"
_NO_ACTION = "the key 'action' is required: Action that the agent executes"
_NO_BODY = f"{_NO_AGENT}. It is optional only with workflow, {', '.join(WAITS[:-1])} or {WAITS[-1]}"
_OF_A_CALL = "does not apply to a task with workflow; set it on the tasks of the sub-workflow"
_OF_A_BODY = "does not apply to a task that only waits; remove it, or add agent_name and action"
_NO_ITERATIONS = "there is nothing to repeat: the task has no call, workflow or approval"
_NO_PAYLOAD = "is allowed only on a task without an action; the approvers see the action itself"


class TaskBody(Enum):
    """The kinds of body."""

    CALL = "call"
    WORKFLOW = "workflow"
    NOTHING = "nothing"


def is_written(section: Section, key: str) -> bool:
    """Whether a key is present, valid or not, and is not ``false``."""
    node = section.node.get(key)
    return node is not None and node.value is not False


def body_of(section: Section, problems: Problems) -> TaskBody:
    """Determine the body of a task; report keys that are missing or not allowed with it."""
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
        problems.add(place, path, _NO_BODY)
    elif not has_agent:
        problems.add(place, path, _NO_AGENT)
    elif not is_written(section, "action"):
        problems.add(place, path, _NO_ACTION)


def _check_keys(section: Section, body: TaskBody, problems: Problems) -> None:
    if is_written(section, "delay") and is_written(section, "until"):
        message = "delay and until exclude each other; remove one of them"
        problems.add(section.place_of("until"), f"{section.path}.until", message)
    approval = section.subsection("approval")
    if body is TaskBody.NOTHING:
        _refuse_keys(section, REFUSED_WITHOUT_BODY, _OF_A_BODY, problems)
        if is_written(section, "repeat_until") and approval is None:
            problems.add(
                section.place_of("repeat_until"), f"{section.path}.repeat_until", _NO_ITERATIONS
            )
    elif approval is not None and is_written(approval, "payload"):
        problems.add(approval.place_of("payload"), f"{approval.path}.payload", _NO_PAYLOAD)
    if body is TaskBody.WORKFLOW:
        _refuse_keys(section, REFUSED_WITH_WORKFLOW, _OF_A_CALL, problems)


def _refuse_keys(section: Section, keys: tuple[str, ...], reason: str, problems: Problems) -> None:
    for key in keys:
        if is_written(section, key):
            problems.add(section.place_of(key), f"{section.path}.{key}", f"{key} {reason}")
