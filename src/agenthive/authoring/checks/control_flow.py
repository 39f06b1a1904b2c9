"""The control flow of a task: from sections to the specs of `core.model.control_flow`.

Returns a `TaskSpec` with the control flow only; `tasks` adds the body of the task. Constant lists
are checked here against their maximum; others when the run evaluates them.
"""

from __future__ import annotations

import msgspec

from agenthive.authoring.checks.expressions import ExpressionChecker, evaluate_constant
from agenthive.authoring.checks.sections import Section
from agenthive.authoring.checks.task_bodies import is_written
from agenthive.authoring.readers.nodes import SourceNode, describe_kind
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
_ANY_USER = "has no approvers: any user with access to this home can approve; set approvers"
_MOST_NAMES = 1000


class FlowBuilder:
    """Builds the control flow of one task."""

    def __init__(
        self, section: Section, problems: Problems, expressions: ExpressionChecker
    ) -> None:
        self._section = section
        self._problems = problems
        self._expressions = expressions

    def build(self, name: str) -> TaskSpec:
        """Build a task of this name with its control flow and no body."""
        section = self._section
        if not any(is_written(section, key) for key in KEYS):
            return TaskSpec(name=name)
        frame = TaskSpec(
            name=name,
            wait_for=self._build_wait(),
            for_each=self._build_each(),
            repeat_until=self._build_repeat(),
        )
        self._check_frame(frame)
        return msgspec.structs.replace(
            frame,
            when=section.text("when"),
            delay=section.delay("delay"),
            until=section.text("until"),
            approval=self.build_approval(roots.approval_names(frame)),
        )

    def _check_frame(self, frame: TaskSpec) -> None:
        names = roots.condition_names(frame)
        self._check_formula(self._section, "when", names)
        for key in ("delay", "until"):
            self._expressions.check_template(
                self._section.node.get(key), f"{self._section.path}.{key}", names
            )
        self._check_items(frame)
        repeat = self._section.subsection("repeat_until")
        if repeat is not None:
            self._check_formula(repeat, "until", roots.round_end_names(frame))

    def _check_formula(self, section: Section, key: str, names: frozenset[str]) -> None:
        path = f"{section.path}.{key}"
        self._expressions.check_formula(section.text(key), section.place_of(key), path, names)

    def _check_template(self, section: Section, key: str, names: frozenset[str]) -> None:
        self._expressions.check_template(section.node.get(key), f"{section.path}.{key}", names)

    def _add_problem(self, section: Section, key: str, message: str) -> None:
        self._problems.add(section.place_of(key), f"{section.path}.{key}", message)

    # An invalid section still yields a spec, so that the names it defines (`signal`, `item`,
    # `round`) are not reported as unknown too.

    def _build_wait(self) -> WaitSpec | None:
        section = self._section.subsection("wait_for")
        if section is None:
            return WaitSpec(signal="") if is_written(self._section, "wait_for") else None
        default = section.has_valid("default")
        if default and not is_written(section, "timeout"):
            self._add_problem(
                section,
                "default",
                "is never used: without a timeout the task waits indefinitely; set timeout",
            )
        if "{{" in str(section.plain_value("default")):
            self._add_problem(section, "default", "is a constant; it cannot contain expressions")
        return WaitSpec(
            signal=section.text("signal"),
            timeout=section.seconds("timeout", None),
            default=section.plain_value("default"),
            has_default=default,
            keep=section.flag("keep", True),
        )

    def _build_each(self) -> EachSpec | None:
        section = self._section.subsection("for_each")
        if section is None:
            return EachSpec(items=[]) if is_written(self._section, "for_each") else None
        return EachSpec(
            items=section.plain_value("items"),
            max_items=section.integer("max_items", 1000),
            max_parallel=section.integer("max_parallel", 0) or None,
            label=section.text("label"),
        )

    def _check_items(self, frame: TaskSpec) -> None:
        section, each = self._section.subsection("for_each"), frame.for_each
        items = section.value_node("items") if section is not None else None
        if section is None or each is None or items is None:
            return
        names, path = roots.for_each_names(frame), f"{section.path}.items"
        if isinstance(items.value, str):
            self._expressions.check_formula(items.value, items.place, path, names)
        else:
            self._expressions.check_template(items, path, names)
        self._check_formula(section, "label", roots.label_names(frame))
        self._check_length(section, items, each.max_items)

    def _check_length(self, section: Section, items: SourceNode, max_items: int) -> None:
        value = items.to_plain()
        if isinstance(value, str):
            constant_value = evaluate_constant(value)
            if constant_value is None:
                return
            value = constant_value[0]
        if not isinstance(value, list):
            message = f"for_each needs a list, but this value is always {describe_kind(value)}"
            self._add_problem(section, "items", message)
        elif len(value) > max_items:
            message = f"has {len(value):,} items, but max_items is {max_items:,}"
            self._add_problem(section, "items", message)

    def _build_repeat(self) -> RepeatSpec | None:
        section = self._section.subsection("repeat_until")
        if section is None:
            return RepeatSpec(until="") if is_written(self._section, "repeat_until") else None
        return RepeatSpec(until=section.text("until"), max_rounds=section.integer("max_rounds", 10))

    # Approvals.

    def build_approval(self, names: frozenset[str]) -> ApprovalSpec | None:
        """Build the approval; its texts may read ``names``."""
        section = self._section.subsection("approval")
        if section is None:
            return None
        for key in ("message", "payload"):
            self._check_template(section, key, names)
        approvers = self._read_people(section, "approvers")
        deadline = section.seconds("deadline", None)
        escalate_after, escalate_to = self._read_escalation(section, deadline, approvers)
        self._check_approval(section, approvers)
        return ApprovalSpec(
            message=section.text("message"),
            payload=section.plain_value("payload"),
            approvers=approvers,
            quorum=section.integer("quorum", 1),
            deadline=deadline,
            on_deadline=OnDeadline(section.text("on_deadline", OnDeadline.REJECT)),
            on_reject=OnReject(section.text("on_reject", OnReject.FAIL)),
            escalate_after=escalate_after,
            escalate_to=escalate_to,
        )

    def _check_approval(self, section: Section, approvers: tuple[str, ...]) -> None:
        quorum = section.integer("quorum", 1)
        if approvers and quorum > len(approvers):
            approver_count = (
                "is one approver" if len(approvers) == 1 else f"are {len(approvers)} approvers"
            )
            self._add_problem(
                section, "quorum", f"{quorum} must approve, but there {approver_count}"
            )
        if section.has_valid("on_deadline") and not is_written(section, "deadline"):
            self._add_problem(section, "on_deadline", "has no effect without a deadline")
        if not is_written(section, "approvers"):
            self._problems.warn(section.node.place, section.path, _ANY_USER)

    def _read_escalation(
        self, approval: Section, deadline: float | None, approvers: tuple[str, ...]
    ) -> tuple[float | None, tuple[str, ...]]:
        section = approval.subsection("escalate")
        if section is None:
            return None, ()
        after = section.seconds("after", None)
        if after is not None and deadline is not None and after >= deadline:
            self._add_problem(
                section,
                "after",
                "must be less than the deadline, otherwise the escalation never happens",
            )
        if not approvers and not is_written(approval, "approvers"):
            self._add_problem(
                approval, "escalate", "has no effect if any user can approve; set approvers"
            )
        return after, self._read_people(section, "to")

    def _read_people(self, section: Section, key: str) -> tuple[str, ...]:
        names = section.names(key)
        if len(names) > _MOST_NAMES:
            self._add_problem(section, key, f"can have at most {_MOST_NAMES:,} names")
        if not all(name.strip() for name in names):
            self._add_problem(section, key, "contains an empty name")
        if len(set(names)) < len(names):
            self._add_problem(section, key, "contains a name twice")
        return tuple(dict.fromkeys(names))
