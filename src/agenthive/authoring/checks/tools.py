"""What a model may ask for, and who goes on when it could not: ``tools`` and ``fallback``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from agenthive.authoring.checks.calls import Calls
from agenthive.authoring.checks.control_flow import FlowBuilder
from agenthive.authoring.checks.expressions import Expressions
from agenthive.authoring.checks.parameters import Parameters
from agenthive.authoring.checks.policies import retry_policy
from agenthive.authoring.checks.sections import Section
from agenthive.authoring.checks.task_bodies import has
from agenthive.authoring.readers.problems import Problems
from agenthive.core.expressions import names as roots
from agenthive.core.model.workflow import AgentSpec, Effect, FallbackSpec, TaskSpec, ToolSpec
from agenthive.core.values import JSONObject

MOST: Final = 128
"""Tools of one task, and agents that may go on with it."""
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NAMED: Final = "models take names of 1 to 64 letters, digits, _ and -"
_NO_MODEL: Final = "only a model asks for tools; agent {!r} is of type {}"
_TWICE: Final = (
    "the parameter 'tools' tells a model of tools whose calls are the result; with the key 'tools'"
    " they are called. Keep one of them"
)
_CACHED: Final = "a result from the cache means that no tool is called; remove cache"
_UNASKED: Final = (
    "is never repeated, and a model says with what it is called; ask people first (approval: true)"
)
_NO_TOOLS: Final = "means nothing without tools"


class Tools:
    """Reads the tools of tasks."""

    def __init__(
        self,
        problems: Problems,
        agents: Mapping[str, AgentSpec],
        calls: Calls,
        parameters: Parameters,
    ) -> None:
        self._problems = problems
        self._agents = agents
        self._calls = calls
        self._parameters = parameters

    def read(
        self, section: Section, frame: TaskSpec, agent: str, expressions: Expressions
    ) -> tuple[ToolSpec, ...]:
        """The tools of a task, in the order they are written."""
        sections = section.sections("tools")
        if not sections:
            if section.has("max_turns"):
                self._wrong(section, "max_turns", _NO_TOOLS)
            return ()
        self._check(section, sections, self._agents.get(agent))
        return tuple([self._tool(one, frame, expressions) for one in sections])

    def fallback(self, section: Section, task: str) -> tuple[FallbackSpec, ...]:
        """Who goes on with a task, in their order."""
        sections = section.sections("fallback")
        if len(sections) > MOST:
            self._wrong(section, "fallback", f"at most {MOST} agents may go on with a task")
        return tuple(
            [
                FallbackSpec(agent=self._calls.agent_of(one, task), model=one.text("model"))
                for one in sections
            ]
        )

    def _check(self, section: Section, tools: list[Section], agent: AgentSpec | None) -> None:
        if len(tools) > MOST:
            self._wrong(section, "tools", f"a model may be told of {MOST} tools at most")
        if agent is not None and agent.type in ("mcp_server", "http_api"):
            self._wrong(section, "tools", _NO_MODEL.format(agent.name, agent.type))
        given = section.node.get("parameters")
        if given is not None and isinstance(given.value, dict) and "tools" in given.value:
            self._wrong(section, "tools", _TWICE)
        if has(section, "cache"):
            self._wrong(section, "cache", _CACHED)
        seen: dict[str, Section] = {}
        for tool in tools:
            name = tool.text("name")
            if name in seen:
                self._wrong(tool, "name", f"there is already a tool named {name!r}")
            elif name and not _NAME.fullmatch(name):
                self._wrong(tool, "name", _NAMED)
            seen[name] = tool

    def _wrong(self, section: Section, key: str, what: str) -> None:
        self._problems.add(section.at(key), f"{section.path}.{key}", what)

    def _tool(self, section: Section, frame: TaskSpec, expressions: Expressions) -> ToolSpec:
        name, names = section.text("name"), roots.tool(frame)
        agent = self._calls.agent_of(section, frame.name)
        approval = FlowBuilder(section, self._problems, expressions).approval(names)
        effect = self._calls.effect(section, agent, name)
        if effect is Effect.ONCE and approval is None:
            self._problems.warn(section.node.place, section.path, _UNASKED)
        return ToolSpec(
            name=name,
            agent=agent,
            action=self._calls.action(section, agent, name),
            description=section.text("description"),
            input_schema=self._calls.schema(section, "input_schema") or {},
            parameters=self._given(section, frame, expressions, names),
            effect=effect,
            timeout=section.seconds("timeout", None),
            retry=retry_policy(section.section("retry_config")),
            approval=approval,
            reconcile=self._calls.reconcile(section, frame.name, agent, expressions, names),
            max_cost=section.dollars("max_cost", up=True),
            repeats=section.whole("repeats", 5),
            max_result=section.whole("max_result", 20_000),
        )

    def _given(
        self, section: Section, frame: TaskSpec, expressions: Expressions, names: frozenset[str]
    ) -> JSONObject | None:
        if not section.has("parameters"):
            return None
        return self._parameters.read(section, frame.name, expressions, names)
