"""`agenthive agents`: the agent kinds and the registered custom agents."""

from __future__ import annotations

from pathlib import Path

import click

from agenthive.cli.support.options import agents_option, home_option, json_option, load_settings

KINDS = {
    "ai_agent": "a language model: OpenAI, Anthropic, a compatible API, offline://extractive",
    "mcp_server": "an MCP server: stdio:COMMAND or http(s)://...",
    "http_api": "an HTTP API: fetch, request, ping",
    "custom": "a Python function of your own: custom://NAME",
}


@click.command(name="agents", short_help="List the agent kinds and the registered custom agents.")
@agents_option
@home_option
@json_option
def command(agent_files: tuple[Path, ...], home: Path | None, as_json: bool) -> int:
    """List the agent kinds that a workflow may use, and the registered custom agents.

    Custom agents are registered by the settings (`agents`), by --agents files and by installed
    packages (entry points in the group agenthive.agents), never by a workflow.
    """
    from agenthive.cli.support import output
    from agenthive.cli.support.session import build_registry

    settings = load_settings(home)
    custom_agents = build_registry(settings, agent_files).sources
    if as_json:
        output.print_document("agents", kinds=KINDS, custom=custom_agents)
        return 0
    output.print_table(("KIND", "DESCRIPTION"), list(KINDS.items()))
    output.print_line()
    if custom_agents:
        rows = [(f"custom://{name}", source) for name, source in custom_agents.items()]
        output.print_table(("CUSTOM AGENT", "SOURCE"), rows)
    else:
        output.print_line(
            "No custom agents are registered; add them in the settings or with --agents FILE.py."
        )
    return 0
