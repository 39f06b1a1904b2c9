"""Listing the tools of the MCP servers of a workflow, and printing them as `tools` of a task."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from agenthive.agents.base import AgentType
from agenthive.agents.registry import AgentRegistry
from agenthive.authoring.checks.tools import MOST
from agenthive.authoring.mcp_tools import ToolOffer, build_offers, render_tools
from agenthive.cli.support import output
from agenthive.cli.support.session import build_registry
from agenthive.cli.support.workflow_files import load_keeping_secrets
from agenthive.core.model.workflow import AgentSpec, WorkflowSpec
from agenthive.errors import AgentUnavailable, ConfigurationError
from agenthive.settings import Settings


def fetch_offers(
    file: Path, names: Sequence[str], settings: Settings, agent_files: Sequence[Path]
) -> list[ToolOffer]:
    """The tools of the MCP servers of ``file`` that are in ``names``, or of all if that is empty.

    Raises ConfigurationError if the file or a name is wrong, AgentUnavailable if a server does not
    respond within the timeout of its agent.
    """
    from agenthive.agents.mcp.agent import ACTIONS

    agents = build_registry(settings, agent_files)
    servers = _select_servers(file, load_keeping_secrets(file, settings, agents), names)
    listings = asyncio.run(_fetch_listings(agents, servers))
    return build_offers(listings, ACTIONS)


def show_offers(offers: Sequence[ToolOffer], *, as_json: bool) -> None:
    """Print the tools as YAML or JSON."""
    if as_json:
        output.print_document("tools", tools=msgspec.to_builtins(offers))
    elif offers:
        output.print_line(render_tools(offers).rstrip())
    if not offers:
        output.print_note("no tools: the servers offer none, or none on their allow-lists")
    if len(offers) > MOST:
        output.print_note(
            f"{len(offers):,} tools, but a task may have at most {MOST}; remove some of them"
        )


def _select_servers(file: Path, spec: WorkflowSpec, names: Sequence[str]) -> list[AgentSpec]:
    servers = {agent.name: agent for agent in spec.agents if agent.type == AgentType.MCP_SERVER}
    if not servers:
        raise ConfigurationError(
            f"{file}: no agent is of type mcp_server",
            hint="Add one: {name: git, type: mcp_server, endpoint: stdio:mcp-server-git}.",
        )
    if unknown_names := [name for name in names if name not in servers]:
        raise ConfigurationError(
            f"{file}: no agent '{unknown_names[0]}' of type mcp_server",
            hint=f"The MCP servers of this file are: {', '.join(servers)}.",
        )
    return [servers[name] for name in dict.fromkeys(names)] or list(servers.values())


async def _fetch_listings(
    agents: AgentRegistry, servers: Sequence[AgentSpec]
) -> dict[str, list[Any]]:
    try:
        listings = await asyncio.gather(*[_fetch_listing(agents, server) for server in servers])
    finally:
        await agents.close()
    return {server.name: tools for server, tools in zip(servers, listings, strict=True)}


async def _fetch_listing(agents: AgentRegistry, server: AgentSpec) -> list[Any]:
    try:
        async with asyncio.timeout(server.timeout):
            response = await agents.find_agent(server).execute("list_tools", {})
    except TimeoutError:
        raise AgentUnavailable(
            f"agent '{server.name}': the MCP server did not respond within {server.timeout:g} s",
            hint="Check that the server runs, or raise the timeout of the agent.",
        ) from None
    if not response.success:
        raise AgentUnavailable(
            f"agent '{server.name}': listing its tools failed: {response.error}",
            hint="Check the endpoint, custom_params and authentication of the agent.",
        )
    return list(response.result["tools"])
