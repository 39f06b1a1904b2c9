"""Finds modules by name, without importing one: in a folder of the package, or in other packages.

What can be added in a file of its own (agent kinds, stores, commands) is found here, so that no
list has to be edited. Never imports what it lists: a vendor's package may take seconds.
"""

from __future__ import annotations

import functools
import importlib.util
import pkgutil
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Final

AGENTS: Final = "agenthive.agents"
"""The package with the agent kinds, and the entry point group of other packages' kinds."""
NAMED_OTHERWISE: Final = MappingProxyType(
    {
        "ai_agent": "llm.router",
        "mcp_server": "mcp.agent",
        "http_api": "http",
        "custom": "python",
    }
)
"""Kinds whose names in workflow files are not the names of their modules."""
NO_KINDS: Final = frozenset({"base", "registry"})
"""Modules beside the kinds that are none."""


@functools.cache
def list_modules(package: str) -> tuple[str, ...]:
    """The modules and packages directly in a package, sorted; those with a leading ``_`` aside."""
    spec = importlib.util.find_spec(package)
    folders = None if spec is None else spec.submodule_search_locations
    names = [module.name for module in pkgutil.iter_modules(folders or [])]
    return tuple(sorted(name for name in names if not name.startswith("_")))


@functools.cache
def list_agent_kinds() -> Mapping[str, str]:
    """The kinds of this package: name in workflow files -> module, for example ``http``.

    A module in the folder ``agents`` is the kind of its own name.
    """
    taken = {module.partition(".")[0] for module in NAMED_OTHERWISE.values()} | NO_KINDS
    others = [name for name in list_modules(AGENTS) if name not in taken]
    return MappingProxyType({**NAMED_OTHERWISE, **{name: name for name in others}})


def list_packaged_kinds() -> dict[str, EntryPoint]:
    """The kinds that installed packages bring. Slow: call it only for a kind not known otherwise.

    An entry point that names a module is a kind; one with an attribute is a custom agent.
    """
    return {entry.name: entry for entry in entry_points(group=AGENTS) if not entry.attr}


def list_packaged_agents() -> dict[str, EntryPoint]:
    """The custom agents that installed packages bring, by name. Slow, as the kinds."""
    return {entry.name: entry for entry in entry_points(group=AGENTS) if entry.attr}
