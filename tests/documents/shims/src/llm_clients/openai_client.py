"""The document's import path; the client asks the server of the test."""

import functools
import os

from agenthive.facades import orchestration

__all__ = ["OpenAIClient"]

OpenAIClient = functools.partial(orchestration.OpenAIClient, base_url=os.environ["MODEL_URL"])
