"""Opens the store that a URL or a folder names.

    memory:         a store in the memory of this process
    FOLDER          a home: a folder with a journal in SQLite, a lock, secrets and a control socket
    sqlite:FOLDER   the same
    NAME:PLACE      the store in the file `stores/NAME.py`, at a place that it understands

A text that begins with two or more characters and a colon is a URL, and an unknown scheme is an
error: a misspelt URL must not become a folder in which the journal is then looked for in vain. One
letter and a colon is a drive of Windows, hence a path. Nothing here creates a file. To add a store:
a file in `stores/` with a function ``open_store(place, *, owner)``.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, cast

from agenthive.core.journal.store import Store
from agenthive.errors import ConfigurationError
from agenthive.infra.discovery import list_modules
from agenthive.infra.home import Home
from agenthive.queries.journal_reader import JournalReader
from agenthive.stores.journal_file import has_log

MEMORY: Final = "memory:"
HOME_SCHEME: Final = "sqlite"
"""The scheme of homes; a text without a scheme is one, too."""
STORES: Final = "agenthive.stores"
"""The package whose modules are stores, each under the scheme that is its name."""
HOW_TO: Final = "docs/howto/add-a-store-or-runtime.md"
_SCHEME: Final = re.compile(r"([a-z][a-z0-9+._-]+):", re.IGNORECASE)

StoreOpener = Callable[..., Store]


def read_scheme(text: str) -> str:
    """The scheme that a text begins with, in lower case; empty if the text is a path."""
    match = _SCHEME.match(text)
    return "" if match is None else match[1].lower()


def locate_store(url: str | Path) -> tuple[Home | None, str]:
    """The home at ``url``, or None and the URL of a store that needs no home.

    A `Path` is always a folder, whatever its name. Raises ConfigurationError for a URL whose scheme
    is not known.
    """
    scheme = "" if isinstance(url, Path) else read_scheme(url)
    if not scheme:
        return Home(Path(url)), ""
    place = str(url).partition(":")[2]
    if scheme == HOME_SCHEME:
        return Home(_home_folder(str(url), place)), ""
    _load_opener(scheme)
    return None, f"{scheme}:{place}"


def open_store(home: Home | None, url: str = MEMORY, *, owner: bool) -> Store:
    """The store of ``home``, or of ``url`` if there is no home.

    ``owner`` is whether the caller writes; a reader leaves the files as they are. Raises
    ConfigurationError if the scheme of the URL is not known, StoreUnavailable or StoreFailed if the
    journal cannot be opened.
    """
    if home is not None:
        from agenthive.stores.sqlite import SqliteStore

        home.check_path()
        return SqliteStore.open(home.journal, preallocate=owner)
    scheme, _, place = url.partition(":")
    return _load_opener(scheme)(place, owner=owner)


@asynccontextmanager
async def open_journal(home: Path) -> AsyncIterator[JournalReader]:
    """The journal of the home at a folder, for reading only; empty if there is no journal.

        async with open_journal(Path("my-home")) as journal:
            rows = await journal.list_runs()

    Works beside the process that owns the home, and creates nothing on disk. Raises
    StoreUnavailable or StoreFailed if the journal cannot be opened.
    """
    located = Home(home)
    located.check_path()
    has_files = located.journal.exists() or has_log(located.journal)
    store = open_store(located if has_files else None, owner=False)
    try:
        yield JournalReader(store)
    finally:
        await store.close()


def _home_folder(url: str, place: str) -> Path:
    if not place or place.startswith("//"):
        raise ConfigurationError(f"'{url}' names no folder", hint="Write sqlite:FOLDER.")
    return Path(place)


def _load_opener(scheme: str) -> StoreOpener:
    opener = _find_opener(scheme) if scheme in list_modules(STORES) else None
    if opener is None:
        raise ConfigurationError(
            f"there is no store '{scheme}:'; known are {', '.join(_list_schemes())}",
            hint="For a folder whose name has a colon, write ./NAME or pass a Path. "
            f"To add a store, see {HOW_TO}.",
        )
    return opener


def _find_opener(module: str) -> StoreOpener | None:
    """``open_store`` of a module in `stores/`; not every module there is a store."""
    opener = getattr(importlib.import_module(f"{STORES}.{module}"), "open_store", None)
    return cast("StoreOpener | None", opener)


def _list_schemes() -> list[str]:
    stores = {module for module in list_modules(STORES) if _find_opener(module) is not None}
    return [f"{scheme}:" for scheme in sorted({HOME_SCHEME, *stores})]
