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
from agenthive.agents.registry import AgentRegistry
from agenthive.authoring import OPERATOR, SERVER, Loaded
from agenthive.cli.support import output
from agenthive.cli.support.session import build_registry
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.core.policies.schedule import format_utc
from agenthive.core.values import JSONObject
from agenthive.errors import ConfigurationError
from agenthive.infra.secrets import Secrets
from agenthive.settings import Settings

MOST_INPUT: Final = 2**20
"""Characters of one ``--input``."""


class AcceptedWorkflow(msgspec.Struct, frozen=True):
    """A workflow and its inputs, ready to be submitted."""

    spec: WorkflowSpec
    inputs: JSONObject


def collect_inputs(pairs: Sequence[str], file: Path | None) -> dict[str, Any]:
    """Inputs of the command line (texts) on top of those of a file. Raises ConfigurationError."""
    inputs: dict[str, Any] = {} if file is None else dict(authoring.inputs_from_file(file))
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name or len(text) > MOST_INPUT:
            raise ConfigurationError(
                f"--input {pair[:80]!r} is not KEY=VALUE",
                hint="Write --input topic=bees; for large or nested values use --inputs FILE.",
            )
        inputs[name] = _TypedText(text)
    return inputs


class _TypedText(str):
    """An input as it was typed: read as the type that the workflow declares."""

    __slots__ = ()


def accept_workflow(
    file: Path, raw_inputs: Mapping[str, Any], settings: Settings, agent_files: Sequence[Path]
) -> AcceptedWorkflow:
    """Check the file, the inputs, and that what they refer to is there; tell the warnings.

    Raises ConfigurationError with every problem and its place.
    """
    agents = build_registry(settings, agent_files)
    loaded = load_file(file, settings, agents, authoring.placeholder)
    authoring.check_environment(loaded.references)
    inputs = convert_inputs(loaded.spec, raw_inputs, authoring.placeholder)
    loaded = _keep_secrets(file, loaded, settings, agents)
    keep_secret = Secrets(settings.home / "secrets").store_literal
    return AcceptedWorkflow(
        loaded.spec, convert_inputs(loaded.spec, raw_inputs, keep_secret) if inputs else inputs
    )


def accept_file(file: Path, settings: Settings, agent_files: Sequence[Path]) -> WorkflowSpec:
    """As `accept_workflow`, of a workflow whose inputs are known already."""
    agents = build_registry(settings, agent_files)
    loaded = load_file(file, settings, agents, authoring.placeholder)
    authoring.check_environment(loaded.references)
    return _keep_secrets(file, loaded, settings, agents).spec


def load_keeping_secrets(file: Path, settings: Settings, agents: AgentRegistry) -> WorkflowSpec:
    """As `accept_file`, of which only some agents are asked: what others need may be missing."""
    loaded = load_file(file, settings, agents, authoring.placeholder)
    return _keep_secrets(file, loaded, settings, agents).spec


def convert_inputs_without(
    spec: WorkflowSpec, raw_inputs: Mapping[str, Any], omitted: str, settings: Settings
) -> JSONObject:
    """As `convert_inputs`, without the input ``omitted``, which is not known yet."""
    keep_secret = Secrets(settings.home / "secrets").store_literal
    stand_in = {omitted: format_utc(0)} if omitted and omitted not in raw_inputs else {}
    inputs = convert_inputs(spec, {**raw_inputs, **stand_in}, keep_secret)
    return {name: value for name, value in inputs.items() if name not in stand_in}


def _keep_secrets(file: Path, loaded: Loaded, settings: Settings, agents: AgentRegistry) -> Loaded:
    """The same once more, with the secrets that it writes out moved away; tells the warnings."""
    if any("is written out" in warning for warning in loaded.warnings):
        loaded = load_file(file, settings, agents, Secrets(settings.home / "secrets").store_literal)
    for warning in loaded.warnings:
        output.print_note(f"warning: {output.escape(warning)}")
    return loaded


def load_file(
    file: Path, settings: Settings, agents: AgentRegistry, keep_secret: authoring.KeepSecret
) -> Loaded:
    """Read and check a workflow file."""
    return authoring.load(
        file,
        limits=SERVER if settings.mode == "server" else OPERATOR,
        keep_secret=keep_secret,
        actions=agents,
    )


def convert_inputs(
    spec: WorkflowSpec, raw_inputs: Mapping[str, Any], keep_secret: authoring.KeepSecret
) -> JSONObject:
    """Inputs of the command line as values of the types that the workflow declares."""
    typed = {
        name: str(value) for name, value in raw_inputs.items() if isinstance(value, _TypedText)
    }
    plain = {name: value for name, value in raw_inputs.items() if name not in typed}
    merged = {**plain, **authoring.inputs_from_texts(spec, typed)}
    return authoring.check_inputs(spec, merged, keep_secret=keep_secret)
