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


class Body(Enum):
    """What a task does at last."""

    CALL = "call"
    WORKFLOW = "workflow"
    NOTHING = "nothing"


def has(section: Section, key: str) -> bool:
    """Whether a key is written, be it right or wrong, and not switched off."""
    node = section.node.get(key)
    return node is not None and node.value is not False


def body_of(section: Section, problems: Problems) -> Body:
    """What the task does; notes what does not go with it."""
    agent = has(section, "agent_name") or has(section, "agent")
    call = agent or has(section, "action")
    body = Body.CALL
    if has(section, "workflow"):
        body = Body.WORKFLOW
        if call:
            what = "a task either calls an agent or runs a workflow; remove one of them"
            problems.add(section.at("workflow"), f"{section.path}.workflow", what)
    elif not call and any(has(section, key) for key in WAITS):
        body = Body.NOTHING
    else:
        _check_call(section, agent, problems)
    _check_keys(section, body, problems)
    return body


def _check_call(section: Section, agent: bool, problems: Problems) -> None:
    place, path = section.node.place, section.path
    if not agent and not has(section, "action"):
        problems.add(place, path, _NEITHER)
    elif not agent:
        problems.add(place, path, _WHO)
    elif not has(section, "action"):
        problems.add(place, path, _WHAT)


def _check_keys(section: Section, body: Body, problems: Problems) -> None:
    if has(section, "delay") and has(section, "until"):
        what = "delay and until exclude each other; remove one of them"
        problems.add(section.at("until"), f"{section.path}.until", what)
    approval = section.section("approval")
    if body is Body.NOTHING:
        _refuse(section, REFUSED_WITHOUT_BODY, _OF_NOTHING, problems)
        if has(section, "repeat_until") and approval is None:
            problems.add(section.at("repeat_until"), f"{section.path}.repeat_until", _NO_ROUNDS)
    elif approval is not None and has(approval, "payload"):
        problems.add(approval.at("payload"), f"{approval.path}.payload", _NO_PAYLOAD)
    if body is Body.WORKFLOW:
        _refuse(section, REFUSED_WITH_WORKFLOW, _OF_A_WORKFLOW, problems)


def _refuse(section: Section, keys: tuple[str, ...], why: str, problems: Problems) -> None:
    for key in keys:
        if has(section, key):
            problems.add(section.at(key), f"{section.path}.{key}", f"{key} {why}")
