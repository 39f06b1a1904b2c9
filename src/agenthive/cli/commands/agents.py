"""`agenthive agents`: what agents there are here."""

from __future__ import annotations

from pathlib import Path

import click

from agenthive.cli.support.options import agents_option, home_option, json_option, load_settings

KINDS = {
    "ai_agent": "a language model: OpenAI, Anthropic, anything compatible, offline://extractive",
    "mcp_server": "an MCP server: stdio:COMMAND or http(s)://...",
    "http_api": "an HTTP API: fetch, request, ping",
    "custom": "Python of the operator's: custom://NAME",
}


@click.command(name="agents", short_help="List the kinds of agent and the custom agents.")
@agents_option
@home_option
@json_option
def command(agent_files: tuple[Path, ...], home: Path | None, as_json: bool) -> int:
    """List the kinds a workflow may name, and the custom agents that are known here.

    Custom agents come from the settings (`agents`), from --agents files and from installed
    packages (entry points in the group agenthive.agents); never from a workflow.
    """
    from agenthive.cli.support import output
    from agenthive.cli.support.session import build_registry

    settings = load_settings(home)
    custom_agents = build_registry(settings, agent_files).sources
    if as_json:
        output.print_document("agents", kinds=KINDS, custom=custom_agents)
        return 0
    output.print_table(("KIND", "WHAT IT IS"), list(KINDS.items()))
    output.print_line()
    if custom_agents:
        rows = [(f"custom://{name}", source) for name, source in custom_agents.items()]
        output.print_table(("CUSTOM AGENT", "WHERE IT COMES FROM"), rows)
    else:
        output.print_line("No custom agents: name them in the settings or with --agents FILE.py.")
    return 0
