"""What an agent or a workflow is given: parameters, their expressions, and the secrets in them.

Takes written-out secrets out of headers that prove who calls, and out of what is given to a secret
input of a workflow: nothing that leaves here may hold one.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from agenthive.authoring.checks import secret_references
from agenthive.authoring.checks.agents import WRITE_A_REFERENCE
from agenthive.authoring.checks.expressions import Expressions
from agenthive.authoring.checks.secret_references import KeepSecret, Reference
from agenthive.authoring.checks.sections import Section
from agenthive.authoring.dialect.dialect import value_fits
from agenthive.authoring.readers.nodes import Node, kind
from agenthive.authoring.readers.problems import Problems
from agenthive.authoring.readers.texts import texts
from agenthive.core.model.workflow import InputSpec, WorkflowSpec
from agenthive.core.values import JSONObject, JSONValue

_NOWHERE_ELSE = (
    "is sent as it stands: references are filled in for agents and for headers that prove who"
    " calls, nowhere else"
)


class Parameters:
    """Reads the parameters of a workflow's tasks. ``references`` are those found on the way."""

    def __init__(self, title: str, problems: Problems, keep_secret: KeepSecret | None) -> None:
        self._title = title
        self._problems = problems
        self._keep_secret = keep_secret
        self.references: list[Reference] = []

    def read(
        self,
        section: Section,
        task: str,
        expressions: Expressions,
        roots: frozenset[str],
        *,
        undo: bool = False,
        secrets: Collection[str] = (),
    ) -> JSONObject:
        """The parameters in ``section``; ``secrets`` are those of them that may be references."""
        node = section.node.get("parameters")
        if node is None or not section.has("parameters"):
            return {}
        base = f"{section.path}.parameters"
        expressions.template(node, base, roots, undo=undo)
        for path, at, text in texts(node, base):
            if "${" in text and path.removeprefix(f"{base}.") not in secrets:
                self._stray_reference(path, at, text, base)
        parameters = section.map("parameters")
        self._headers(parameters, node, task, base)
        return parameters

    def _stray_reference(self, path: str, node: Node, text: str, base: str) -> None:
        found, _, _ = secret_references.split(text)
        header = path.removeprefix(f"{base}.headers.").lower()
        if found and header not in secret_references.SECRET_HEADERS:
            what = f"${{{found[0].kind}:...}} {_NOWHERE_ELSE}"
            self._problems.warn(node.place, path, what)

    def _headers(self, parameters: JSONObject, node: Node, task: str, base: str) -> None:
        names = secret_references.secret_headers(parameters)
        headers, places = parameters.get("headers"), node.get("headers")
        if not names or not isinstance(headers, dict) or places is None:
            return
        for name in names:
            at = places.get(name) or places
            if isinstance(headers[name], str):
                path, label = f"{base}.headers.{name}", (task, name)
                headers[name] = self._secret(headers[name], at, path, label)
            else:
                self._problems.add(at.place, f"{base}.headers.{name}", "a header must be text")

    def _secret(self, value: JSONValue, node: Node, path: str, label: tuple[str, ...]) -> JSONValue:
        """A text that proves who calls, with a secret that is written out replaced."""
        assert isinstance(value, str)
        found, _, fault = secret_references.split(value)
        place = self._problems.at(node.place, path, "")[:-2]
        self.references.extend(msgspec.structs.replace(one, place=place) for one in found)
        if fault:
            self._problems.add(node.place, path, fault)
        elif secret_references.is_literal(value):
            return self._kept(value, node, path, secret_references.label_of(self._title, *label))
        return value

    def _kept(self, value: str, node: Node, path: str, label: str) -> str:
        if self._keep_secret is None:
            self._problems.add(node.place, path, WRITE_A_REFERENCE)
            return ""
        reference = self._keep_secret(label, value)
        self._problems.warn(node.place, path, secret_references.moved(self._keep_secret, reference))
        return reference

    def check_child(
        self, section: Section, task: str, parameters: JSONObject, child: WorkflowSpec
    ) -> None:
        """Note what does not fit the inputs a workflow declares, as far as it is known already."""
        base = f"{section.path}.parameters"
        for name, value in parameters.items() if child.inputs else ():
            node = (section.node.get("parameters") or section.node).get(name) or section.node
            declared = child.inputs.get(name)
            if declared is None:
                what = f"the workflow {child.name!r} declares no input {name[:128]!r}."
                what += self._problems.suggest(name, child.inputs)
                self._problems.add(node.place, base, what)
            elif not _open(value):
                path = f"{base}.{name}"
                parameters[name] = self._given(value, declared, node, path, (task, "inputs", name))
        for name, declared in child.inputs.items():
            if declared.required and name not in parameters:
                what = f"the workflow {child.name!r} needs the input {name!r}; give it here"
                self._problems.add(section.at("parameters"), base, what)

    def _given(
        self, value: JSONValue, declared: InputSpec, node: Node, path: str, label: tuple[str, ...]
    ) -> JSONValue:
        if value is None and declared.default is None and not declared.required:
            return None
        if not value_fits(declared.type, value):
            what = f"must be of type {declared.type}, not {kind(value)}"
            self._problems.add(node.place, path, what)
        elif declared.type == "secret":
            return self._secret(value, node, path, label)
        return value


def _open(value: JSONValue) -> bool:
    """Whether a value is known only when the run gets there."""
    return isinstance(value, str) and "{{" in value
