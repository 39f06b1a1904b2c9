"""References to secrets: ``${env:NAME}``, ``${file:PATH}``, ``${secret:NAME}``.

A definition holds references, never secrets. Here they are found, checked for their form, and a
secret that was written out is handed to whoever keeps secrets. Values are never read or printed
here, except that `check_environment` looks whether a variable or a file is there.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from agenthive.core.model.workflow import WorkflowSpec
from agenthive.core.values import JSONValue
from agenthive.errors import ConfigurationError

KeepSecret: TypeAlias = Callable[[str, str], str]
"""(label, secret) -> reference. Stores the secret where only the operator can read it."""

KINDS: Final = ("env", "file", "secret")
SECRET_HEADERS: Final = frozenset(
    {"authorization", "proxy-authorization", "x-api-key", "api-key", "cookie", "x-auth-token"}
)
_SCHEMES: Final = frozenset({"", "bearer", "basic", "token", "apikey", "api-key"})
_NAME: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_LABEL: Final = _NAME | frozenset("-.")


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """One reference and where it stands. ``kind`` is env, file or secret."""

    kind: str
    target: str
    place: str = ""


def parse_text(text: str) -> tuple[list[Reference], str, str]:
    """The references in ``text``, the text around them, and what is wrong with one (or empty)."""
    references: list[Reference] = []
    surrounding, start = "", 0
    while (at := text.find("${", start)) >= 0:
        end = text.find("}", at)
        if end < 0:
            return references, surrounding, "'${' without its '}'"
        surrounding += text[start:at]
        kind, colon, target = text[at + 2 : end].partition(":")
        fault = _reference_fault(kind, colon, target)
        if fault:
            return references, surrounding, fault
        references.append(Reference(kind=kind, target=target))
        start = end + 1
    return references, surrounding + text[start:], ""


def _reference_fault(kind: str, colon: str, target: str) -> str:
    if not colon or kind not in KINDS:
        return "a reference is ${env:NAME}, ${file:PATH} or ${secret:NAME}"
    if not target or "\0" in target:
        return f"the reference ${{{kind}:...}} names nothing"
    allowed = {"env": _NAME, "secret": _LABEL}.get(kind)
    if allowed is not None and (not set(target) <= allowed or len(target) > 256):
        return f"the name in ${{{kind}:...}} may hold letters, digits and _ only"
    return ""


def is_literal(text: str) -> bool:
    """Whether ``text`` may hold a secret itself: it is more than references and a scheme word."""
    references, surrounding, fault = parse_text(text)
    if fault:
        return True
    if not references and "{{" in text:
        return not _has_only_expressions(text)
    return not references or surrounding.strip().lower() not in _SCHEMES


def _has_only_expressions(text: str) -> bool:
    before, _, remainder = text.partition("{{")
    _, _, after = remainder.rpartition("}}")
    return before.strip().lower() in _SCHEMES and not after.strip()


def placeholder(label: str, secret: str) -> str:
    """A `KeepSecret` that keeps nothing: for checking a file without taking its secrets in."""
    del secret
    return f"${{secret:{label}}}"


def moved_secret_warning(keep_secret: KeepSecret, reference: str) -> str:
    """The warning about a secret that was written out."""
    if keep_secret is placeholder:
        return "a secret is written out here; a run moves it to the secret store or refuses it"
    return f"a secret is written out here; it was moved to the secret store. Write {reference}"


def label_of(*parts: str) -> str:
    """A label made of names: letters, digits, ``-``, ``_`` and ``.`` only, different for each."""
    raw = ".".join(parts)
    clean = "".join(char if char in _LABEL else "_" for char in raw)[:100]
    return clean if clean == raw else f"{clean}-{hashlib.sha256(raw.encode()).hexdigest()[:8]}"


def find_references(value: JSONValue, place: str) -> Iterator[Reference]:
    """Every well-formed reference in a JSON value; ``place`` becomes the place of each."""
    if isinstance(value, str):
        if "${" in value:
            for reference in parse_text(value)[0]:
                yield msgspec.structs.replace(reference, place=place)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from find_references(item, f"{place}.{key}")
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from find_references(item, f"{place}[{i}]")


def find_secret_headers(parameters: Mapping[str, JSONValue]) -> list[str]:
    """The names under ``headers`` that prove who calls."""
    headers = parameters.get("headers")
    if not isinstance(headers, dict):
        return []
    return [name for name in headers if name.lower() in SECRET_HEADERS]


def references_of(spec: WorkflowSpec, prefix: str = "") -> tuple[Reference, ...]:
    """Every reference a workflow needs when it runs, and the workflows in it.

    Those of agents, of headers that prove who calls, and of what goes into secret inputs.
    """
    references: list[Reference] = []
    for agent in spec.agents:
        path = f"{prefix}agents.{agent.name}"
        references.extend(find_references(agent.endpoint, f"{path}.endpoint"))
        references.extend(find_references(agent.authentication, f"{path}.authentication"))
        references.extend(find_references(agent.custom_params, f"{path}.custom_params"))
    for task in spec.tasks:
        path = f"{prefix}tasks.{task.name}"
        references.extend(_parameter_references(task.parameters, path))
        for key, call in (("compensate", task.compensate), ("reconcile", task.reconcile)):
            if call is not None:
                references.extend(_parameter_references(call.parameters, f"{path}.{key}"))
        for tool in task.tools:
            references.extend(
                _parameter_references(tool.parameters or {}, f"{path}.tools.{tool.name}")
            )
        if task.workflow is not None:
            references.extend(_input_references(task.workflow, task.parameters, path))
            references.extend(references_of(task.workflow, f"{path}.workflow."))
    return tuple(references)


def _parameter_references(parameters: Mapping[str, JSONValue], path: str) -> Iterator[Reference]:
    for name in find_secret_headers(parameters):
        headers = parameters["headers"]
        assert isinstance(headers, dict)
        yield from find_references(headers[name], f"{path}.parameters.headers.{name}")


def _input_references(
    child: WorkflowSpec, parameters: Mapping[str, JSONValue], path: str
) -> Iterator[Reference]:
    for name, declared in child.inputs.items():
        if declared.type == "secret" and name in parameters:
            yield from find_references(parameters[name], f"{path}.parameters.{name}")


def check_environment(
    source: WorkflowSpec | tuple[Reference, ...], environ: Mapping[str, str] | None = None
) -> None:
    """See that every variable and file that is referred to is there.

    ``source`` is a workflow, or the references of a `Loaded` (which know lines and columns).
    Raises ConfigurationError naming what is missing, never a value.
    """
    environment = os.environ if environ is None else environ
    references = references_of(source) if isinstance(source, WorkflowSpec) else source
    lines = [
        line for reference in references if (line := _describe_missing(reference, environment))
    ]
    if lines:
        title = lines[0] if len(lines) == 1 else "\n".join([f"{len(lines)} problems:", *lines])
        hint = "Set the variables, or put the files where they are expected."
        raise ConfigurationError(title, hint=hint, problems=tuple(lines))


def _describe_missing(reference: Reference, environment: Mapping[str, str]) -> str:
    if reference.kind == "env" and not environment.get(reference.target):
        state = "empty" if reference.target in environment else "not set"
        return f"{reference.place}: the environment variable {reference.target} is {state}"
    if reference.kind == "file" and not Path(reference.target).expanduser().is_file():
        return f"{reference.place}: the file {reference.target} is not there"
    return ""
