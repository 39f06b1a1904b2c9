"""The keys of a call: agent, action, effect, reconcile and schemas.

Shared by tasks, compensations, reconcile calls and tools.
"""

from __future__ import annotations

from collections.abc import Mapping

from agenthive.authoring.agent_actions import ActionCatalog
from agenthive.authoring.checks.expressions import ExpressionChecker
from agenthive.authoring.checks.parameters import ParameterChecker
from agenthive.authoring.checks.sections import Section
from agenthive.authoring.readers.problems import Problems, did_you_mean
from agenthive.core.model.control_flow import ReconcileSpec
from agenthive.core.model.workflow import AgentSpec, Effect
from agenthive.core.values import JSONObject
from agenthive.infra.schemas import check_schema

_NEVER_RECONCILED = (
    "is used only for calls with effect: once; others are repeated with the same idempotency key"
)


class CallChecker:
    """Reads and checks the keys of calls."""

    def __init__(
        self,
        problems: Problems,
        agents: Mapping[str, AgentSpec],
        actions: ActionCatalog | None,
        parameters: ParameterChecker,
    ) -> None:
        self._problems = problems
        self._agents = agents
        self._actions = actions
        self._parameters = parameters

    def agent_of(self, section: Section, task: str, default: str = "") -> str:
        """Read the name of the agent; report a name that is not declared."""
        key = "agent_name"
        if section.has_valid("agent"):
            key = "agent"
            if section.has_valid("agent_name"):
                message = "agent and agent_name have the same meaning; remove one of them"
                self._problems.add(section.place_of("agent"), section.path, message)
        if not section.has_valid(key):
            return default
        name = section.text(key)
        if name not in self._agents:
            message = f"Task {task!r} references undefined agent {name!r}."
            path = f"{section.path}.{key}"
            self._problems.add(
                section.place_of(key),
                path,
                message + self._problems.suggest_name(name, self._agents),
            )
        return name

    def read_action(self, section: Section, agent: str, default: str = "") -> str:
        """Read the action; report one that the kind of agent does not have."""
        action = section.text("action", default)
        spec = self._agents.get(agent)
        if self._actions is not None and spec is not None and action:
            fault = self._actions.action_problem(spec, action)
            if fault:
                self._problems.add(section.place_of("action"), f"{section.path}.action", fault)
            else:
                self._check_parameter_names(section, self._actions.parameters(spec, action))
        return action

    def _check_parameter_names(self, section: Section, schema: JSONObject | None) -> None:
        """Warn about parameters that the action does not take."""
        node = section.node.get("parameters")
        if schema is None or schema.get("additionalProperties") is not False:
            return
        if node is None or not isinstance(node.value, dict):
            return
        properties = schema.get("properties")
        known = list(properties) if isinstance(properties, dict) else []
        for name, item in node.value.items():
            if name not in known:
                what = f"is not a parameter of this action.{did_you_mean(name, known)}"
                self._problems.warn(item.place, f"{section.path}.parameters.{name[:60]}", what)

    def read_effect(self, section: Section, agent: str, default: str = "") -> Effect:
        """The effect as written, else that of the action if its agent kind knows it, else any."""
        spec = self._agents.get(agent)
        known_effect = None
        if self._actions is not None and spec is not None and not section.has_valid("effect"):
            known_effect = self._actions.effect_of(spec, section.text("action", default))
        return known_effect or Effect(section.text("effect", Effect.ANY))

    def build_reconcile(
        self,
        section: Section,
        task: str,
        agent: str,
        expressions: ExpressionChecker,
        names: frozenset[str],
    ) -> ReconcileSpec | None:
        """Build the reconcile call of a section; None if it has none."""
        reconcile = section.subsection("reconcile")
        if reconcile is None:
            return None
        reconciler = self.agent_of(reconcile, task, agent)
        if section.text("effect", Effect.ANY) != Effect.ONCE:
            self._problems.warn(reconcile.node.place, reconcile.path, _NEVER_RECONCILED)
        return ReconcileSpec(
            agent=reconciler,
            action=self.read_action(reconcile, reconciler),
            parameters=self._parameters.read(reconcile, task, expressions, names),
            timeout=reconcile.seconds("timeout", None),
        )

    def read_schema(self, section: Section, key: str) -> JSONObject | None:
        """Read a JSON Schema; report one that is invalid."""
        if not section.has_valid(key):
            return None
        schema = section.plain_map(key)
        fault = check_schema(schema)
        if fault:
            self._problems.add(section.place_of(key), f"{section.path}.{key}", fault)
        return schema
