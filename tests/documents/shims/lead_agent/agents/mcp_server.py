"""The document's import path; the names live in agenthive.facades."""

from agenthive.agents.mcp.agent import McpAgent as MCPServerAgent  # noqa: F401
