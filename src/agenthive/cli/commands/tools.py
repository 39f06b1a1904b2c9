"""`agenthive tools FILE`: the tools of the MCP servers of a workflow, as `tools` of a task."""

from __future__ import annotations

from pathlib import Path

import click

from agenthive.cli.support.options import agents_option, home_option, json_option, load_settings


@click.command(name="tools", short_help="Print the tools of MCP servers as YAML for a workflow.")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("names", metavar="[AGENT]...", nargs=-1)
@agents_option
@home_option
@json_option
def command(
    file: Path,
    names: tuple[str, ...],
    agent_files: tuple[Path, ...],
    home: Path | None,
    as_json: bool,
) -> int:
    """Print the tools of the MCP servers in FILE, or of the servers of each AGENT.

    The output is the key `tools` of a task, ready to paste into a workflow: names, descriptions and
    argument schemas of the tools on the allow-lists of the servers. Remove those that the model
    does not need, and set the `effect` of the others: what the server claims is printed only as a
    comment.

    Servers are started or connected to, but none of their tools is called. Exit code 5 if a server
    does not respond, 2 if the file is invalid.
    """
    from agenthive.cli.support import mcp_tools_view

    offers = mcp_tools_view.fetch_offers(file, names, load_settings(home), agent_files)
    mcp_tools_view.show_offers(offers, as_json=as_json)
    return 0
