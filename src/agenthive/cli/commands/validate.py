"""`agenthive validate FILE ...`: check workflow files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agenthive.cli.support.options import agents_option, home_option, json_option, load_settings

if TYPE_CHECKING:
    from agenthive.agents.registry import AgentRegistry
    from agenthive.settings import Settings


@click.command(name="validate", short_help="Check workflow files without running them.")
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@agents_option
@home_option
@json_option
def command(
    files: tuple[Path, ...], agent_files: tuple[Path, ...], home: Path | None, as_json: bool
) -> int:
    """Check the syntax, keys, agents, dependencies, expressions and secret references of each FILE.

    Every problem is reported with file, line and column. Nothing is run and nothing is written.
    Exit code 2 if a file is invalid.
    """
    from agenthive.cli.support import output
    from agenthive.cli.support.session import build_registry

    settings = load_settings(home)
    agents = build_registry(settings, agent_files)
    reports = [_check_file(file, settings, agents) for file in files]
    if as_json:
        output.print_document("validation", files=reports)
    else:
        for report in reports:
            _print_report(report)
    return 0 if all(report["valid"] for report in reports) else 2


def _check_file(file: Path, settings: Settings, agents: AgentRegistry) -> dict[str, Any]:
    from agenthive import authoring
    from agenthive.cli.support.flow_summary import summarize_flow
    from agenthive.cli.support.workflow_files import load_file
    from agenthive.errors import ConfigurationError

    try:
        loaded = load_file(file, settings, agents, authoring.placeholder)
    except ConfigurationError as error:
        return {"file": str(file), "valid": False, "problems": list(error.problems)}
    spec = loaded.spec
    warnings = [
        *loaded.warnings,
        *_missing_references(loaded.references),
        *_absent_agents(spec, agents),
        *_unpriced_tasks(spec, agents, settings),
    ]
    return {
        "file": str(file),
        "valid": True,
        "name": spec.name,
        "tasks": len(spec.tasks),
        "agents": len(spec.agents),
        "flow": summarize_flow(spec),
        "definition": authoring.digest(spec),
        "warnings": warnings,
    }


def _missing_references(references: Any) -> list[str]:
    """Warnings about references to what is missing here: it may exist where the workflow runs."""
    from agenthive import authoring
    from agenthive.errors import ConfigurationError

    try:
        authoring.check_environment(references)
    except ConfigurationError as error:
        return list(error.problems)
    return []


def _absent_agents(spec: Any, agents: AgentRegistry) -> list[str]:
    from agenthive import authoring
    from agenthive.core.expressions.template import Template
    from agenthive.errors import AgentHiveError

    problems = []
    for agent in authoring.agents_of(spec):
        try:
            if Template.compile(agent.endpoint, {"inputs"}).constant:
                agents.find_agent(agent)
        except AgentHiveError as error:
            problems.append(f"{error.message}. {error.hint}".strip())
    return problems


def _unpriced_tasks(spec: Any, agents: AgentRegistry, settings: Settings) -> list[str]:
    """Warnings about calls that a run would refuse: they have a limit, and no known cost."""
    from agenthive.core.graph.graph import Graph
    from agenthive.errors import AgentHiveError
    from agenthive.insights.unpriced import find_unpriced_tasks

    defaults = {name: declared.default for name, declared in spec.inputs.items()}
    inputs = {name: default for name, default in defaults.items() if default is not None}
    try:
        return list(
            map(str, find_unpriced_tasks(spec, Graph(spec), agents, inputs, settings.budgets))
        )
    except AgentHiveError:
        return []  # An agent is missing here, which has a warning of its own.


def _print_report(report: dict[str, Any]) -> None:
    from agenthive.cli.support import output
    from agenthive.cli.support.flow_summary import describe_flow

    if not report["valid"]:
        for problem in report["problems"]:
            output.print_note(output.escape(problem))
        return
    for warning in report["warnings"]:
        output.print_note(f"warning: {output.escape(warning)}")
    counts = f"{report['tasks']:,} tasks, {report['agents']:,} agents"
    flow = output.escape(describe_flow(report["flow"]))
    summary = f"{counts}; {flow}" if flow else counts
    output.print_line(
        f"{output.escape(report['file'])}: valid ({output.escape(report['name'])}, {summary})"
    )
