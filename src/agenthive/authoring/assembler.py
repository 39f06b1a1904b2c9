"""From nodes to a `WorkflowSpec`: defaults, and what keys mean together.

Every problem of a definition is noted before one error is raised. Secrets that were written out
are handed to ``keep_secret`` and replaced by what it returns; without it they are refused. The
graph itself is checked in `graph_checks`.
"""

from __future__ import annotations

import msgspec

from agenthive.authoring.agent_actions import Actions
from agenthive.authoring.checks import secret_references
from agenthive.authoring.checks.agents import AgentBuilder
from agenthive.authoring.checks.expressions import Expressions
from agenthive.authoring.checks.graph import check_graph, check_outputs
from agenthive.authoring.checks.inputs import build_inputs
from agenthive.authoring.checks.parameters import Parameters
from agenthive.authoring.checks.secret_references import KeepSecret
from agenthive.authoring.checks.sections import Checker, Section
from agenthive.authoring.checks.subworkflows import Children, Loaded, Origin
from agenthive.authoring.checks.tasks import TaskBuilder
from agenthive.authoring.dialect import dialect
from agenthive.authoring.dialect.dialect import WORKFLOW
from agenthive.authoring.readers.nodes import Node
from agenthive.authoring.readers.problems import Problems
from agenthive.authoring.readers.size_limits import OPERATOR, Limits
from agenthive.core.expressions import names
from agenthive.core.model.workflow import (
    AgentSpec,
    BudgetSpec,
    FailureStrategy,
    InputSpec,
    OnExceeded,
    TaskSpec,
    WorkflowSpec,
)


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a definition is taken in. ``kinds``: the agent kinds there are (None: the table's)."""

    limits: Limits = OPERATOR
    keep_secret: KeepSecret | None = None
    actions: Actions | None = None
    kinds: tuple[str, ...] | None = None


def assemble(
    node: Node, problems: Problems, options: Options, origin: Origin | None = None
) -> Loaded:
    """The workflow that ``node`` describes. Raises ConfigurationError with all that is wrong.

    ``origin`` is where it stands: its file, and what it is within.
    """
    origin = origin or Origin()
    native = _dialect(node, problems, origin.native)
    checker = Checker(problems, native=native, kinds=options.kinds)
    top = checker.section(node, WORKFLOW, "")
    if top is None:
        raise problems.error()
    tasks = top.sections("tasks")
    if len(tasks) > options.limits.max_tasks:
        what = f"{len(tasks):,} tasks are more than the {options.limits.max_tasks:,} allowed"
        problems.stop(top.at("tasks"), "tasks", what)
    return _Assembler(top, problems, options, native, origin).loaded(checker)


def _dialect(node: Node, problems: Problems, around: bool) -> bool:
    given = node.get("agenthive")
    if given is None or not isinstance(node.value, dict):
        return around
    if given.place[0] and next(iter(node.value)) != "agenthive":
        problems.add(given.place, "agenthive", "must be the first key of the file")
    return given.value == dialect.NATIVE and not isinstance(given.value, bool)


def _budget(section: Section | None) -> BudgetSpec | None:
    limit = None if section is None else section.dollars("limit")
    if section is None or limit is None:
        return None
    how = OnExceeded(section.text("on_exceeded", OnExceeded.FAIL))
    return BudgetSpec(limit=limit, on_exceeded=how, shrink=section.flag("shrink", False))


class _Assembler:
    def __init__(
        self, top: Section, problems: Problems, options: Options, native: bool, origin: Origin
    ) -> None:
        self._top = top
        self._problems = problems
        self._options = options
        self._native = native
        self._title = origin.title or top.text("name", "workflow")
        self._parameters = Parameters(self._title, problems, options.keep_secret)
        self._children = Children(
            origin, native, problems, options.limits,
            lambda node, inner, at: assemble(node, inner, options, at),
        )  # fmt: skip

    def loaded(self, checker: Checker) -> Loaded:
        inputs = self._inputs(checker)
        builder = AgentBuilder(
            self._title, self._problems, self._options.keep_secret, self._native, inputs
        )
        agents = builder.build(self._top.sections("agents"))
        tasks = TaskBuilder(
            self._title, self._problems, agents, inputs, self._options.actions, self._parameters,
            self._children,
        )  # fmt: skip
        self._children.tasks = len(self._top.sections("tasks"))
        specs = tuple(tasks.build(self._top.sections("tasks")))
        check_graph(tasks.drafts, self._problems)
        self._check_outputs({task.name for task in specs}, inputs)
        parallel = self._max_parallel()
        found = builder.references, self._parameters.references, self._children.references
        self._problems.check()
        return Loaded(
            spec=self._spec(tuple(agents.values()), specs, inputs or {}, parallel),
            warnings=tuple(self._problems.warnings),
            references=tuple(one for some in found for one in some),
            tasks=self._children.tasks,
            depth=self._children.depth,
        )

    def _check_outputs(self, tasks: set[str], inputs: dict[str, InputSpec] | None) -> None:
        expressions = Expressions(self._problems, inputs)
        expressions.template(self._top.node.get("outputs"), "outputs", names.outputs())
        check_outputs(expressions.reads, tasks, self._problems)

    def _spec(
        self,
        agents: tuple[AgentSpec, ...],
        tasks: tuple[TaskSpec, ...],
        inputs: dict[str, InputSpec],
        parallel: int,
    ) -> WorkflowSpec:
        top = self._top
        strategy = top.text("failure_strategy", FailureStrategy.STOP)
        return WorkflowSpec(
            name=top.text("name"),
            agents=agents,
            tasks=tasks,
            description=top.text("description"),
            version=top.text("version", "1.0.0"),
            dialect=dialect.NATIVE if self._native else 0,
            max_parallel=parallel,
            failure_strategy=FailureStrategy(strategy),
            timeout=top.seconds("global_timeout", None if self._native else 300.0),
            inputs=inputs,
            outputs=top.map("outputs"),
            budget=_budget(top.section("budget")),
        )

    def _inputs(self, checker: Checker) -> dict[str, InputSpec] | None:
        declared = self._top.node.get("inputs")
        if declared is None or not self._top.has("inputs"):
            return None
        return build_inputs(declared, checker, self._problems, self._keep_default)

    def _keep_default(self, name: str, value: str) -> str | None:
        if self._options.keep_secret is None:
            return None
        label = secret_references.label_of(self._title, "inputs", name)
        return self._options.keep_secret(label, value)

    def _max_parallel(self) -> int:
        top = self._top
        several = top.flag("parallel_execution", self._native)
        if not top.has("max_parallel"):
            return (16 if self._native else 10) if several else 1
        number = top.whole("max_parallel", 1)
        if top.has("parallel_execution") and not several and number > 1:
            what = "contradicts parallel_execution: false; remove one of the two"
            self._problems.add(top.at("max_parallel"), "max_parallel", what)
        return number
