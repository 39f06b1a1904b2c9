"""Optional packages: what an installation may leave out, and which extra brings it."""

from __future__ import annotations

import importlib.util
from typing import Final

from agenthive.errors import AgentUnavailable

DISTRIBUTION: Final = "agenthive-workflows"
"""The name of this project on a package index; its import name is ``agenthive``."""


def require_package(package: str, extra: str, agent: str) -> None:
    """Raise AgentUnavailable if ``package`` is not installed; the hint names the extra.

    Looks without importing: a vendor's package takes up to a second to import.
    """
    if importlib.util.find_spec(package) is None:
        raise AgentUnavailable(
            f"agent '{agent}' needs the package '{package}', which is not installed",
            hint=f"Install it: pip install '{DISTRIBUTION}[{extra}]'",
        )
