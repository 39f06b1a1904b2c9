"""`agenthive tools FILE`: what the MCP servers of a workflow offer, as tools of a task."""

from __future__ import annotations

from pathlib import Path

import click

from agenthive.cli.support.options import agents_option, home_option, json_option, load_settings


@click.command(name="tools", short_help="Ask MCP servers for their tools, as text for a workflow.")
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
    """Ask the MCP servers that FILE names (or those of the given agents) for their tools.

    Prints the key `tools` of a task, to be put under the task of a model: names, descriptions and
    schemas of arguments as the servers give them, of tools on their allow-lists. Take out what the
    model has no business with. What a tool may do (`effect`) is yours to say: what a server says of
    itself stands beside it as a comment.

    The servers are started or connected to; none of their tools is called. Exit code 5 if one of
    them does not answer, 2 if the file is wrong.
    """
    from agenthive.cli.support import mcp_tools_view

    offers = mcp_tools_view.fetch_offers(file, names, load_settings(home), agent_files)
    mcp_tools_view.show_offers(offers, as_json=as_json)
    return 0
