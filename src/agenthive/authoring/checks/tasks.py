"""The entries of ``tasks``: from sections to `TaskSpec`, and to the drafts for the graph checks.

Combines the control flow (`control_flow`), the call (`calls`, `parameters`, `tools`) or the
sub-workflow (`subworkflows`), and the remaining keys of a task.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from agenthive.authoring.agent_actions import ActionCatalog
from agenthive.authoring.checks.calls import CallChecker
from agenthive.authoring.checks.control_flow import FlowBuilder
from agenthive.authoring.checks.expressions import ExpressionChecker
from agenthive.authoring.checks.graph import Mention, TaskDraft
from agenthive.authoring.checks.parameters import ParameterChecker
from agenthive.authoring.checks.policies import build_retry_policy
from agenthive.authoring.checks.sections import Section
from agenthive.authoring.checks.subworkflows import Subworkflows
from agenthive.authoring.checks.task_bodies import TaskBody, body_of, is_written
from agenthive.authoring.checks.tools import ToolChecker
from agenthive.authoring.readers.problems import Problems
from agenthive.core.expressions import names as roots
from agenthive.core.model.control_flow import CacheSpec
from agenthive.core.model.workflow import AgentSpec, CompensationSpec, Effect, TaskSpec

_CACHED_ONCE = "a call with effect: once cannot be replaced by a cached result; remove cache"
_CACHED_ANY = (
    "the call may have effects, which do not happen if its result comes from the cache; set"
    " effect: none if it has none"
)


class TaskBuilder:
    """Builds the tasks of one workflow. ``drafts`` collects their drafts."""

    def __init__(
        self,
        title: str,
        problems: Problems,
        agents: Mapping[str, AgentSpec],
        inputs: Collection[str] | None,
        actions: ActionCatalog | None,
        parameters: ParameterChecker,
        children: Subworkflows,
    ) -> None:
        self._title = title
        self._problems = problems
        self._agents = agents
        self._inputs = inputs
        self._calls = CallChecker(problems, agents, actions, parameters)
        self._parameters = parameters
        self._children = children
        self.drafts: list[TaskDraft] = []

    def build(self, sections: list[Section]) -> list[TaskSpec]:
        """Build the tasks, in the order of the file."""
        return [self._build_task(section) for section in sections]

    def _build_task(self, section: Section) -> TaskSpec:
        name = section.text("name")
        body = body_of(section, self._problems)
        expressions = ExpressionChecker(self._problems, self._inputs)
        frame = FlowBuilder(section, self._problems, expressions).build(name)
        frame = self._add_body(frame, section, body, expressions)
        frame = msgspec.structs.replace(
            frame,
            description=section.text("description"),
            depends_on=tuple(dict.fromkeys(section.names("depends_on"))),
            timeout=section.seconds("timeout", None),
            continue_on_failure=section.flag("continue_on_failure", False),
            retry=build_retry_policy(section.subsection("retry_config")),
            priority=section.integer("priority", 5),
            estimated_duration=section.seconds("estimated_duration", None),
            compensate=self._build_compensation(section, frame, expressions),
            output_schema=self._calls.read_schema(section, "output_schema"),
            max_cost=section.nano_usd("max_cost", round_up=True),
            cost_limit=section.nano_usd("cost_limit"),
        )
        if name:
            self._add_draft(section, name, expressions.reads)
        return frame

    def _add_body(
        self, frame: TaskSpec, section: Section, body: TaskBody, expressions: ExpressionChecker
    ) -> TaskSpec:
        names = roots.parameter_names(frame)
        if body is TaskBody.WORKFLOW:
            return self._add_subworkflow(frame, section, expressions, names)
        agent = self._calls.agent_of(section, frame.name)
        tools = ToolChecker(self._problems, self._agents, self._calls, self._parameters)
        return msgspec.structs.replace(
            frame,
            agent=agent,
            tools=tools.read_tools(section, frame, agent, expressions),
            max_turns=section.integer("max_turns", 10),
            fallback=tools.read_fallback(section, frame.name),
            action=self._calls.read_action(section, agent),
            parameters=self._parameters.read(section, frame.name, expressions, names),
            effect=self._calls.read_effect(section, agent),
            cache=self._build_cache(section, agent, expressions, names),
            heartbeat_timeout=section.seconds("heartbeat_timeout", None),
            reconcile=self._calls.build_reconcile(section, frame.name, agent, expressions, names),
        )

    def _add_subworkflow(
        self,
        frame: TaskSpec,
        section: Section,
        expressions: ExpressionChecker,
        names: frozenset[str],
    ) -> TaskSpec:
        child = self._children.embed(section, self._title, frame.name)
        inputs = child.inputs if child is not None else {}
        secrets = [name for name, declared in inputs.items() if declared.type == "secret"]
        parameters = self._parameters.read(section, frame.name, expressions, names, secrets=secrets)
        if child is not None:
            self._parameters.check_child_inputs(section, frame.name, parameters, child)
        return msgspec.structs.replace(frame, workflow=child, parameters=parameters)

    def _build_compensation(
        self, section: Section, frame: TaskSpec, expressions: ExpressionChecker
    ) -> CompensationSpec | None:
        compensation = section.subsection("compensate")
        if compensation is None:
            return None
        agent_name = self._compensation_agent(compensation, frame)
        names = roots.compensation_names(frame)
        return CompensationSpec(
            agent=agent_name,
            action=self._calls.read_action(compensation, agent_name),
            parameters=self._parameters.read(
                compensation, frame.name, expressions, names, in_compensation=True
            ),
            timeout=compensation.seconds("timeout", None),
            retry=build_retry_policy(compensation.subsection("retry_config")),
            effect=Effect(compensation.text("effect", Effect.ANY)),
        )

    def _compensation_agent(self, compensation: Section, frame: TaskSpec) -> str:
        agent_name = self._calls.agent_of(compensation, frame.name, frame.agent)
        if frame.workflow is not None and not (
            is_written(compensation, "agent_name") or is_written(compensation, "agent")
        ):
            message = "the key 'agent_name' is required here: the task itself has no agent"
            self._problems.add(compensation.node.place, compensation.path, message)
        return agent_name

    def _build_cache(
        self, section: Section, agent: str, expressions: ExpressionChecker, names: frozenset[str]
    ) -> CacheSpec | None:
        cache = section.subsection("cache")
        if cache is None:
            return None
        path, effect = f"{section.path}.cache", self._calls.read_effect(section, agent)
        if effect is Effect.ONCE:
            self._problems.add(section.place_of("cache"), path, _CACHED_ONCE)
        elif effect is Effect.ANY:
            self._problems.warn(section.place_of("cache"), path, _CACHED_ANY)
        expressions.check_template(cache.node.get("version"), f"{path}.version", names)
        return CacheSpec(ttl=cache.seconds("ttl", None), version=cache.text("version"))

    def _add_draft(self, section: Section, name: str, reads: list[Mention]) -> None:
        node = section.node.get("depends_on")
        depends_on: list[Mention] = []
        if node is not None and section.has_valid("depends_on"):
            path = f"{section.path}.depends_on"
            depends_on = [Mention(str(item.value), item.place, path) for item in node.items()]
        self.drafts.append(
            TaskDraft(
                name=name,
                place=section.place_of("name"),
                path=section.path,
                depends_on=depends_on,
                reads=reads,
            )
        )
