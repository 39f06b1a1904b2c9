"""Optional packages: those that an installation may leave out, and the extra that brings them.

Never imports one. To make another package optional: an extra in ``pyproject.toml`` and a call of
`require_package` where it is first used.
"""

from __future__ import annotations

import importlib.util
from typing import Final

from agenthive.errors import AgentUnavailable

#: The name of this project on a package index; its import name is ``agenthive``.
DISTRIBUTION: Final = "agenthive-workflows"


def require_package(package: str, extra: str, agent: str) -> None:
    """Raise AgentUnavailable if ``package`` is not installed; its hint names the extra.

    The package is not imported: a vendor's package takes up to a second to import.
    """
    if importlib.util.find_spec(package) is None:
        raise AgentUnavailable(
            f"agent '{agent}' needs the package '{package}', which is not installed",
            hint=f"Install it: pip install '{DISTRIBUTION}[{extra}]'",
        )
