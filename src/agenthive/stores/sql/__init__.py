"""SQL in files: one ``.sql`` file for each store, each query below a ``-- name:`` line.

The line above it says in a comment what the query is for. Nothing here builds SQL from values;
values are bound by the caller. To add a query: a comment line, a ``-- name:`` line, the text.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def queries(store: str) -> dict[str, str]:
    """The queries of the file ``{store}.sql``, by name."""
    text = files(__package__).joinpath(f"{store}.sql").read_text(encoding="utf-8")
    queries_by_name: dict[str, str] = {}
    for part in text.split("-- name: ")[1:]:
        name, _, body = part.partition("\n")
        # The comment above the next query's name is at the end of this part.
        lines = [line for line in body.splitlines() if not line.startswith("--")]
        queries_by_name[name.strip()] = "\n".join(lines).strip()
    return queries_by_name
