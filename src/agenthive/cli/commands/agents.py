"""`agenthive agents`: what agents there are here."""

from __future__ import annotations

from pathlib import Path

import click

from agenthive.cli.support.options import agents_option, home_option, json_option, load_settings


@click.command(
    name="agents", short_help="List the kinds of agent and the custom agents that are known."
)
@agents_option
@home_option
@json_option
def command(agent_files: tuple[Path, ...], home: Path | None, as_json: bool) -> int:
    """List the kinds a workflow may name, and the custom agents that are known here.

    Kinds come with agenthive, from --agents files and from installed packages. Custom agents come
    from the settings (`agents`), from --agents files and from installed packages (entry points in
    the group agenthive.agents); never from a workflow.
    """
    from agenthive.cli.support import output
    from agenthive.cli.support.session import build_registry

    settings = load_settings(home)
    agents = build_registry(settings, agent_files)
    kinds, custom_agents = agents.describe_kinds(), agents.sources
    if as_json:
        output.print_document("agents", kinds=kinds, custom=custom_agents)
        return 0
    output.print_table(("KIND", "WHAT IT IS"), list(kinds.items()))
    output.print_line()
    if custom_agents:
        rows = [(f"custom://{name}", source) for name, source in custom_agents.items()]
        output.print_table(("CUSTOM AGENT", "WHERE IT COMES FROM"), rows)
    else:
        output.print_line("No custom agents: name them in the settings or with --agents FILE.py.")
    return 0
