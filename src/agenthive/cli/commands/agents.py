"""`agenthive agents`: the agent kinds and the registered custom agents."""

from __future__ import annotations

from pathlib import Path

import click

from agenthive.cli.support.options import agents_option, home_option, json_option, load_settings


@click.command(name="agents", short_help="List the agent kinds and the registered custom agents.")
@agents_option
@home_option
@json_option
def command(agent_files: tuple[Path, ...], home: Path | None, as_json: bool) -> int:
    """List the agent kinds that a workflow may use, and the registered custom agents.

    Kinds are part of agenthive, or come from --agents files and installed packages. Custom agents
    are registered by the settings (`agents`), by --agents files and by installed packages (entry
    points in the group agenthive.agents), never by a workflow.
    """
    from agenthive.cli.support import output
    from agenthive.cli.support.session import build_registry

    settings = load_settings(home)
    agents = build_registry(settings, agent_files)
    kinds, custom_agents = agents.describe_kinds(), agents.sources
    if as_json:
        output.print_document("agents", kinds=kinds, custom=custom_agents)
        return 0
    output.print_table(("KIND", "DESCRIPTION"), list(kinds.items()))
    output.print_line()
    if custom_agents:
        rows = [(f"custom://{name}", source) for name, source in custom_agents.items()]
        output.print_table(("CUSTOM AGENT", "SOURCE"), rows)
    else:
        output.print_line(
            "No custom agents are registered; add them in the settings or with --agents FILE.py."
        )
    return 0
