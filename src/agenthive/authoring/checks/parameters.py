"""The parameters of calls and the inputs of sub-workflows: expressions and secrets in them.

Moves secrets that are written out in authentication headers, or passed to a secret input of a
sub-workflow, to the secret store: no spec contains one.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from agenthive.authoring.checks import secret_references
from agenthive.authoring.checks.agents import WRITE_A_REFERENCE
from agenthive.authoring.checks.expressions import ExpressionChecker
from agenthive.authoring.checks.secret_references import KeepSecret, Reference
from agenthive.authoring.checks.sections import Section
from agenthive.authoring.dialect.dialect import value_fits
from agenthive.authoring.readers.nodes import SourceNode, describe_kind
from agenthive.authoring.readers.problems import Problems
from agenthive.authoring.readers.texts import walk_texts
from agenthive.core.model.workflow import InputSpec, WorkflowSpec
from agenthive.core.values import JSONObject, JSONValue

_NOT_RESOLVED = (
    "is sent unchanged: references are resolved only in the texts of agents and in authentication"
    " headers"
)


class ParameterChecker:
    """Reads and checks parameters. ``references`` collects the secret references in them."""

    def __init__(self, title: str, problems: Problems, keep_secret: KeepSecret | None) -> None:
        self._title = title
        self._problems = problems
        self._keep_secret = keep_secret
        self.references: list[Reference] = []

    def read(
        self,
        section: Section,
        task: str,
        expressions: ExpressionChecker,
        roots: frozenset[str],
        *,
        in_compensation: bool = False,
        secrets: Collection[str] = (),
    ) -> JSONObject:
        """Read the parameters of ``section``; those named in ``secrets`` may be references."""
        node = section.node.get("parameters")
        if node is None or not section.has_valid("parameters"):
            return {}
        base_path = f"{section.path}.parameters"
        expressions.check_template(node, base_path, roots, in_compensation=in_compensation)
        for text_path, text_node, text in walk_texts(node, base_path):
            if "${" in text and text_path.removeprefix(f"{base_path}.") not in secrets:
                self._warn_stray_reference(text_path, text_node, text, base_path)
        parameters = section.plain_map("parameters")
        self._check_headers(parameters, node, task, base_path)
        return parameters

    def _warn_stray_reference(self, path: str, node: SourceNode, text: str, base_path: str) -> None:
        references, _, _ = secret_references.parse_text(text)
        header = path.removeprefix(f"{base_path}.headers.").lower()
        if references and header not in secret_references.SECRET_HEADERS:
            message = f"${{{references[0].kind}:...}} {_NOT_RESOLVED}"
            self._problems.warn(node.place, path, message)

    def _check_headers(
        self, parameters: JSONObject, node: SourceNode, task: str, base_path: str
    ) -> None:
        secret_names = secret_references.find_secret_headers(parameters)
        headers, headers_node = parameters.get("headers"), node.get("headers")
        if not secret_names or not isinstance(headers, dict) or headers_node is None:
            return
        for name in secret_names:
            header_node = headers_node.get(name) or headers_node
            if isinstance(headers[name], str):
                path, label = f"{base_path}.headers.{name}", (task, name)
                headers[name] = self._check_secret(headers[name], header_node, path, label)
            else:
                self._problems.add(header_node.place, f"{base_path}.headers.{name}", "must be text")

    def _check_secret(
        self, value: JSONValue, node: SourceNode, path: str, label: tuple[str, ...]
    ) -> JSONValue:
        """Check a text with a secret; replace a secret that is written out by a reference."""
        assert isinstance(value, str)
        references, _, fault = secret_references.parse_text(value)
        place = self._problems.format_line(node.place, path, "")[:-2]
        self.references.extend(
            msgspec.structs.replace(reference, place=place) for reference in references
        )
        if fault:
            self._problems.add(node.place, path, fault)
        elif secret_references.is_literal(value):
            return self._store_secret(
                value, node, path, secret_references.label_of(self._title, *label)
            )
        return value

    def _store_secret(self, value: str, node: SourceNode, path: str, label: str) -> str:
        if self._keep_secret is None:
            self._problems.add(node.place, path, WRITE_A_REFERENCE)
            return ""
        reference = self._keep_secret(label, value)
        self._problems.warn(
            node.place, path, secret_references.moved_secret_warning(self._keep_secret, reference)
        )
        return reference

    def check_child_inputs(
        self, section: Section, task: str, parameters: JSONObject, child: WorkflowSpec
    ) -> None:
        """Check constant parameters against the declared inputs of a sub-workflow."""
        base_path = f"{section.path}.parameters"
        for name, value in parameters.items() if child.inputs else ():
            node = (section.node.get("parameters") or section.node).get(name) or section.node
            declared = child.inputs.get(name)
            if declared is None:
                message = f"the workflow {child.name!r} declares no input {name[:128]!r}."
                message += self._problems.suggest_name(name, child.inputs)
                self._problems.add(node.place, base_path, message)
            elif not _is_unresolved(value):
                path = f"{base_path}.{name}"
                parameters[name] = self._check_input(
                    value, declared, node, path, (task, "inputs", name)
                )
        for name, declared in child.inputs.items():
            if declared.required and name not in parameters:
                message = f"the workflow {child.name!r} requires the input {name!r}; add it here"
                self._problems.add(section.place_of("parameters"), base_path, message)

    def _check_input(
        self,
        value: JSONValue,
        declared: InputSpec,
        node: SourceNode,
        path: str,
        label: tuple[str, ...],
    ) -> JSONValue:
        if value is None and declared.default is None and not declared.required:
            return None
        if not value_fits(declared.type, value):
            message = f"must be of type {declared.type}, not {describe_kind(value)}"
            self._problems.add(node.place, path, message)
        elif declared.type == "secret":
            return self._check_secret(value, node, path, label)
        return value


def _is_unresolved(value: JSONValue) -> bool:
    """Whether a value is an expression, evaluated only during the run."""
    return isinstance(value, str) and "{{" in value
