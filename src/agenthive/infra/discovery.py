"""Finds modules by name, without importing one.

What can be added in a file of its own (stores, for example) is found here, so that no list has to
be edited. Never imports what it lists: a vendor's package may take seconds.
"""

from __future__ import annotations

import functools
import importlib.util
import pkgutil


@functools.cache
def list_modules(package: str) -> tuple[str, ...]:
    """The modules and packages directly in a package, sorted; those with a leading ``_`` aside."""
    spec = importlib.util.find_spec(package)
    folders = None if spec is None else spec.submodule_search_locations
    names = [module.name for module in pkgutil.iter_modules(folders or [])]
    return tuple(sorted(name for name in names if not name.startswith("_")))
