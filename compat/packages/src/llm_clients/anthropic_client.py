"""`src.llm_clients.anthropic_client` of the Agent Orchestration Engine: names of agenthive."""

from agenthive.facades.orchestration import AnthropicClient

__all__ = [
    "AnthropicClient",
]
