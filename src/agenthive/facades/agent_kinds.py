"""The agent classes of the Lead Agent design, under its names.

Separate from `lead_agent`, because a program that only runs workflows needs none of these imports.
To add a kind: an import under the name of the design, and a name in ``__all__``.
"""

from __future__ import annotations

from agenthive.agents.http import HttpAgent as HTTPAPIAgent
from agenthive.agents.llm.router import ModelAgent as AIAgent
from agenthive.agents.mcp.agent import McpAgent as MCPServerAgent

__all__ = ["AIAgent", "HTTPAPIAgent", "MCPServerAgent"]
