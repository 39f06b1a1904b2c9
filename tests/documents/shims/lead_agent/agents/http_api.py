"""The document's import path; the names live in agenthive.facades."""

from agenthive.agents.http import HttpAgent as HTTPAPIAgent  # noqa: F401
