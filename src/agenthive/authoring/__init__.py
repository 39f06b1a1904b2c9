"""HOW A WORKFLOW IS WRITTEN: from YAML, JSON or Python to a checked `WorkflowSpec`.

A definition passes four stages, each in its own module or package:

    readers    text -> `SourceNode`: values with line and column
    dialect    the one table of keys; the JSON Schema and the reference page are generated from it
    checks     nodes -> specs of `core.model`; every problem is collected with its place
    assembler  puts the specs together, or raises one error with all problems

`builder` writes the same definition in Python, `input_binding` fills the inputs of a run into the
agents, `schedules` checks schedules, `mcp_tools` renders the tools of MCP servers as YAML.

Nothing here runs a workflow, calls an agent or stores a secret: the caller of `load` passes
``keep_secret`` and ``actions``. To add a key: `dialect`. To add a check: the module of its section
in `checks`. To add a syntax: a reader that returns a `SourceNode`.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path

from agenthive.authoring.agent_actions import ActionCatalog
from agenthive.authoring.assembler import LoadOptions, assemble
from agenthive.authoring.builder import Workflow
from agenthive.authoring.canonical import digest, dump, parse_spec
from agenthive.authoring.checks.inputs import check_inputs, inputs_from_file, inputs_from_texts
from agenthive.authoring.checks.secret_references import (
    KeepSecret,
    Reference,
    check_environment,
    placeholder,
    references_of,
)
from agenthive.authoring.checks.subworkflows import Loaded, Origin
from agenthive.authoring.input_binding import agents_of, bind_inputs, embedded_workflows
from agenthive.authoring.readers.problems import Problems
from agenthive.authoring.readers.size_limits import OPERATOR, SERVER, SizeLimits
from agenthive.authoring.readers.sources import FORMATS, from_python, read_file, read_text
from agenthive.errors import ConfigurationError

__all__ = [
    "OPERATOR",
    "SERVER",
    "ActionCatalog",
    "KeepSecret",
    "Loaded",
    "Reference",
    "SizeLimits",
    "Workflow",
    "agents_of",
    "bind_inputs",
    "check_environment",
    "check_inputs",
    "digest",
    "dump",
    "embedded_workflows",
    "from_mapping",
    "inputs_from_file",
    "inputs_from_texts",
    "load",
    "loads",
    "parse_spec",
    "placeholder",
    "references_of",
]


def load(
    path: str | PathLike[str],
    *,
    limits: SizeLimits = OPERATOR,
    keep_secret: KeepSecret | None = None,
    actions: ActionCatalog | None = None,
) -> Loaded:
    """Read and check a file: JSON if named ``*.json``, else YAML.

    ``keep_secret`` stores secrets that are written out in the file (None: they are refused;
    `placeholder`: for checking only). ``actions`` knows the agent kinds and their actions (None:
    only the names of the built-in kinds are checked). Raises ConfigurationError with every problem
    and its place.
    """
    problems = Problems(str(path))
    file = Path(path)
    node = read_file(file, limits, problems)
    options = _build_options(limits, keep_secret, actions)
    return assemble(node, problems, options, Origin(files=(file,)))


def loads(
    text: str,
    name: str = "<text>",
    format: str = "yaml",
    *,
    limits: SizeLimits = OPERATOR,
    keep_secret: KeepSecret | None = None,
    actions: ActionCatalog | None = None,
) -> Loaded:
    """As `load`, from a text in ``format`` yaml or json; messages call it ``name``."""
    if format not in FORMATS:
        raise ConfigurationError(f"unknown format {format!r}; use one of: {', '.join(FORMATS)}")
    problems = Problems(name)
    node = read_text(text, format, limits, problems)
    return assemble(node, problems, _build_options(limits, keep_secret, actions))


def from_mapping(
    data: Mapping[str, object],
    name: str = "<mapping>",
    *,
    limits: SizeLimits = OPERATOR,
    keep_secret: KeepSecret | None = None,
    actions: ActionCatalog | None = None,
) -> Loaded:
    """As `load`, from Python data; messages have paths such as ``tasks[2].agent_name``."""
    problems = Problems(name)
    node = from_python(data, problems)
    return assemble(node, problems, _build_options(limits, keep_secret, actions))


def _build_options(
    limits: SizeLimits, keep_secret: KeepSecret | None, actions: ActionCatalog | None
) -> LoadOptions:
    return LoadOptions(limits=limits, keep_secret=keep_secret, actions=actions)
