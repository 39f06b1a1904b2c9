"""`src.llm_clients.base` of the Agent Orchestration Engine: names of agenthive."""

from agenthive.facades.orchestration import LLMClient, LLMResponse

__all__ = [
    "LLMClient",
    "LLMResponse",
]
