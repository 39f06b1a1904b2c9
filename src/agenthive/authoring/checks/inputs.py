"""Inputs: the declarations of a workflow, and the values of a run.

A declaration is a section or a plain default value. The values of a run are checked against the
declarations; a secret is passed as a reference. A workflow without declarations accepts any input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeAlias

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

_SECRET = "contains a secret; pass a reference instead, such as ${env:NAME} or ${file:PATH}"

KeepDefault: TypeAlias = Callable[[str, str], tuple[str, str] | None]
"""(name of an input, secret) -> its reference and a warning; None: secrets are refused."""

INPUTS_HINT: Final = (
    "Give inputs with --input NAME=VALUE or --inputs FILE; in Python, as the second argument."
)


def build_inputs(
    node: SourceNode,
    checker: SectionChecker,
    problems: Problems,
    keep_default: KeepDefault,
) -> dict[str, InputSpec]:
    """Build the declarations under ``inputs``.

    ``keep_default`` stores a secret default, or returns None to refuse it.
    """
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
    keep_default: KeepDefault,
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
            default_node.place,
            path,
            "an input cannot have both required and default; remove one of them",
        )
    if default_node is not None and default is not None and not value_fits(type_name, default):
        problems.add(default_node.place, f"{path}.default", _describe_misfit(type_name, default))
    elif (
        type_name == "secret" and isinstance(default, str) and secret_references.is_literal(default)
    ):
        stored = keep_default(name, default)
        place = default_node.place if default_node else node.place
        default = None
        if stored is None:
            problems.add(place, f"{path}.default", _SECRET)
        else:
            default, warning = stored
            problems.warn(place, f"{path}.default", warning)
    return InputSpec(
        type=type_name, description=section.text("description"), required=required, default=default
    )


def _describe_misfit(type_name: str, value: JSONValue) -> str:
    return f"must be of type {type_name}, not {describe_kind(value)}"


def _infer_type(value: JSONValue) -> str:
    """The type that a plain default declares; a whole number declares a number of any kind."""
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
    """Check ``values`` against the declarations of a workflow and add the defaults.

    A secret that is not a reference is passed to ``keep_secret``, or refused if that is None.
    Raises ConfigurationError with every problem.
    """
    problems = Problems("inputs", hint=INPUTS_HINT)
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
                NOWHERE, "", f"the input {name!r}{description} is required; pass {name}=VALUE"
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
    """Read inputs from a map in a YAML or JSON file. Raises ConfigurationError with the place."""
    problems = Problems(str(path))
    node = read_file(path, limits, problems)
    if not isinstance(node.value, dict):
        problems.abort(
            node.place, "", f"must be a map of names to values, not {describe_kind(node.value)}"
        )
    return {name: item.to_plain() for name, item in node.value.items()}


def inputs_from_texts(spec: WorkflowSpec, texts: Mapping[str, str]) -> JSONObject:
    """Convert inputs from the texts of a command line to their declared types.

    A text stays a text for inputs of type string, secret or any and for undeclared ones; for the
    other types it is parsed as JSON. Raises ConfigurationError.
    """
    problems = Problems("inputs", hint=INPUTS_HINT)
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
            problems.add(NOWHERE, name, f"must be of type {declared.type}; write the value as JSON")
        else:
            inputs[name] = node.to_plain()
    problems.raise_if_any()
    return inputs
