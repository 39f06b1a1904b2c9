"""Inputs: what a workflow declares, and what it is given.

A declaration is a section or a plain default. Given inputs are checked against them; secrets are
given as references. Without any declaration every input is accepted as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from agenthive.authoring.checks import secret_references
from agenthive.authoring.checks.secret_references import KeepSecret
from agenthive.authoring.checks.sections import Checker
from agenthive.authoring.dialect.dialect import INPUT, value_fits
from agenthive.authoring.dialect.names import name_fault
from agenthive.authoring.readers.json import read_json
from agenthive.authoring.readers.nodes import NOWHERE, Node, kind
from agenthive.authoring.readers.problems import Problems
from agenthive.authoring.readers.size_limits import OPERATOR, Limits
from agenthive.authoring.readers.sources import NO_TEXT, from_python, read_file
from agenthive.core.model.workflow import InputSpec, WorkflowSpec
from agenthive.core.values import JSONObject, JSONValue
from agenthive.infra.text_validation import is_text

_SECRET = "a secret input is given as a reference, ${env:NAME} or ${file:PATH}, not as the secret"


def build_inputs(
    node: Node,
    checker: Checker,
    problems: Problems,
    keep: Callable[[str, str], str | None],
) -> dict[str, InputSpec]:
    """The declarations under ``inputs``."""
    found: dict[str, InputSpec] = {}
    assert isinstance(node.value, dict)
    for name, item in node.value.items():
        path = f"inputs.{name}"
        if fault := name_fault(name):
            problems.add(node.keys.get(name, node.place), path[:200], fault)
        if isinstance(item.value, dict):
            found[name] = _declared(name, item, checker, problems, keep)
        else:
            found[name] = InputSpec(type=_type_of(item.plain()), default=item.plain())
    return found


def _declared(
    name: str,
    node: Node,
    checker: Checker,
    problems: Problems,
    keep: Callable[[str, str], str | None],
) -> InputSpec:
    path = f"inputs.{name}"
    section = checker.section(node, INPUT, path)
    assert section is not None
    wanted = section.text("type", "any")
    given = node.get("default")
    default = given.plain() if given else None
    required = section.flag("required", False)
    if given is not None and required:
        problems.add(given.place, path, "an input that is required has no default; remove one")
    if given is not None and default is not None and not value_fits(wanted, default):
        problems.add(given.place, f"{path}.default", _misfit(wanted, default))
    elif wanted == "secret" and isinstance(default, str) and secret_references.is_literal(default):
        kept = keep(name, default)
        place = given.place if given else node.place
        if kept is None:
            problems.add(place, f"{path}.default", _SECRET)
        else:
            problems.warn(place, f"{path}.default", f"{_SECRET}. It was moved; write {kept}")
        default = kept
    return InputSpec(
        type=wanted, description=section.text("description"), required=required, default=default
    )


def _misfit(wanted: str, value: JSONValue) -> str:
    return f"must be of type {wanted}, not {kind(value)}"


def _type_of(value: JSONValue) -> str:
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
    spec: WorkflowSpec, given: Mapping[str, object], *, keep_secret: KeepSecret | None = None
) -> JSONObject:
    """What a run is started with: ``given`` with the defaults, every type checked.

    A secret that is not given as a reference goes to ``keep_secret``, or is refused without it.
    Raises ConfigurationError with all that is wrong.
    """
    problems = Problems("inputs")
    plain: JSONObject = {}
    for name, item in given.items():
        if not is_text(name):
            problems.stop(NOWHERE, "", f"the name {name!r} {NO_TEXT}")
        plain[name] = from_python(item, problems, name).plain()
    if not spec.inputs:
        return plain
    for name in plain:
        if name not in spec.inputs:
            what = f"the workflow declares no input {name[:128]!r}."
            problems.add(NOWHERE, "", what + problems.suggest(name, spec.inputs))
    found: JSONObject = {}
    for name, declared in spec.inputs.items():
        if name in plain:
            found[name] = _given(spec, name, declared, plain[name], problems, keep_secret)
        elif declared.required:
            about = f" ({declared.description})" if declared.description else ""
            problems.add(NOWHERE, "", f"the input {name!r}{about} is required; give {name}=VALUE")
        else:
            found[name] = declared.default
    problems.check()
    return found


def _given(
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
        problems.add(NOWHERE, name, _misfit(declared.type, value))
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


def inputs_from_file(path: Path, limits: Limits = OPERATOR) -> JSONObject:
    """Inputs written as a map in a YAML or JSON file. Raises ConfigurationError with the place."""
    problems = Problems(str(path))
    node = read_file(path, limits, problems)
    if not isinstance(node.value, dict):
        problems.stop(node.place, "", f"inputs are a map of names to values, not {kind(node)}")
    return {name: item.plain() for name, item in node.value.items()}


def inputs_from_texts(spec: WorkflowSpec, texts: Mapping[str, str]) -> JSONObject:
    """Inputs written as ``key=value`` on a command line, as values of their declared types.

    Text stays text for inputs that are strings, secrets, of any type or not declared; for the
    others it is read as JSON. Raises ConfigurationError.
    """
    problems = Problems("inputs")
    found: JSONObject = {}
    for name, text in texts.items():
        declared = spec.inputs.get(name)
        if declared is None or declared.type in ("any", "string", "secret"):
            found[name] = text
            continue
        inner = Problems(f"inputs: {name}")
        try:
            node = read_json(text, inner)
        except Exception:
            node = None
        if node is None:
            problems.add(NOWHERE, name, f"is not a value of type {declared.type}; write it as JSON")
        else:
            found[name] = node.plain()
    problems.check()
    return found
