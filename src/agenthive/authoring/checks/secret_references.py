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


def split(text: str) -> tuple[list[Reference], str, str]:
    """The references in ``text``, the text around them, and what is wrong with one (or empty)."""
    found: list[Reference] = []
    around, start = "", 0
    while (at := text.find("${", start)) >= 0:
        end = text.find("}", at)
        if end < 0:
            return found, around, "'${' without its '}'"
        around += text[start:at]
        kind, colon, target = text[at + 2 : end].partition(":")
        fault = _fault(kind, colon, target)
        if fault:
            return found, around, fault
        found.append(Reference(kind=kind, target=target))
        start = end + 1
    return found, around + text[start:], ""


def _fault(kind: str, colon: str, target: str) -> str:
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
    found, around, fault = split(text)
    if fault:
        return True
    if not found and "{{" in text:
        return not _only_expressions(text)
    return not found or around.strip().lower() not in _SCHEMES


def _only_expressions(text: str) -> bool:
    before, _, rest = text.partition("{{")
    _, _, after = rest.rpartition("}}")
    return before.strip().lower() in _SCHEMES and not after.strip()


def placeholder(label: str, secret: str) -> str:
    """A `KeepSecret` that keeps nothing: for checking a file without taking its secrets in."""
    del secret
    return f"${{secret:{label}}}"


def moved(keep: KeepSecret, reference: str) -> str:
    """The warning about a secret that was written out."""
    if keep is placeholder:
        return "a secret is written out here; a run moves it to the secret store or refuses it"
    return f"a secret is written out here; it was moved to the secret store. Write {reference}"


def label_of(*parts: str) -> str:
    """A label made of names: letters, digits, ``-``, ``_`` and ``.`` only, different for each."""
    raw = ".".join(parts)
    clean = "".join(char if char in _LABEL else "_" for char in raw)[:100]
    return clean if clean == raw else f"{clean}-{hashlib.sha256(raw.encode()).hexdigest()[:8]}"


def find(value: JSONValue, place: str) -> Iterator[Reference]:
    """Every well-formed reference in a JSON value; ``place`` becomes the place of each."""
    if isinstance(value, str):
        if "${" in value:
            for one in split(value)[0]:
                yield msgspec.structs.replace(one, place=place)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from find(item, f"{place}.{key}")
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from find(item, f"{place}[{i}]")


def secret_headers(parameters: Mapping[str, JSONValue]) -> list[str]:
    """The names under ``headers`` that prove who calls."""
    headers = parameters.get("headers")
    if not isinstance(headers, dict):
        return []
    return [name for name in headers if name.lower() in SECRET_HEADERS]


def references_of(spec: WorkflowSpec, within: str = "") -> tuple[Reference, ...]:
    """Every reference a workflow needs when it runs, and the workflows in it.

    Those of agents, of headers that prove who calls, and of what goes into secret inputs.
    """
    found: list[Reference] = []
    for agent in spec.agents:
        where = f"{within}agents.{agent.name}"
        found.extend(find(agent.endpoint, f"{where}.endpoint"))
        found.extend(find(agent.authentication, f"{where}.authentication"))
        found.extend(find(agent.custom_params, f"{where}.custom_params"))
    for task in spec.tasks:
        where = f"{within}tasks.{task.name}"
        found.extend(_of_parameters(task.parameters, where))
        for key, call in (("compensate", task.compensate), ("reconcile", task.reconcile)):
            if call is not None:
                found.extend(_of_parameters(call.parameters, f"{where}.{key}"))
        for tool in task.tools:
            found.extend(_of_parameters(tool.parameters or {}, f"{where}.tools.{tool.name}"))
        if task.workflow is not None:
            found.extend(_of_inputs(task.workflow, task.parameters, where))
            found.extend(references_of(task.workflow, f"{where}.workflow."))
    return tuple(found)


def _of_parameters(parameters: Mapping[str, JSONValue], where: str) -> Iterator[Reference]:
    for name in secret_headers(parameters):
        headers = parameters["headers"]
        assert isinstance(headers, dict)
        yield from find(headers[name], f"{where}.parameters.headers.{name}")


def _of_inputs(
    child: WorkflowSpec, parameters: Mapping[str, JSONValue], where: str
) -> Iterator[Reference]:
    for name, declared in child.inputs.items():
        if declared.type == "secret" and name in parameters:
            yield from find(parameters[name], f"{where}.parameters.{name}")


def check_environment(
    wanted: WorkflowSpec | tuple[Reference, ...], environ: Mapping[str, str] | None = None
) -> None:
    """See that every variable and file that is referred to is there.

    ``wanted`` is a workflow, or the references of a `Loaded` (which know lines and columns).
    Raises ConfigurationError naming what is missing, never a value.
    """
    have = os.environ if environ is None else environ
    references = references_of(wanted) if isinstance(wanted, WorkflowSpec) else wanted
    lines = [line for one in references if (line := _missing(one, have))]
    if lines:
        title = lines[0] if len(lines) == 1 else "\n".join([f"{len(lines)} problems:", *lines])
        hint = "Set the variables, or put the files where they are expected."
        raise ConfigurationError(title, hint=hint, problems=tuple(lines))


def _missing(one: Reference, have: Mapping[str, str]) -> str:
    if one.kind == "env" and not have.get(one.target):
        state = "empty" if one.target in have else "not set"
        return f"{one.place}: the environment variable {one.target} is {state}"
    if one.kind == "file" and not Path(one.target).expanduser().is_file():
        return f"{one.place}: the file {one.target} is not there"
    return ""
