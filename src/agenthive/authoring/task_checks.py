"""The entries of ``tasks``: from sections to `TaskSpec`, and to the drafts the graph is checked by.

Compiles every expression once, so that its faults are told with their place; takes written-out
secrets out of headers that prove who calls.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from agenthive.authoring import references
from agenthive.authoring.actions import Actions
from agenthive.authoring.agent_checks import WRITE_A_REFERENCE, check_inputs_read
from agenthive.authoring.graph_checks import Draft, Mention
from agenthive.authoring.nodes import Node
from agenthive.authoring.policies import retry_policy
from agenthive.authoring.problems import Problems
from agenthive.authoring.references import KeepSecret, Reference
from agenthive.authoring.sections import Section
from agenthive.authoring.texts import texts
from agenthive.core.expressions import Template
from agenthive.core.spec import AgentSpec, CompensationSpec, Effect, TaskSpec
from agenthive.core.values import JSONObject, JSONValue
from agenthive.errors import ExpressionError


class TaskBuilder:
    """Builds the tasks of one workflow. ``drafts`` and ``references`` fill up on the way."""

    def __init__(
        self,
        title: str,
        problems: Problems,
        keep_secret: KeepSecret | None,
        agents: Mapping[str, AgentSpec],
        inputs: Collection[str] | None,
        actions: Actions | None,
    ) -> None:
        self._title = title
        self._problems = problems
        self._keep_secret = keep_secret
        self._agents = agents
        self._inputs = inputs
        self._actions = actions
        self.drafts: list[Draft] = []
        self.references: list[Reference] = []

    def build(self, sections: list[Section]) -> list[TaskSpec]:
        """The tasks in the order they are written."""
        return [self._task(section) for section in sections]

    def _task(self, section: Section) -> TaskSpec:
        name = section.text("name")
        agent = self._agent_of(section, name)
        reads: list[Mention] = []
        parameters = self._parameters(section, name, reads, undo=False)
        compensate = self._compensation(section, name, agent, reads)
        if name:
            self._draft(section, name, reads)
        return TaskSpec(
            name=name,
            agent=agent,
            action=self._action(section, agent),
            description=section.text("description"),
            parameters=parameters,
            depends_on=tuple(dict.fromkeys(section.names("depends_on"))),
            timeout=section.seconds("timeout", None),
            continue_on_failure=section.flag("continue_on_failure", False),
            retry=retry_policy(section.section("retry_config")),
            effect=self._effect(section, agent),
            priority=section.whole("priority", 5),
            estimated_duration=section.seconds("estimated_duration", None),
            compensate=compensate,
        )

    def _compensation(
        self, section: Section, name: str, agent: str, reads: list[Mention]
    ) -> CompensationSpec | None:
        undo = section.section("compensate")
        if undo is None:
            return None
        who = self._agent_of(undo, name, agent)
        return CompensationSpec(
            agent=who,
            action=self._action(undo, who),
            parameters=self._parameters(undo, name, reads, undo=True),
            timeout=undo.seconds("timeout", None),
            retry=retry_policy(undo.section("retry_config")),
            effect=Effect(undo.text("effect", Effect.ANY)),
        )

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

    def _agent_of(self, section: Section, task: str, default: str = "") -> str:
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

    def _action(self, section: Section, agent: str) -> str:
        action = section.text("action")
        spec = self._agents.get(agent)
        if self._actions is not None and spec is not None and action:
            fault = self._actions.action_problem(spec, action)
            if fault:
                self._problems.add(section.at("action"), f"{section.path}.action", fault)
        return action

    def _effect(self, section: Section, agent: str) -> Effect:
        """As the author says; else what is known of the action; else any."""
        spec = self._agents.get(agent)
        known = None
        if self._actions is not None and spec is not None and not section.has("effect"):
            known = self._actions.effect_of(spec, section.text("action"))
        return known or Effect(section.text("effect", Effect.ANY))

    def _parameters(
        self, section: Section, task: str, reads: list[Mention], *, undo: bool
    ) -> JSONObject:
        node = section.node.get("parameters")
        if node is None or not section.has("parameters"):
            return {}
        base = f"{section.path}.parameters"
        for path, at, text in texts(node, base):
            if "{{" in text:
                self._expression(path, at, text, reads, undo)
            if "${" in text:
                self._stray_reference(path, at, text, base)
        parameters = section.map("parameters")
        self._headers(parameters, node, task, base)
        return parameters

    def _expression(
        self, path: str, node: Node, text: str, reads: list[Mention], undo: bool
    ) -> None:
        try:
            template = Template.compile(text)
        except ExpressionError as fault:
            self._problems.add(node.place, path, fault.message)
            return
        reads.extend(Mention(name, node.place, path, undo) for name in sorted(template.task_names))
        names = template.input_names
        check_inputs_read(names, self._inputs, node.place, path, self._problems)

    def _stray_reference(self, path: str, node: Node, text: str, base: str) -> None:
        found, _, _ = references.split(text)
        header = path.removeprefix(f"{base}.headers.").lower()
        if found and header not in references.SECRET_HEADERS:
            what = (
                f"${{{found[0].kind}:...}} is sent as it stands: references are filled in for"
                " agents and for headers that prove who calls, nowhere else"
            )
            self._problems.warn(node.place, path, what)

    def _headers(self, parameters: JSONObject, node: Node, task: str, base: str) -> None:
        names = references.secret_headers(parameters)
        headers, places = parameters.get("headers"), node.get("headers")
        if not names or not isinstance(headers, dict) or places is None:
            return
        for name in names:
            at = places.get(name) or places
            headers[name] = self._header(headers[name], at, task, name, f"{base}.headers.{name}")

    def _header(self, value: JSONValue, node: Node, task: str, name: str, path: str) -> JSONValue:
        if not isinstance(value, str):
            self._problems.add(node.place, path, "a header must be text")
            return value
        found, _, fault = references.split(value)
        place = self._problems.at(node.place, path, "")[:-2]
        self.references.extend(msgspec.structs.replace(one, place=place) for one in found)
        if fault:
            self._problems.add(node.place, path, fault)
        elif references.is_literal(value):
            return self._kept(value, node, path, references.label_of(self._title, task, name))
        return value

    def _kept(self, value: str, node: Node, path: str, label: str) -> str:
        if self._keep_secret is None:
            self._problems.add(node.place, path, WRITE_A_REFERENCE)
            return ""
        reference = self._keep_secret(label, value)
        self._problems.warn(node.place, path, references.moved(self._keep_secret, reference))
        return reference
