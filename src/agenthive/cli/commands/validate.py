"""`agenthive validate FILE ...`: check workflow files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agenthive.cli.support.options import agents_option, home_option, json_option, settings_of

if TYPE_CHECKING:
    from agenthive.agents.registry import Directory
    from agenthive.settings import Settings


@click.command(name="validate", short_help="Check workflow files without running anything.")
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@agents_option
@home_option
@json_option
def command(
    files: tuple[Path, ...], agent_files: tuple[Path, ...], home: Path | None, as_json: bool
) -> int:
    """Check workflow FILEs: syntax, keys, agents, graph, expressions, secrets' references.

    Every problem is named with file, line and column. Nothing is run and nothing is written.
    Exit code 2 if one of them is wrong.
    """
    from agenthive.cli.support import output
    from agenthive.cli.support.session import directory

    settings = settings_of(home)
    agents = directory(settings, agent_files)
    found = [_check(file, settings, agents) for file in files]
    if as_json:
        output.document("validation", files=found)
    else:
        for one in found:
            _tell(one)
    return 0 if all(one["valid"] for one in found) else 2


def _check(file: Path, settings: Settings, agents: Directory) -> dict[str, Any]:
    from agenthive import authoring
    from agenthive.cli.support.flow_summary import summary
    from agenthive.cli.support.workflow_files import load
    from agenthive.errors import ConfigurationError

    try:
        loaded = load(file, settings, agents, authoring.placeholder)
    except ConfigurationError as error:
        return {"file": str(file), "valid": False, "problems": list(error.problems)}
    spec = loaded.spec
    warnings = [*loaded.warnings, *_missing(loaded.references), *_absent(spec, agents)]
    return {
        "file": str(file),
        "valid": True,
        "name": spec.name,
        "tasks": len(spec.tasks),
        "agents": len(spec.agents),
        "flow": summary(spec),
        "definition": authoring.digest(spec),
        "warnings": warnings,
    }


def _missing(references: Any) -> list[str]:
    """What the file refers to and is not here: it may be there where the workflow runs."""
    from agenthive import authoring
    from agenthive.errors import ConfigurationError

    try:
        authoring.check_environment(references)
    except ConfigurationError as error:
        return list(error.problems)
    return []


def _absent(spec: Any, agents: Directory) -> list[str]:
    from agenthive import authoring
    from agenthive.core.expressions.template import Template
    from agenthive.errors import AgentHiveError

    found = []
    for agent in authoring.agents_of(spec):
        try:
            if Template.compile(agent.endpoint, {"inputs"}).constant:
                agents.find(agent)
        except AgentHiveError as error:
            found.append(f"{error.message}. {error.hint}".strip())
    return found


def _tell(one: dict[str, Any]) -> None:
    from agenthive.cli.support import output
    from agenthive.cli.support.flow_summary import words

    if not one["valid"]:
        for problem in one["problems"]:
            output.note(output.safe(problem))
        return
    for warning in one["warnings"]:
        output.note(f"warning: {output.safe(warning)}")
    counts = f"{one['tasks']:,} tasks, {one['agents']:,} agents"
    flow = output.safe(words(one["flow"]))
    rest = f"{counts}; {flow}" if flow else counts
    output.line(f"{output.safe(one['file'])}: valid ({output.safe(one['name'])}, {rest})")
