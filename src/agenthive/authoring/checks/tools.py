"""The tools of a model and the fallback agents of a task: ``tools`` and ``fallback``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from agenthive.authoring.checks.calls import CallChecker
from agenthive.authoring.checks.control_flow import FlowBuilder
from agenthive.authoring.checks.expressions import ExpressionChecker
from agenthive.authoring.checks.parameters import ParameterChecker
from agenthive.authoring.checks.policies import build_retry_policy
from agenthive.authoring.checks.sections import Section
from agenthive.authoring.checks.task_bodies import is_written
from agenthive.authoring.readers.problems import Problems
from agenthive.core.expressions import names as roots
from agenthive.core.model.workflow import AgentSpec, Effect, FallbackSpec, TaskSpec, ToolSpec
from agenthive.core.values import JSONObject

MOST: Final = 128
"""Maximum number of tools, and of fallback agents, of a task."""
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NAMED: Final = "must be 1 to 64 letters, digits, _ and -, as models require"
_NO_MODEL: Final = "only models call tools, but agent {!r} is of type {}; remove tools"
_TWICE: Final = (
    "the key 'tools' and the parameter 'tools' exclude each other: agenthive executes the calls of"
    " the former, and returns those of the latter as the result. Remove one of them"
)
_CACHED: Final = "a cached result would skip the tool calls; remove cache"
_UNASKED: Final = (
    "has effect: once and is called with arguments that a model chooses; add approval: true"
)
_NO_TOOLS: Final = "has no effect without tools"


class ToolChecker:
    """Reads and checks the tools and fallback agents of tasks."""

    def __init__(
        self,
        problems: Problems,
        agents: Mapping[str, AgentSpec],
        calls: CallChecker,
        parameters: ParameterChecker,
    ) -> None:
        self._problems = problems
        self._agents = agents
        self._calls = calls
        self._parameters = parameters

    def read_tools(
        self, section: Section, frame: TaskSpec, agent: str, expressions: ExpressionChecker
    ) -> tuple[ToolSpec, ...]:
        """Read the tools of a task, in the order of the file."""
        sections = section.subsections("tools")
        if not sections:
            if section.has_valid("max_turns"):
                self._add_problem(section, "max_turns", _NO_TOOLS)
            return ()
        self._check_tools(section, sections, self._agents.get(agent))
        return tuple([self._build_tool(tool, frame, expressions) for tool in sections])

    def read_fallback(self, section: Section, task: str) -> tuple[FallbackSpec, ...]:
        """Read the fallback agents of a task, in the order of the file."""
        sections = section.subsections("fallback")
        if len(sections) > MOST:
            self._add_problem(section, "fallback", f"can have at most {MOST} entries")
        return tuple(
            [
                FallbackSpec(agent=self._calls.agent_of(entry, task), model=entry.text("model"))
                for entry in sections
            ]
        )

    def _check_tools(self, section: Section, tools: list[Section], agent: AgentSpec | None) -> None:
        if len(tools) > MOST:
            self._add_problem(section, "tools", f"can have at most {MOST} entries")
        if agent is not None and agent.type in ("mcp_server", "http_api"):
            self._add_problem(section, "tools", _NO_MODEL.format(agent.name, agent.type))
        parameters = section.node.get("parameters")
        if (
            parameters is not None
            and isinstance(parameters.value, dict)
            and "tools" in parameters.value
        ):
            self._add_problem(section, "tools", _TWICE)
        if is_written(section, "cache"):
            self._add_problem(section, "cache", _CACHED)
        tools_by_name: dict[str, Section] = {}
        for tool in tools:
            name = tool.text("name")
            if name in tools_by_name:
                self._add_problem(
                    tool, "name", f"there is already a tool named {name!r}; names must be unique"
                )
            elif name and not _NAME.fullmatch(name):
                self._add_problem(tool, "name", _NAMED)
            tools_by_name[name] = tool

    def _add_problem(self, section: Section, key: str, message: str) -> None:
        self._problems.add(section.place_of(key), f"{section.path}.{key}", message)

    def _build_tool(
        self, section: Section, frame: TaskSpec, expressions: ExpressionChecker
    ) -> ToolSpec:
        name, names = section.text("name"), roots.tool_names(frame)
        agent = self._calls.agent_of(section, frame.name)
        approval = FlowBuilder(section, self._problems, expressions).build_approval(names)
        effect = self._calls.read_effect(section, agent, name)
        if effect is Effect.ONCE and approval is None:
            self._problems.warn(section.node.place, section.path, _UNASKED)
        return ToolSpec(
            name=name,
            agent=agent,
            action=self._calls.read_action(section, agent, name),
            description=section.text("description"),
            input_schema=self._calls.read_schema(section, "input_schema") or {},
            parameters=self._read_parameters(section, frame, expressions, names),
            effect=effect,
            timeout=section.seconds("timeout", None),
            retry=build_retry_policy(section.subsection("retry_config")),
            approval=approval,
            reconcile=self._calls.build_reconcile(section, frame.name, agent, expressions, names),
            max_cost=section.nano_usd("max_cost", round_up=True),
            repeats=section.integer("repeats", 5),
            max_result=section.integer("max_result", 20_000),
        )

    def _read_parameters(
        self,
        section: Section,
        frame: TaskSpec,
        expressions: ExpressionChecker,
        names: frozenset[str],
    ) -> JSONObject | None:
        if not section.has_valid("parameters"):
            return None
        return self._parameters.read(section, frame.name, expressions, names)
