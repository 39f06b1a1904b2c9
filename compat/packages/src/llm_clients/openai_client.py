"""`src.llm_clients.openai_client` of the Agent Orchestration Engine: names of agenthive."""

from agenthive.facades.orchestration import OpenAIClient

__all__ = [
    "OpenAIClient",
]
