"""Loading a workflow file and its inputs for a command: all checks come before the first write.

A secret that is written out in the file or among the inputs is moved to HOME/secrets only after
everything else has passed its checks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from agenthive import authoring
from agenthive.agents.registry import AgentRegistry
from agenthive.authoring import OPERATOR, SERVER, Loaded
from agenthive.authoring.checks.secret_references import WRITTEN_OUT
from agenthive.cli.support import output
from agenthive.cli.support.session import build_registry
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.core.policies.schedule import format_utc
from agenthive.core.values import JSONObject
from agenthive.errors import ConfigurationError
from agenthive.infra.secrets import Secrets
from agenthive.settings import Settings

MOST_INPUT: Final = 2**20
"""The longest accepted value of ``--input``, in characters."""


class AcceptedWorkflow(msgspec.Struct, frozen=True):
    """A workflow and its inputs, ready to be submitted."""

    spec: WorkflowSpec
    inputs: JSONObject


def collect_inputs(pairs: Sequence[str], file: Path | None) -> dict[str, Any]:
    """Merge ``--input`` texts over the inputs of a file. Raises ConfigurationError."""
    inputs: dict[str, Any] = {} if file is None else dict(authoring.inputs_from_file(file))
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise ConfigurationError(
                f"--input {pair[:80]!r} is not KEY=VALUE",
                hint="Write --input topic=bees; for nested values use --inputs FILE.",
            )
        if len(text) > MOST_INPUT:
            raise ConfigurationError(
                f"--input {name[:80]}: the value has more than {MOST_INPUT:,} characters",
                hint="Write large values to a file and pass it with --inputs FILE.",
            )
        inputs[name] = _TypedText(text)
    return inputs


class _TypedText(str):
    """The text of an ``--input``: parsed later as the type that the workflow declares."""

    __slots__ = ()


def accept_workflow(
    file: Path, raw_inputs: Mapping[str, Any], settings: Settings, agent_files: Sequence[Path]
) -> AcceptedWorkflow:
    """Check the file, its inputs and the references in them; print the warnings.

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
    """As `accept_workflow`, without inputs: for a run that has them already, or a schedule."""
    agents = build_registry(settings, agent_files)
    loaded = load_file(file, settings, agents, authoring.placeholder)
    authoring.check_environment(loaded.references)
    return _keep_secrets(file, loaded, settings, agents).spec


def load_keeping_secrets(file: Path, settings: Settings, agents: AgentRegistry) -> WorkflowSpec:
    """As `accept_file`, without the check of references: only some agents will be called."""
    loaded = load_file(file, settings, agents, authoring.placeholder)
    return _keep_secrets(file, loaded, settings, agents).spec


def convert_inputs_without(
    spec: WorkflowSpec, raw_inputs: Mapping[str, Any], omitted: str, settings: Settings
) -> JSONObject:
    """As `convert_inputs`, without the input ``omitted``, whose value each scheduled run gets."""
    keep_secret = Secrets(settings.home / "secrets").store_literal
    # A placeholder of the right form, so that a required input passes the checks.
    stand_in = {omitted: format_utc(0)} if omitted and omitted not in raw_inputs else {}
    inputs = convert_inputs(spec, {**raw_inputs, **stand_in}, keep_secret)
    return {name: value for name, value in inputs.items() if name not in stand_in}


def _keep_secrets(file: Path, loaded: Loaded, settings: Settings, agents: AgentRegistry) -> Loaded:
    """Move secrets that are written out to HOME/secrets, if any; print the warnings."""
    if any(WRITTEN_OUT in warning for warning in loaded.warnings):
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
    """Convert inputs to the types that the workflow declares. Raises ConfigurationError."""
    typed = {
        name: str(value) for name, value in raw_inputs.items() if isinstance(value, _TypedText)
    }
    plain = {name: value for name, value in raw_inputs.items() if name not in typed}
    merged = {**plain, **authoring.inputs_from_texts(spec, typed)}
    return authoring.check_inputs(spec, merged, keep_secret=keep_secret)
