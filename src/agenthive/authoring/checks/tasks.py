"""The entries of ``tasks``: from sections to `TaskSpec`, and to the drafts the graph is checked by.

What stands around a call is built in `flow_checks`, what is given to it in `parameter_checks`, the
workflow it may be instead in `children`; here it is put together.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from agenthive.authoring.agent_actions import Actions
from agenthive.authoring.checks.calls import Calls
from agenthive.authoring.checks.control_flow import FlowBuilder
from agenthive.authoring.checks.expressions import Expressions
from agenthive.authoring.checks.graph import Draft, Mention
from agenthive.authoring.checks.parameters import Parameters
from agenthive.authoring.checks.policies import retry_policy
from agenthive.authoring.checks.sections import Section
from agenthive.authoring.checks.subworkflows import Children
from agenthive.authoring.checks.task_bodies import Body, body_of, has
from agenthive.authoring.checks.tools import Tools
from agenthive.authoring.readers.problems import Problems
from agenthive.core.expressions import names as roots
from agenthive.core.model.control_flow import CacheSpec
from agenthive.core.model.workflow import AgentSpec, CompensationSpec, Effect, TaskSpec

_CACHED_ONCE = "a call with effect once is there to be made; it cannot be answered from a cache"
_CACHED_ANY = (
    "a result from the cache means that the call is not made, and this one may do something"
    " outside; write effect: none if it does not"
)


class TaskBuilder:
    """Builds the tasks of one workflow. ``drafts`` fill up on the way."""

    def __init__(
        self,
        title: str,
        problems: Problems,
        agents: Mapping[str, AgentSpec],
        inputs: Collection[str] | None,
        actions: Actions | None,
        parameters: Parameters,
        children: Children,
    ) -> None:
        self._title = title
        self._problems = problems
        self._agents = agents
        self._inputs = inputs
        self._calls = Calls(problems, agents, actions, parameters)
        self._parameters = parameters
        self._children = children
        self.drafts: list[Draft] = []

    def build(self, sections: list[Section]) -> list[TaskSpec]:
        """The tasks in the order they are written."""
        return [self._task(section) for section in sections]

    def _task(self, section: Section) -> TaskSpec:
        name = section.text("name")
        body = body_of(section, self._problems)
        expressions = Expressions(self._problems, self._inputs)
        frame = FlowBuilder(section, self._problems, expressions).build(name)
        frame = self._with_body(frame, section, body, expressions)
        frame = msgspec.structs.replace(
            frame,
            description=section.text("description"),
            depends_on=tuple(dict.fromkeys(section.names("depends_on"))),
            timeout=section.seconds("timeout", None),
            continue_on_failure=section.flag("continue_on_failure", False),
            retry=retry_policy(section.section("retry_config")),
            priority=section.whole("priority", 5),
            estimated_duration=section.seconds("estimated_duration", None),
            compensate=self._compensation(section, frame, expressions),
            output_schema=self._calls.schema(section, "output_schema"),
            max_cost=section.dollars("max_cost", up=True),
            cost_limit=section.dollars("cost_limit"),
        )
        if name:
            self._draft(section, name, expressions.reads)
        return frame

    def _with_body(
        self, frame: TaskSpec, section: Section, body: Body, expressions: Expressions
    ) -> TaskSpec:
        names = roots.parameters(frame)
        if body is Body.WORKFLOW:
            return self._child(frame, section, expressions, names)
        agent = self._calls.agent_of(section, frame.name)
        tools = Tools(self._problems, self._agents, self._calls, self._parameters)
        return msgspec.structs.replace(
            frame,
            agent=agent,
            tools=tools.read(section, frame, agent, expressions),
            max_turns=section.whole("max_turns", 10),
            fallback=tools.fallback(section, frame.name),
            action=self._calls.action(section, agent),
            parameters=self._parameters.read(section, frame.name, expressions, names),
            effect=self._calls.effect(section, agent),
            cache=self._cache(section, agent, expressions, names),
            heartbeat_timeout=section.seconds("heartbeat_timeout", None),
            reconcile=self._calls.reconcile(section, frame.name, agent, expressions, names),
        )

    def _child(
        self, frame: TaskSpec, section: Section, expressions: Expressions, names: frozenset[str]
    ) -> TaskSpec:
        child = self._children.embed(section, self._title, frame.name)
        inputs = child.inputs if child is not None else {}
        secrets = [name for name, one in inputs.items() if one.type == "secret"]
        given = self._parameters.read(section, frame.name, expressions, names, secrets=secrets)
        if child is not None:
            self._parameters.check_child(section, frame.name, given, child)
        return msgspec.structs.replace(frame, workflow=child, parameters=given)

    def _compensation(
        self, section: Section, frame: TaskSpec, expressions: Expressions
    ) -> CompensationSpec | None:
        undo = section.section("compensate")
        if undo is None:
            return None
        who = self._who(undo, frame)
        names = roots.undo(frame)
        return CompensationSpec(
            agent=who,
            action=self._calls.action(undo, who),
            parameters=self._parameters.read(undo, frame.name, expressions, names, undo=True),
            timeout=undo.seconds("timeout", None),
            retry=retry_policy(undo.section("retry_config")),
            effect=Effect(undo.text("effect", Effect.ANY)),
        )

    def _who(self, undo: Section, frame: TaskSpec) -> str:
        who = self._calls.agent_of(undo, frame.name, frame.agent)
        if frame.workflow is not None and not (has(undo, "agent_name") or has(undo, "agent")):
            what = "the key 'agent_name' is required here: the task has no agent of its own"
            self._problems.add(undo.node.place, undo.path, what)
        return who

    def _cache(
        self, section: Section, agent: str, expressions: Expressions, names: frozenset[str]
    ) -> CacheSpec | None:
        cache = section.section("cache")
        if cache is None:
            return None
        path, effect = f"{section.path}.cache", self._calls.effect(section, agent)
        if effect is Effect.ONCE:
            self._problems.add(section.at("cache"), path, _CACHED_ONCE)
        elif effect is Effect.ANY:
            self._problems.warn(section.at("cache"), path, _CACHED_ANY)
        expressions.template(cache.node.get("version"), f"{path}.version", names)
        return CacheSpec(ttl=cache.seconds("ttl", None), version=cache.text("version"))

    def _draft(self, section: Section, name: str, reads: list[Mention]) -> None:
        node = section.node.get("depends_on")
        depends_on: list[Mention] = []
        if node is not None and section.has("depends_on"):
            path = f"{section.path}.depends_on"
            depends_on = [Mention(str(item.value), item.place, path) for item in node.items()]
        self.drafts.append(
            Draft(
                name=name,
                place=section.at("name"),
                path=section.path,
                depends_on=depends_on,
                reads=reads,
            )
        )
