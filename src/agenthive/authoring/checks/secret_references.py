"""References to secrets: ``${env:NAME}``, ``${file:PATH}``, ``${secret:NAME}``.

A definition contains references, never secrets. This module finds them, checks their form, and
decides whether a text may contain a secret itself. It never reads or prints the value of a secret;
`check_environment` only tests whether a variable or a file exists.
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
WRITTEN_OUT: Final = "a secret is written out here"
"""The beginning of every warning about a secret that has been, or will be, moved."""
SECRET_HEADERS: Final = frozenset(
    {"authorization", "proxy-authorization", "x-api-key", "api-key", "cookie", "x-auth-token"}
)
# Words that are allowed before a reference in an authentication header.
_SCHEMES: Final = frozenset({"", "bearer", "basic", "token", "apikey", "api-key"})
_NAME: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_LABEL: Final = _NAME | frozenset("-.")


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """One reference to a secret."""

    #: ``env``, ``file`` or ``secret``.
    kind: str
    #: The name of the variable, the path of the file, or the label in the secret store.
    target: str
    #: Where the reference is written, for messages.
    place: str = ""


def parse_text(text: str) -> tuple[list[Reference], str, str]:
    """Return the references in ``text``, the text around them, and the first fault or ``""``."""
    references: list[Reference] = []
    surrounding, start = "", 0
    while (at := text.find("${", start)) >= 0:
        end = text.find("}", at)
        if end < 0:
            return references, surrounding, "unclosed reference ${; add the closing }"
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
        return "not a valid reference; write ${env:NAME}, ${file:PATH} or ${secret:NAME}"
    if not target or "\0" in target:
        return f"the reference ${{{kind}:}} is empty; add a {'path' if kind == 'file' else 'name'}"
    allowed = {"env": _NAME, "secret": _LABEL}.get(kind)
    if allowed is not None and (not set(target) <= allowed or len(target) > 256):
        return f"the name in ${{{kind}:...}} may contain only letters, digits and _"
    return ""


def is_literal(text: str) -> bool:
    """Whether ``text`` may contain a secret: it is more than references and a scheme word."""
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
    """A `KeepSecret` that stores nothing, for checking a file without moving its secrets."""
    del secret
    return f"${{secret:{label}}}"


def moved_secret_warning(keep_secret: KeepSecret, reference: str) -> str:
    """The warning about a secret that was written out."""
    if keep_secret is placeholder:
        return f"{WRITTEN_OUT}; a run moves it to the secret store or refuses it"
    return f"{WRITTEN_OUT}; it was moved to the secret store. Write {reference} instead"


def label_of(*parts: str) -> str:
    """Build a unique label from names, with only letters, digits, ``-``, ``_`` and ``.`` in it."""
    raw = ".".join(parts)
    clean = "".join(char if char in _LABEL else "_" for char in raw)[:100]
    return clean if clean == raw else f"{clean}-{hashlib.sha256(raw.encode()).hexdigest()[:8]}"


def find_references(value: JSONValue, place: str) -> Iterator[Reference]:
    """Yield every well-formed reference in a JSON value; their places start with ``place``."""
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
    """The names of the authentication headers under ``headers``."""
    headers = parameters.get("headers")
    if not isinstance(headers, dict):
        return []
    return [name for name in headers if name.lower() in SECRET_HEADERS]


def references_of(spec: WorkflowSpec, prefix: str = "") -> tuple[Reference, ...]:
    """Return every reference that a workflow resolves when it runs, embedded workflows included.

    They are in the texts of agents, in authentication headers and in secret inputs.
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
    """Check that every referenced environment variable and file exists.

    ``source`` is a workflow, or the references of a `Loaded` (which have lines and columns).
    Raises ConfigurationError with the names of all that are missing.
    """
    environment = os.environ if environ is None else environ
    references = references_of(source) if isinstance(source, WorkflowSpec) else source
    lines = [
        line for reference in references if (line := _describe_missing(reference, environment))
    ]
    if lines:
        title = lines[0] if len(lines) == 1 else "\n".join([f"{len(lines)} problems:", *lines])
        hint = "Set the environment variables and create the files, or change the references."
        raise ConfigurationError(title, hint=hint, problems=tuple(lines))


def _describe_missing(reference: Reference, environment: Mapping[str, str]) -> str:
    if reference.kind == "env" and not environment.get(reference.target):
        state = "empty" if reference.target in environment else "not set"
        return f"{reference.place}: the environment variable {reference.target} is {state}"
    if reference.kind == "file" and not Path(reference.target).expanduser().is_file():
        return f"{reference.place}: the file {reference.target} does not exist"
    return ""
