"""Pins agenthive-compat to the agenthive-workflows of the same version.

The names are those of one version of the package, so the two are installed together or not at all.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

VERSION = re.compile(r'^__version__ = "(.+)"$', re.MULTILINE)


class VersionHook(MetadataHookInterface):
    """Reads the version where agenthive has it."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        """Fill in the version and the dependency."""
        module = Path(self.root).parent / "src" / "agenthive" / "__init__.py"
        match = VERSION.search(module.read_text("utf-8"))
        if match is None:
            raise ValueError(f"{module} has no line __version__ = ...")
        metadata["version"] = match[1]
        metadata["dependencies"] = [f"agenthive-workflows=={match[1]}"]
