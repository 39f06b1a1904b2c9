"""Taking in a workflow file and its inputs for a command: all checks before anything is written.

A secret that stands in the file or among the inputs is moved to HOME/secrets only once everything
else is known to be right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from agenthive import authoring
from agenthive.agents.registry import Directory
from agenthive.authoring import OPERATOR, SERVER, Loaded
from agenthive.cli.support import output
from agenthive.cli.support.session import directory
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.core.policies.schedule import utc
from agenthive.core.values import JSONObject
from agenthive.errors import ConfigurationError
from agenthive.infra.secrets import Secrets
from agenthive.settings import Settings

MOST_INPUT: Final = 2**20
"""Characters of one ``--input``."""


class Accepted(msgspec.Struct, frozen=True):
    """A workflow and its inputs, ready to be submitted."""

    spec: WorkflowSpec
    inputs: JSONObject


def given_inputs(pairs: Sequence[str], file: Path | None) -> dict[str, Any]:
    """Inputs of the command line (texts) on top of those of a file. Raises ConfigurationError."""
    found: dict[str, Any] = {} if file is None else dict(authoring.inputs_from_file(file))
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name or len(text) > MOST_INPUT:
            raise ConfigurationError(
                f"--input {pair[:80]!r} is not KEY=VALUE",
                hint="Write --input topic=bees; for large or nested values use --inputs FILE.",
            )
        found[name] = _Text(text)
    return found


class _Text(str):
    """An input as it was typed: read as the type that the workflow declares."""

    __slots__ = ()


def accept(
    file: Path, given: Mapping[str, Any], settings: Settings, agent_files: Sequence[Path]
) -> Accepted:
    """Check the file, the inputs, and that what they refer to is there; tell the warnings.

    Raises ConfigurationError with every problem and its place.
    """
    agents = directory(settings, agent_files)
    loaded = load(file, settings, agents, authoring.placeholder)
    authoring.check_environment(loaded.references)
    inputs = typed_inputs(loaded.spec, given, authoring.placeholder)
    loaded = _with_secrets_kept(file, loaded, settings, agents)
    kept = Secrets(settings.home / "secrets").keep
    return Accepted(loaded.spec, typed_inputs(loaded.spec, given, kept) if inputs else inputs)


def accepted_file(file: Path, settings: Settings, agent_files: Sequence[Path]) -> WorkflowSpec:
    """As `accept`, of a workflow whose inputs are known already."""
    agents = directory(settings, agent_files)
    loaded = load(file, settings, agents, authoring.placeholder)
    authoring.check_environment(loaded.references)
    return _with_secrets_kept(file, loaded, settings, agents).spec


def asked_file(file: Path, settings: Settings, agents: Directory) -> WorkflowSpec:
    """As `accepted_file`, of which only some agents are asked: what others need may be missing."""
    loaded = load(file, settings, agents, authoring.placeholder)
    return _with_secrets_kept(file, loaded, settings, agents).spec


def typed_inputs_but(
    spec: WorkflowSpec, given: Mapping[str, Any], later: str, settings: Settings
) -> JSONObject:
    """As `typed_inputs`, without the input ``later``, which is not known yet."""
    kept = Secrets(settings.home / "secrets").keep
    stand_in = {later: utc(0)} if later and later not in given else {}
    found = typed_inputs(spec, {**given, **stand_in}, kept)
    return {name: value for name, value in found.items() if name not in stand_in}


def _with_secrets_kept(file: Path, loaded: Loaded, settings: Settings, agents: Directory) -> Loaded:
    """The same once more, with the secrets that it writes out moved away; tells the warnings."""
    if any("is written out" in warning for warning in loaded.warnings):
        loaded = load(file, settings, agents, Secrets(settings.home / "secrets").keep)
    for warning in loaded.warnings:
        output.note(f"warning: {output.safe(warning)}")
    return loaded


def load(file: Path, settings: Settings, agents: Directory, keep: authoring.KeepSecret) -> Loaded:
    """Read and check a workflow file."""
    return authoring.load(
        file,
        limits=SERVER if settings.mode == "server" else OPERATOR,
        keep_secret=keep,
        actions=agents,
    )


def typed_inputs(
    spec: WorkflowSpec, given: Mapping[str, Any], keep: authoring.KeepSecret
) -> JSONObject:
    """Inputs of the command line as values of the types that the workflow declares."""
    typed = {name: str(value) for name, value in given.items() if isinstance(value, _Text)}
    plain = {name: value for name, value in given.items() if name not in typed}
    both = {**plain, **authoring.inputs_from_texts(spec, typed)}
    return authoring.check_inputs(spec, both, keep_secret=keep)
