"""Assembles a `WorkflowSpec` from nodes: runs all checks, then puts the specs together.

All problems of a definition are collected before one error is raised. A secret that is written out
is passed to ``keep_secret`` and replaced by the reference that it returns; without ``keep_secret``
it is refused.
"""

from __future__ import annotations

import msgspec

from agenthive.authoring.agent_actions import ActionCatalog
from agenthive.authoring.checks import secret_references
from agenthive.authoring.checks.agents import AgentBuilder
from agenthive.authoring.checks.expressions import ExpressionChecker
from agenthive.authoring.checks.graph import check_graph, check_outputs
from agenthive.authoring.checks.inputs import build_inputs
from agenthive.authoring.checks.parameters import ParameterChecker
from agenthive.authoring.checks.secret_references import KeepSecret
from agenthive.authoring.checks.sections import Section, SectionChecker
from agenthive.authoring.checks.subworkflows import Loaded, Origin, Subworkflows
from agenthive.authoring.checks.tasks import TaskBuilder
from agenthive.authoring.dialect import dialect
from agenthive.authoring.dialect.dialect import WORKFLOW
from agenthive.authoring.readers.nodes import SourceNode
from agenthive.authoring.readers.problems import Problems
from agenthive.authoring.readers.size_limits import OPERATOR, SizeLimits
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


class LoadOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a definition is loaded. ``actions`` knows the agent kinds (None: the built-in ones)."""

    limits: SizeLimits = OPERATOR
    keep_secret: KeepSecret | None = None
    actions: ActionCatalog | None = None


def assemble(
    node: SourceNode, problems: Problems, options: LoadOptions, origin: Origin | None = None
) -> Loaded:
    """Build the workflow that ``node`` defines. Raises ConfigurationError with every problem.

    ``origin`` is the file of the definition, and the definitions around it.
    """
    origin = origin or Origin()
    native = _is_native(node, problems, origin.native)
    checker = SectionChecker(problems, native=native, actions=options.actions)
    top = checker.check_section(node, WORKFLOW, "")
    if top is None:
        raise problems.build_error()
    tasks = top.subsections("tasks")
    if len(tasks) > options.limits.max_tasks:
        message = f"has {len(tasks):,} tasks; at most {options.limits.max_tasks:,} are allowed"
        problems.abort(top.place_of("tasks"), "tasks", message)
    return _Assembler(top, problems, options, native, origin).build(checker)


def _is_native(node: SourceNode, problems: Problems, inherited: bool) -> bool:
    dialect_node = node.get("agenthive")
    if dialect_node is None or not isinstance(node.value, dict):
        return inherited
    if dialect_node.place[0] and next(iter(node.value)) != "agenthive":
        problems.add(dialect_node.place, "agenthive", "must be the first key of the file")
    return dialect_node.value == dialect.NATIVE and not isinstance(dialect_node.value, bool)


def _build_budget(section: Section | None) -> BudgetSpec | None:
    limit = None if section is None else section.nano_usd("limit")
    if section is None or limit is None:
        return None
    on_exceeded = OnExceeded(section.text("on_exceeded", OnExceeded.FAIL))
    return BudgetSpec(limit=limit, on_exceeded=on_exceeded, shrink=section.flag("shrink", False))


class _Assembler:
    def __init__(
        self, top: Section, problems: Problems, options: LoadOptions, native: bool, origin: Origin
    ) -> None:
        self._top = top
        self._problems = problems
        self._options = options
        self._native = native
        self._title = origin.title or top.text("name", "workflow")
        self._parameters = ParameterChecker(self._title, problems, options.keep_secret)
        self._children = Subworkflows(
            origin,
            native,
            problems,
            options.limits,
            lambda node, inner, at: assemble(node, inner, options, at),
        )

    def build(self, checker: SectionChecker) -> Loaded:
        inputs = self._build_inputs(checker)
        builder = AgentBuilder(
            self._title,
            self._problems,
            self._options.keep_secret,
            self._native,
            inputs,
            self._options.actions,
        )
        agents = builder.build(self._top.subsections("agents"))
        tasks = TaskBuilder(
            self._title,
            self._problems,
            agents,
            inputs,
            self._options.actions,
            self._parameters,
            self._children,
        )
        self._children.tasks = len(self._top.subsections("tasks"))
        specs = tuple(tasks.build(self._top.subsections("tasks")))
        check_graph(tasks.drafts, self._problems)
        self._check_outputs({task.name for task in specs}, inputs)
        parallel = self._read_max_parallel()
        reference_groups = (
            builder.references,
            self._parameters.references,
            self._children.references,
        )
        self._problems.raise_if_any()
        return Loaded(
            spec=self._build_spec(tuple(agents.values()), specs, inputs or {}, parallel),
            warnings=tuple(self._problems.warnings),
            references=tuple(reference for group in reference_groups for reference in group),
            tasks=self._children.tasks,
            depth=self._children.depth,
        )

    def _check_outputs(self, tasks: set[str], inputs: dict[str, InputSpec] | None) -> None:
        expressions = ExpressionChecker(self._problems, inputs)
        expressions.check_template(self._top.node.get("outputs"), "outputs", names.output_names())
        check_outputs(expressions.reads, tasks, self._problems)

    def _build_spec(
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
            outputs=top.plain_map("outputs"),
            budget=_build_budget(top.subsection("budget")),
        )

    def _build_inputs(self, checker: SectionChecker) -> dict[str, InputSpec] | None:
        declared = self._top.node.get("inputs")
        if declared is None or not self._top.has_valid("inputs"):
            return None
        return build_inputs(declared, checker, self._problems, self._store_default)

    def _store_default(self, name: str, value: str) -> tuple[str, str] | None:
        keep_secret = self._options.keep_secret
        if keep_secret is None:
            return None
        reference = keep_secret(secret_references.label_of(self._title, "inputs", name), value)
        return reference, secret_references.moved_secret_warning(keep_secret, reference)

    def _read_max_parallel(self) -> int:
        top = self._top
        is_parallel = top.flag("parallel_execution", self._native)
        if not top.has_valid("max_parallel"):
            return (16 if self._native else 10) if is_parallel else 1
        number = top.integer("max_parallel", 1)
        if top.has_valid("parallel_execution") and not is_parallel and number > 1:
            message = "contradicts parallel_execution: false; remove one of them"
            self._problems.add(top.place_of("max_parallel"), "max_parallel", message)
        return number
