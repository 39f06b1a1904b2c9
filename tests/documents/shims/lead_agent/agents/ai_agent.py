"""The document's import path; the names live in agenthive.facades."""

from agenthive.agents.llm.router import ModelAgent as AIAgent  # noqa: F401
