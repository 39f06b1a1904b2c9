"""What is said of a call, wherever one is written: who, what, what it may do, what came of it.

A task, its compensation, its question and its tools all have their part of this.
"""

from __future__ import annotations

from collections.abc import Mapping

from agenthive.authoring.agent_actions import Actions
from agenthive.authoring.checks.expressions import Expressions
from agenthive.authoring.checks.parameters import Parameters
from agenthive.authoring.checks.sections import Section
from agenthive.authoring.readers.problems import Problems
from agenthive.core.model.control_flow import ReconcileSpec
from agenthive.core.model.workflow import AgentSpec, Effect
from agenthive.core.values import JSONObject
from agenthive.infra.schemas import check_schema

_SURE = (
    "is asked only about calls with effect once; any other is simply made again under the same key"
)


class Calls:
    """Reads what sections say of calls."""

    def __init__(
        self,
        problems: Problems,
        agents: Mapping[str, AgentSpec],
        actions: Actions | None,
        parameters: Parameters,
    ) -> None:
        self._problems = problems
        self._agents = agents
        self._actions = actions
        self._parameters = parameters

    def agent_of(self, section: Section, task: str, default: str = "") -> str:
        """The name of an agent that is there; what is wrong with it is noted."""
        key = "agent_name"
        if section.has("agent"):
            key = "agent"
            if section.has("agent_name"):
                what = "agent and agent_name are the same key; remove one"
                self._problems.add(section.at("agent"), section.path, what)
        if not section.has(key):
            return default
        name = section.text(key)
        if name not in self._agents:
            what = f"Task {task!r} references undefined agent {name!r}."
            path = f"{section.path}.{key}"
            self._problems.add(
                section.at(key), path, what + self._problems.suggest(name, self._agents)
            )
        return name

    def action(self, section: Section, agent: str, default: str = "") -> str:
        """What is asked of an agent, if that kind of agent can be asked it."""
        action = section.text("action", default)
        spec = self._agents.get(agent)
        if self._actions is not None and spec is not None and action:
            fault = self._actions.action_problem(spec, action)
            if fault:
                self._problems.add(section.at("action"), f"{section.path}.action", fault)
        return action

    def effect(self, section: Section, agent: str, default: str = "") -> Effect:
        """As the author says; else what is known of the action; else any."""
        spec = self._agents.get(agent)
        known = None
        if self._actions is not None and spec is not None and not section.has("effect"):
            known = self._actions.effect_of(spec, section.text("action", default))
        return known or Effect(section.text("effect", Effect.ANY))

    def reconcile(
        self, section: Section, task: str, agent: str, expressions: Expressions,
        names: frozenset[str],
    ) -> ReconcileSpec | None:  # fmt: skip
        """How to find out what came of a call."""
        ask = section.section("reconcile")
        if ask is None:
            return None
        who = self.agent_of(ask, task, agent)
        if section.text("effect", Effect.ANY) != Effect.ONCE:
            self._problems.warn(ask.node.place, ask.path, _SURE)
        return ReconcileSpec(
            agent=who,
            action=self.action(ask, who),
            parameters=self._parameters.read(ask, task, expressions, names),
            timeout=ask.seconds("timeout", None),
        )

    def schema(self, section: Section, key: str) -> JSONObject | None:
        """A JSON Schema under a key."""
        if not section.has(key):
            return None
        schema = section.map(key)
        fault = check_schema(schema)
        if fault:
            self._problems.add(section.at(key), f"{section.path}.{key}", fault)
        return schema
