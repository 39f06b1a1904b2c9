"""Finds modules by name without importing them: in a folder of agenthive, or in installed packages.

Whatever can be added as one file (an agent kind, a store, a command) is found here, so that no list
has to be edited. Never imports a module that it lists, because a vendor's package may take seconds.
To add another sort of thing: a function that calls `list_modules` with its package.
"""

from __future__ import annotations

import functools
import importlib.util
import pkgutil
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Final

#: The package with the agent kinds, and the entry point group of other packages' kinds.
AGENTS: Final = "agenthive.agents"
#: Kinds whose names in workflow files are not the names of their modules.
NAMED_OTHERWISE: Final = MappingProxyType(
    {
        "ai_agent": "llm.router",
        "mcp_server": "mcp.agent",
        "http_api": "http",
        "custom": "python",
    }
)
#: Modules in that package that are not kinds.
NO_KINDS: Final = frozenset({"base", "faults", "registry", "results"})


@functools.cache
def list_modules(package: str) -> tuple[str, ...]:
    """The modules and packages directly in a package, sorted; those with a leading ``_`` not."""
    spec = importlib.util.find_spec(package)
    folders = None if spec is None else spec.submodule_search_locations
    names = [module.name for module in pkgutil.iter_modules(folders or [])]
    return tuple(sorted(name for name in names if not name.startswith("_")))


@functools.cache
def list_agent_kinds() -> Mapping[str, str]:
    """The kinds of this package: name in workflow files -> module below `AGENTS`.

    A module that is not in `NAMED_OTHERWISE` is the kind of its own name.
    """
    taken = {module.partition(".")[0] for module in NAMED_OTHERWISE.values()} | NO_KINDS
    others = [name for name in list_modules(AGENTS) if name not in taken]
    return MappingProxyType({**NAMED_OTHERWISE, **{name: name for name in others}})


def list_packaged_kinds() -> dict[str, EntryPoint]:
    """The kinds of installed packages, by name.

    An entry point that names a module is a kind; one with an attribute is a custom agent. Slow (it
    reads the metadata of every installed package): call it only for a kind not found otherwise.
    """
    return {entry.name: entry for entry in entry_points(group=AGENTS) if not entry.attr}


def list_packaged_agents() -> dict[str, EntryPoint]:
    """The custom agents of installed packages, by name. As slow as `list_packaged_kinds`."""
    return {entry.name: entry for entry in entry_points(group=AGENTS) if entry.attr}
