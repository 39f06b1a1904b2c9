"""Asking the MCP servers of a workflow what they offer, and printing it as tools of a task."""

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
    """What the servers of ``file`` offer; ``names`` are those agents, none means all of them.

    Raises ConfigurationError for a file or a name that is wrong, AgentUnavailable if a server
    does not answer within its agent's time-out.
    """
    from agenthive.agents.mcp.agent import ACTIONS

    agents = build_registry(settings, agent_files)
    servers = _select_servers(file, load_keeping_secrets(file, settings, agents), names)
    listings = asyncio.run(_fetch_listings(agents, servers))
    return build_offers(listings, ACTIONS)


def show_offers(offers: Sequence[ToolOffer], *, as_json: bool) -> None:
    """Print them."""
    if as_json:
        output.print_document("tools", tools=msgspec.to_builtins(offers))
    elif offers:
        output.print_line(render_tools(offers).rstrip())
    if not offers:
        output.print_note("No tools: the servers offer none, or none that is on its allow-list.")
    if len(offers) > MOST:
        output.print_note(f"{len(offers):,} tools; a model may be told of {MOST} at most.")


def _select_servers(file: Path, spec: WorkflowSpec, names: Sequence[str]) -> list[AgentSpec]:
    servers = {agent.name: agent for agent in spec.agents if agent.type == AgentType.MCP_SERVER}
    if not servers:
        raise ConfigurationError(
            f"{file} names no MCP server",
            hint="Add an agent: {name: git, type: mcp_server, endpoint: stdio:mcp-server-git}.",
        )
    if unknown_names := [name for name in names if name not in servers]:
        raise ConfigurationError(
            f"'{unknown_names[0]}' is not an MCP server of {file}",
            hint=f"There are: {', '.join(servers)}.",
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
            f"agent '{server.name}' did not answer within {server.timeout:g} s",
            hint="Give it longer: timeout on the agent.",
        ) from None
    if not response.success:
        raise AgentUnavailable(
            f"agent '{server.name}' does not say what it offers: {response.error}",
            hint="Look at its endpoint, its words under custom_params and its authentication.",
        )
    return list(response.result["tools"])
