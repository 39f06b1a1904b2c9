"""What stands around a task's call: from sections to the words of `core.model.control_flow`.

Checks what can be known beforehand, so that no loop is without end and no list without bound. Gives
a `TaskSpec` that has only these words; the call is filled in by `task_checks`.
"""

from __future__ import annotations

import msgspec

from agenthive.authoring.checks.expressions import Expressions, constant
from agenthive.authoring.checks.sections import Section
from agenthive.authoring.checks.task_bodies import has
from agenthive.authoring.readers.nodes import Node, kind
from agenthive.authoring.readers.problems import Problems
from agenthive.core.expressions import names as roots
from agenthive.core.model.control_flow import (
    ApprovalSpec,
    EachSpec,
    OnDeadline,
    OnReject,
    RepeatSpec,
    WaitSpec,
)
from agenthive.core.model.workflow import TaskSpec

KEYS = ("when", "delay", "until", "wait_for", "for_each", "repeat_until", "approval")
_ANYBODY = "names no approvers: anybody who can reach this home may approve"
_MOST_NAMES = 1000


class FlowBuilder:
    """Builds what stands around the call of one task."""

    def __init__(self, section: Section, problems: Problems, expressions: Expressions) -> None:
        self._section = section
        self._problems = problems
        self._expressions = expressions

    def build(self, name: str) -> TaskSpec:
        """A task of this name with nothing but its flow."""
        section = self._section
        if not any(has(section, key) for key in KEYS):
            return TaskSpec(name=name)
        frame = TaskSpec(
            name=name, wait_for=self._wait(), for_each=self._each(), repeat_until=self._repeat()
        )
        self._check_frame(frame)
        return msgspec.structs.replace(
            frame,
            when=section.text("when"),
            delay=section.delay("delay"),
            until=section.text("until"),
            approval=self.approval(roots.approval(frame)),
        )

    def _check_frame(self, frame: TaskSpec) -> None:
        before = roots.condition(frame)
        self._formula(self._section, "when", before)
        for key in ("delay", "until"):
            self._expressions.template(
                self._section.node.get(key), f"{self._section.path}.{key}", before
            )
        self._check_items(frame)
        repeat = self._section.section("repeat_until")
        if repeat is not None:
            self._formula(repeat, "until", roots.round_end(frame))

    def _formula(self, section: Section, key: str, names: frozenset[str]) -> None:
        path = f"{section.path}.{key}"
        self._expressions.formula(section.text(key), section.at(key), path, names)

    def _template(self, section: Section, key: str, names: frozenset[str]) -> None:
        self._expressions.template(section.node.get(key), f"{section.path}.{key}", names)

    def _wrong(self, section: Section, key: str, what: str) -> None:
        self._problems.add(section.at(key), f"{section.path}.{key}", what)

    # A section that is wrong still counts as there, lest the names it brings be called unknown.

    def _wait(self) -> WaitSpec | None:
        section = self._section.section("wait_for")
        if section is None:
            return WaitSpec(signal="") if has(self._section, "wait_for") else None
        default = section.has("default")
        if default and not has(section, "timeout"):
            self._wrong(section, "default", "is never used: without a timeout it waits for ever")
        if "{{" in str(section.any("default")):
            self._wrong(section, "default", "is taken as it stands; it cannot hold expressions")
        return WaitSpec(
            signal=section.text("signal"),
            timeout=section.seconds("timeout", None),
            default=section.any("default"),
            has_default=default,
            keep=section.flag("keep", True),
        )

    def _each(self) -> EachSpec | None:
        section = self._section.section("for_each")
        if section is None:
            return EachSpec(items=[]) if has(self._section, "for_each") else None
        return EachSpec(
            items=section.any("items"),
            max_items=section.whole("max_items", 1000),
            max_parallel=section.whole("max_parallel", 0) or None,
            label=section.text("label"),
        )

    def _check_items(self, frame: TaskSpec) -> None:
        section, each = self._section.section("for_each"), frame.for_each
        items = section.found("items") if section is not None else None
        if section is None or each is None or items is None:
            return
        names, path = roots.items(frame), f"{section.path}.items"
        if isinstance(items.value, str):
            self._expressions.formula(items.value, items.place, path, names)
        else:
            self._expressions.template(items, path, names)
        self._formula(section, "label", roots.label(frame))
        self._check_length(section, items, each.max_items)

    def _check_length(self, section: Section, items: Node, most: int) -> None:
        value = items.plain()
        if isinstance(value, str):
            known = constant(value)
            if known is None:
                return
            value = known[0]
        if not isinstance(value, list):
            what = f"for_each needs a list, and this is always {kind(value)}"
            self._wrong(section, "items", what)
        elif len(value) > most:
            what = f"has {len(value):,} items, and max_items is {most:,}"
            self._wrong(section, "items", what)

    def _repeat(self) -> RepeatSpec | None:
        section = self._section.section("repeat_until")
        if section is None:
            return RepeatSpec(until="") if has(self._section, "repeat_until") else None
        return RepeatSpec(until=section.text("until"), max_rounds=section.whole("max_rounds", 10))

    # Approvals.

    def approval(self, names: frozenset[str]) -> ApprovalSpec | None:
        """Who is asked first; its texts may read ``names``."""
        section = self._section.section("approval")
        if section is None:
            return None
        for key in ("message", "payload"):
            self._template(section, key, names)
        approvers = self._people(section, "approvers")
        deadline = section.seconds("deadline", None)
        after, to = self._escalation(section, deadline, approvers)
        self._check_approval(section, approvers)
        return ApprovalSpec(
            message=section.text("message"),
            payload=section.any("payload"),
            approvers=approvers,
            quorum=section.whole("quorum", 1),
            deadline=deadline,
            on_deadline=OnDeadline(section.text("on_deadline", OnDeadline.REJECT)),
            on_reject=OnReject(section.text("on_reject", OnReject.FAIL)),
            escalate_after=after,
            escalate_to=to,
        )

    def _check_approval(self, section: Section, approvers: tuple[str, ...]) -> None:
        quorum = section.whole("quorum", 1)
        if approvers and quorum > len(approvers):
            people = "one approver" if len(approvers) == 1 else f"{len(approvers)} approvers"
            self._wrong(section, "quorum", f"{quorum} must agree, and there are {people}")
        if section.has("on_deadline") and not has(section, "deadline"):
            self._wrong(section, "on_deadline", "never happens without a deadline")
        if not has(section, "approvers"):
            self._problems.warn(section.node.place, section.path, _ANYBODY)

    def _escalation(
        self, approval: Section, deadline: float | None, approvers: tuple[str, ...]
    ) -> tuple[float | None, tuple[str, ...]]:
        section = approval.section("escalate")
        if section is None:
            return None, ()
        after = section.seconds("after", None)
        if after is not None and deadline is not None and after >= deadline:
            self._wrong(section, "after", "must be less than the deadline, or it never happens")
        if not approvers and not has(approval, "approvers"):
            self._wrong(approval, "escalate", "means nothing where anybody may answer already")
        return after, self._people(section, "to")

    def _people(self, section: Section, key: str) -> tuple[str, ...]:
        names = section.names(key)
        if len(names) > _MOST_NAMES:
            self._wrong(section, key, f"at most {_MOST_NAMES:,} people can be asked")
        if not all(name.strip() for name in names):
            self._wrong(section, key, "a name must not be empty")
        if len(set(names)) < len(names):
            self._wrong(section, key, "names somebody twice")
        return tuple(dict.fromkeys(names))
