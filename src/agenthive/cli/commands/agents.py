"""`agenthive agents`: what agents there are here."""

from __future__ import annotations

from pathlib import Path

import click

from agenthive.cli.support.options import agents_option, home_option, json_option, settings_of

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
    from agenthive.cli.support.session import directory

    settings = settings_of(home)
    known = directory(settings, agent_files).sources
    if as_json:
        output.document("agents", kinds=KINDS, custom=known)
        return 0
    output.table(("KIND", "WHAT IT IS"), list(KINDS.items()))
    output.line()
    if known:
        rows = [(f"custom://{name}", where) for name, where in known.items()]
        output.table(("CUSTOM AGENT", "WHERE IT COMES FROM"), rows)
    else:
        output.line("No custom agents: name them in the settings or with --agents FILE.py.")
    return 0
