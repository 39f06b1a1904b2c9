"""The document's import path; the names live in agenthive.facades.orchestration."""

from agenthive.facades.orchestration import LLMClient, LLMResponse

__all__ = ["LLMClient", "LLMResponse"]
