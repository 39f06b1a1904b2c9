"""The entries of ``agents``: from sections to `AgentSpec`.

Checks the references and expressions in the texts of an agent, and moves secrets that are written
out under ``authentication`` to the secret store: no `AgentSpec` contains one.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from agenthive.authoring.agent_actions import ActionCatalog
from agenthive.authoring.checks import secret_references
from agenthive.authoring.checks.policies import (
    build_breaker_policy,
    build_rate_limit,
    build_retry_policy,
)
from agenthive.authoring.checks.secret_references import KeepSecret, Reference
from agenthive.authoring.checks.sections import Section
from agenthive.authoring.dialect.dialect import AUTH_NEEDS, AUTHENTICATION
from agenthive.authoring.readers.nodes import Place, SourceNode
from agenthive.authoring.readers.problems import Problems
from agenthive.authoring.readers.texts import walk_texts
from agenthive.core.expressions.template import Template
from agenthive.core.model.workflow import AgentSpec
from agenthive.core.values import JSONObject
from agenthive.errors import ExpressionError

WRITE_A_REFERENCE = "contains a secret; replace it by ${env:NAME}, ${file:PATH} or ${secret:NAME}"


def check_inputs_declared(
    names: Collection[str],
    declared: Collection[str] | None,
    place: Place,
    path: str,
    problems: Problems,
) -> None:
    """Report inputs that are read but not declared; without declarations all are allowed."""
    for name in sorted(names):
        if declared is not None and name not in declared:
            message = f"the expression reads undeclared input {name[:128]!r}."
            problems.add(place, path, message + problems.suggest_name(name, declared))


class AgentBuilder:
    """Builds the agents of one workflow. ``references`` collects their secret references."""

    def __init__(
        self,
        title: str,
        problems: Problems,
        keep_secret: KeepSecret | None,
        native: bool,
        inputs: Collection[str] | None,
        actions: ActionCatalog | None = None,
    ) -> None:
        self._actions = actions
        self._title = title
        self._problems = problems
        self._keep_secret = keep_secret
        self._native = native
        self._inputs = inputs
        self.references: list[Reference] = []

    def build(self, sections: list[Section]) -> dict[str, AgentSpec]:
        """Build the agents, by name. Of two with the same name, the second is a problem."""
        agents: dict[str, AgentSpec] = {}
        for section in sections:
            agent = self._build_agent(section)
            if agent.name in agents and agent.name:
                message = f"there is already an agent named {agent.name!r}; names must be unique"
                self._problems.add(section.place_of("name"), section.path, message)
            agents.setdefault(agent.name, agent)
        return agents

    def _build_agent(self, section: Section) -> AgentSpec:
        kind = section.text("type")
        if kind and self._actions is not None and (problem := self._actions.kind_problem(kind)):
            self._problems.add(section.place_of("type"), f"{section.path}.type", problem)
        for key in ("endpoint", "custom_params", "authentication"):
            node = section.node.get(key)
            if node is not None:
                self._check_texts(node, f"{section.path}.{key}")
        return AgentSpec(
            name=section.text("name"),
            type=kind,
            endpoint=section.text("endpoint"),
            timeout=section.seconds("timeout", self._default_timeout(kind)),
            authentication=self._build_authentication(section),
            retry=build_retry_policy(section.subsection("retry_config")),
            circuit_breaker=build_breaker_policy(section.subsection("circuit_breaker")),
            rate_limit=build_rate_limit(section.subsection("rate_limit")),
            max_concurrency=section.integer("max_concurrency", 0) or None,
            custom_params=section.plain_map("custom_params"),
            max_cost=section.nano_usd("max_cost", round_up=True),
            cost_limit=section.nano_usd("cost_limit"),
        )

    def _default_timeout(self, kind: str) -> float:
        return 120.0 if self._native and kind == "ai_agent" else 30.0

    def _check_texts(self, node: SourceNode, path: str) -> None:
        for text_path, text_node, text in walk_texts(node, path):
            if "${" in text:
                self._collect_references(text_path, text_node, text)
            if "{{" in text:
                self._check_expression(text_path, text_node, text)

    def _collect_references(self, path: str, node: SourceNode, text: str) -> None:
        references, _, fault = secret_references.parse_text(text)
        if fault:
            self._problems.add(node.place, path, fault)
        place = self._problems.format_line(node.place, path, "")[:-2]
        self.references.extend(
            msgspec.structs.replace(reference, place=place) for reference in references
        )

    def _check_expression(self, path: str, node: SourceNode, text: str) -> None:
        try:
            template = Template.compile(text, {"inputs"})
        except ExpressionError as fault:
            self._problems.add(node.place, path, fault.message)
            return
        names = template.input_names
        check_inputs_declared(names, self._inputs, node.place, path, self._problems)

    def _build_authentication(self, agent: Section) -> JSONObject | None:
        section = agent.subsection("authentication")
        if section is None:
            return None
        kind = section.text("type")
        for key in AUTH_NEEDS.get(kind, ()):
            if section.node.get(key) is None:
                message = f"authentication of type {kind} needs the key {key!r}"
                self._problems.add(section.node.place, section.path, message)
        values: JSONObject = {"header": "X-API-Key"} if kind == "api_key" else {}
        for field in AUTHENTICATION.fields:
            if section.has_valid(field.key):
                text = section.text(field.key)
                if field.secret:
                    text = self._store_secret(agent, section, field.key, text)
                values[field.key] = text
        return values

    def _store_secret(self, agent: Section, section: Section, key: str, text: str) -> str:
        if not secret_references.is_literal(text):
            return text
        path, place = f"{section.path}.{key}", section.place_of(key)
        if self._keep_secret is None:
            if not secret_references.parse_text(text)[2]:
                self._problems.add(place, path, WRITE_A_REFERENCE)
            return ""
        label = secret_references.label_of(self._title, "agents", agent.text("name"), key)
        reference = self._keep_secret(label, text)
        self._problems.warn(
            place, path, secret_references.moved_secret_warning(self._keep_secret, reference)
        )
        return reference
