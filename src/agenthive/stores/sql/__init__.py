"""SQL in files, by name: one ``.sql`` file a store, each query under a ``-- name:`` line.

Nothing here builds SQL from values. To add a query: a name, the text, done.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def queries(store: str) -> dict[str, str]:
    """The queries of ``store`` by name."""
    text = files(__package__).joinpath(f"{store}.sql").read_text(encoding="utf-8")
    found: dict[str, str] = {}
    for part in text.split("-- name: ")[1:]:
        name, _, body = part.partition("\n")
        found[name.strip()] = body.strip()
    return found
