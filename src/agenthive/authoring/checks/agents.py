"""The entries of ``agents``: from sections to `AgentSpec`.

Checks references and expressions in an agent's texts, and takes written-out secrets out of
``authentication``: nothing that leaves here may hold one.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from agenthive.authoring.checks import secret_references
from agenthive.authoring.checks.policies import breaker_policy, rate_limit, retry_policy
from agenthive.authoring.checks.secret_references import KeepSecret, Reference
from agenthive.authoring.checks.sections import Section
from agenthive.authoring.dialect.dialect import AUTH_NEEDS, AUTHENTICATION
from agenthive.authoring.readers.nodes import Node, Place
from agenthive.authoring.readers.problems import Problems
from agenthive.authoring.readers.texts import texts
from agenthive.core.expressions.template import Template
from agenthive.core.model.workflow import AgentSpec
from agenthive.core.values import JSONObject
from agenthive.errors import ExpressionError

WRITE_A_REFERENCE = (
    "a secret must not be written out here; write ${env:NAME}, ${file:PATH} or ${secret:NAME}"
)


def check_inputs_read(
    names: Collection[str], declared: Collection[str] | None, place: Place, path: str,
    problems: Problems,
) -> None:  # fmt: skip
    """Note inputs that are read but not declared; without declarations anything goes."""
    for name in sorted(names):
        if declared is not None and name not in declared:
            what = f"the expression reads undeclared input {name[:128]!r}."
            problems.add(place, path, what + problems.suggest(name, declared))


class AgentBuilder:
    """Builds the agents of one workflow. ``references`` are those found, with their places."""

    def __init__(
        self,
        title: str,
        problems: Problems,
        keep_secret: KeepSecret | None,
        native: bool,
        inputs: Collection[str] | None,
    ) -> None:
        self._title = title
        self._problems = problems
        self._keep_secret = keep_secret
        self._native = native
        self._inputs = inputs
        self.references: list[Reference] = []

    def build(self, sections: list[Section]) -> dict[str, AgentSpec]:
        """The agents by name. The first of two with one name is kept, the second a problem."""
        agents: dict[str, AgentSpec] = {}
        for section in sections:
            agent = self._agent(section)
            if agent.name in agents and agent.name:
                what = f"there is already an agent named {agent.name!r}; names must be unique"
                self._problems.add(section.at("name"), section.path, what)
            agents.setdefault(agent.name, agent)
        return agents

    def _agent(self, section: Section) -> AgentSpec:
        kind = section.text("type")
        for key in ("endpoint", "custom_params", "authentication"):
            node = section.node.get(key)
            if node is not None:
                self._texts(node, f"{section.path}.{key}")
        return AgentSpec(
            name=section.text("name"),
            type=kind,
            endpoint=section.text("endpoint"),
            timeout=section.seconds("timeout", self._timeout(kind)),
            authentication=self._authentication(section),
            retry=retry_policy(section.section("retry_config")),
            circuit_breaker=breaker_policy(section.section("circuit_breaker")),
            rate_limit=rate_limit(section.section("rate_limit")),
            max_concurrency=section.whole("max_concurrency", 0) or None,
            custom_params=section.map("custom_params"),
            max_cost=section.dollars("max_cost", up=True),
            cost_limit=section.dollars("cost_limit"),
        )

    def _timeout(self, kind: str) -> float:
        return 120.0 if self._native and kind == "ai_agent" else 30.0

    def _texts(self, node: Node, path: str) -> None:
        for inner, at, text in texts(node, path):
            if "${" in text:
                self._reference(inner, at, text)
            if "{{" in text:
                self._expression(inner, at, text)

    def _reference(self, path: str, node: Node, text: str) -> None:
        found, _, fault = secret_references.split(text)
        if fault:
            self._problems.add(node.place, path, fault)
        place = self._problems.at(node.place, path, "")[:-2]
        self.references.extend(msgspec.structs.replace(one, place=place) for one in found)

    def _expression(self, path: str, node: Node, text: str) -> None:
        try:
            template = Template.compile(text, {"inputs"})
        except ExpressionError as fault:
            self._problems.add(node.place, path, fault.message)
            return
        names = template.input_names
        check_inputs_read(names, self._inputs, node.place, path, self._problems)

    def _authentication(self, agent: Section) -> JSONObject | None:
        section = agent.section("authentication")
        if section is None:
            return None
        kind = section.text("type")
        for key in AUTH_NEEDS.get(kind, ()):
            if section.node.get(key) is None:
                what = f"authentication of type {kind} needs the key {key!r}"
                self._problems.add(section.node.place, section.path, what)
        found: JSONObject = {"header": "X-API-Key"} if kind == "api_key" else {}
        for field in AUTHENTICATION.fields:
            if section.has(field.key):
                text = section.text(field.key)
                if field.secret:
                    text = self._kept(agent, section, field.key, text)
                found[field.key] = text
        return found

    def _kept(self, agent: Section, section: Section, key: str, text: str) -> str:
        if not secret_references.is_literal(text):
            return text
        path, place = f"{section.path}.{key}", section.at(key)
        if self._keep_secret is None:
            if not secret_references.split(text)[2]:
                self._problems.add(place, path, WRITE_A_REFERENCE)
            return ""
        label = secret_references.label_of(self._title, "agents", agent.text("name"), key)
        reference = self._keep_secret(label, text)
        self._problems.warn(place, path, secret_references.moved(self._keep_secret, reference))
        return reference
