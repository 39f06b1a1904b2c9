"""Inputs: what a workflow declares, and what it is given.

A declaration is a section or a plain default. Given inputs are checked against them; secrets are
given as references. Without any declaration every input is accepted as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from agenthive.authoring.checks import secret_references
from agenthive.authoring.checks.secret_references import KeepSecret
from agenthive.authoring.checks.sections import SectionChecker
from agenthive.authoring.dialect.dialect import INPUT, value_fits
from agenthive.authoring.dialect.names import name_fault
from agenthive.authoring.readers.json import read_json
from agenthive.authoring.readers.nodes import NOWHERE, SourceNode, describe_kind
from agenthive.authoring.readers.problems import Problems
from agenthive.authoring.readers.size_limits import OPERATOR, SizeLimits
from agenthive.authoring.readers.sources import NO_TEXT, from_python, read_file
from agenthive.core.model.workflow import InputSpec, WorkflowSpec
from agenthive.core.values import JSONObject, JSONValue
from agenthive.infra.text_validation import is_text

_SECRET = "a secret input is given as a reference, ${env:NAME} or ${file:PATH}, not as the secret"


def build_inputs(
    node: SourceNode,
    checker: SectionChecker,
    problems: Problems,
    keep_default: Callable[[str, str], str | None],
) -> dict[str, InputSpec]:
    """The declarations under ``inputs``."""
    declarations: dict[str, InputSpec] = {}
    assert isinstance(node.value, dict)
    for name, item in node.value.items():
        path = f"inputs.{name}"
        if fault := name_fault(name):
            problems.add(node.keys.get(name, node.place), path[:200], fault)
        if isinstance(item.value, dict):
            declarations[name] = _build_declared_input(name, item, checker, problems, keep_default)
        else:
            declarations[name] = InputSpec(
                type=_infer_type(item.to_plain()), default=item.to_plain()
            )
    return declarations


def _build_declared_input(
    name: str,
    node: SourceNode,
    checker: SectionChecker,
    problems: Problems,
    keep_default: Callable[[str, str], str | None],
) -> InputSpec:
    path = f"inputs.{name}"
    section = checker.check_section(node, INPUT, path)
    assert section is not None
    type_name = section.text("type", "any")
    default_node = node.get("default")
    default = default_node.to_plain() if default_node else None
    required = section.flag("required", False)
    if default_node is not None and required:
        problems.add(
            default_node.place, path, "an input that is required has no default; remove one"
        )
    if default_node is not None and default is not None and not value_fits(type_name, default):
        problems.add(default_node.place, f"{path}.default", _describe_misfit(type_name, default))
    elif (
        type_name == "secret" and isinstance(default, str) and secret_references.is_literal(default)
    ):
        reference = keep_default(name, default)
        place = default_node.place if default_node else node.place
        if reference is None:
            problems.add(place, f"{path}.default", _SECRET)
        else:
            problems.warn(place, f"{path}.default", f"{_SECRET}. It was moved; write {reference}")
        default = reference
    return InputSpec(
        type=type_name, description=section.text("description"), required=required, default=default
    )


def _describe_misfit(type_name: str, value: JSONValue) -> str:
    return f"must be of type {type_name}, not {describe_kind(value)}"


def _infer_type(value: JSONValue) -> str:
    """The type a plain default declares; a whole number may be overridden by any number."""
    match value:
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "any"


def check_inputs(
    spec: WorkflowSpec, values: Mapping[str, object], *, keep_secret: KeepSecret | None = None
) -> JSONObject:
    """What a run is started with: ``given`` with the defaults, every type checked.

    A secret that is not given as a reference goes to ``keep_secret``, or is refused without it.
    Raises ConfigurationError with all that is wrong.
    """
    problems = Problems("inputs")
    plain_values: JSONObject = {}
    for name, item in values.items():
        if not is_text(name):
            problems.abort(NOWHERE, "", f"the name {name!r} {NO_TEXT}")
        plain_values[name] = from_python(item, problems, name).to_plain()
    if not spec.inputs:
        return plain_values
    for name in plain_values:
        if name not in spec.inputs:
            message = f"the workflow declares no input {name[:128]!r}."
            problems.add(NOWHERE, "", message + problems.suggest_name(name, spec.inputs))
    inputs: JSONObject = {}
    for name, declared in spec.inputs.items():
        if name in plain_values:
            inputs[name] = _check_value(
                spec, name, declared, plain_values[name], problems, keep_secret
            )
        elif declared.required:
            description = f" ({declared.description})" if declared.description else ""
            problems.add(
                NOWHERE, "", f"the input {name!r}{description} is required; give {name}=VALUE"
            )
        else:
            inputs[name] = declared.default
    problems.raise_if_any()
    return inputs


def _check_value(
    spec: WorkflowSpec,
    name: str,
    declared: InputSpec,
    value: JSONValue,
    problems: Problems,
    keep_secret: KeepSecret | None,
) -> JSONValue:
    if value is None and declared.default is None and not declared.required:
        return None
    if not value_fits(declared.type, value):
        problems.add(NOWHERE, name, _describe_misfit(declared.type, value))
        return None
    if (
        declared.type != "secret"
        or not isinstance(value, str)
        or not secret_references.is_literal(value)
    ):
        return value
    if keep_secret is None:
        problems.add(NOWHERE, name, _SECRET)
        return None
    return keep_secret(secret_references.label_of(spec.name, "inputs", name), value)


def inputs_from_file(path: Path, limits: SizeLimits = OPERATOR) -> JSONObject:
    """Inputs written as a map in a YAML or JSON file. Raises ConfigurationError with the place."""
    problems = Problems(str(path))
    node = read_file(path, limits, problems)
    if not isinstance(node.value, dict):
        problems.abort(
            node.place, "", f"inputs are a map of names to values, not {describe_kind(node)}"
        )
    return {name: item.to_plain() for name, item in node.value.items()}


def inputs_from_texts(spec: WorkflowSpec, texts: Mapping[str, str]) -> JSONObject:
    """Inputs written as ``key=value`` on a command line, as values of their declared types.

    Text stays text for inputs that are strings, secrets, of any type or not declared; for the
    others it is read as JSON. Raises ConfigurationError.
    """
    problems = Problems("inputs")
    inputs: JSONObject = {}
    for name, text in texts.items():
        declared = spec.inputs.get(name)
        if declared is None or declared.type in ("any", "string", "secret"):
            inputs[name] = text
            continue
        value_problems = Problems(f"inputs: {name}")
        try:
            node = read_json(text, value_problems)
        except Exception:
            node = None
        if node is None:
            problems.add(NOWHERE, name, f"is not a value of type {declared.type}; write it as JSON")
        else:
            inputs[name] = node.to_plain()
    problems.raise_if_any()
    return inputs
