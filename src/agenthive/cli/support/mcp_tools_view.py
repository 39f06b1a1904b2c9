"""Asking the MCP servers of a workflow what they offer, and printing it as tools of a task."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from agenthive.agents.base import AgentType
from agenthive.agents.registry import Directory
from agenthive.authoring.checks.tools import MOST
from agenthive.authoring.mcp_tools import Offer, offers_of, tools_yaml
from agenthive.cli.support import output
from agenthive.cli.support.session import directory
from agenthive.cli.support.workflow_files import asked_file
from agenthive.core.model.workflow import AgentSpec, WorkflowSpec
from agenthive.errors import AgentUnavailable, ConfigurationError
from agenthive.settings import Settings


def ask(
    file: Path, names: Sequence[str], settings: Settings, agent_files: Sequence[Path]
) -> list[Offer]:
    """What the servers of ``file`` offer; ``names`` are those agents, none means all of them.

    Raises ConfigurationError for a file or a name that is wrong, AgentUnavailable if a server
    does not answer within its agent's time-out.
    """
    from agenthive.agents.mcp.agent import ACTIONS

    agents = directory(settings, agent_files)
    servers = _servers(file, asked_file(file, settings, agents), names)
    found = asyncio.run(_listings(agents, servers))
    return offers_of(found, ACTIONS)


def show(offers: Sequence[Offer], *, as_json: bool) -> None:
    """Print them."""
    if as_json:
        output.document("tools", tools=msgspec.to_builtins(offers))
    elif offers:
        output.line(tools_yaml(offers).rstrip())
    if not offers:
        output.note("No tools: the servers offer none, or none that is on its allow-list.")
    if len(offers) > MOST:
        output.note(f"{len(offers):,} tools; a model may be told of {MOST} at most.")


def _servers(file: Path, spec: WorkflowSpec, names: Sequence[str]) -> list[AgentSpec]:
    servers = {one.name: one for one in spec.agents if one.type == AgentType.MCP_SERVER}
    if not servers:
        raise ConfigurationError(
            f"{file} names no MCP server",
            hint="Add an agent: {name: git, type: mcp_server, endpoint: stdio:mcp-server-git}.",
        )
    if strangers := [name for name in names if name not in servers]:
        raise ConfigurationError(
            f"'{strangers[0]}' is not an MCP server of {file}",
            hint=f"There are: {', '.join(servers)}.",
        )
    return [servers[name] for name in dict.fromkeys(names)] or list(servers.values())


async def _listings(agents: Directory, servers: Sequence[AgentSpec]) -> dict[str, list[Any]]:
    try:
        found = await asyncio.gather(*[_listing(agents, one) for one in servers])
    finally:
        await agents.close()
    return {one.name: tools for one, tools in zip(servers, found, strict=True)}


async def _listing(agents: Directory, server: AgentSpec) -> list[Any]:
    try:
        async with asyncio.timeout(server.timeout):
            said = await agents.find(server).execute("list_tools", {})
    except TimeoutError:
        raise AgentUnavailable(
            f"agent '{server.name}' did not answer within {server.timeout:g} s",
            hint="Give it longer: timeout on the agent.",
        ) from None
    if not said.success:
        raise AgentUnavailable(
            f"agent '{server.name}' does not say what it offers: {said.error}",
            hint="Look at its endpoint, its words under custom_params and its authentication.",
        )
    return list(said.result["tools"])
