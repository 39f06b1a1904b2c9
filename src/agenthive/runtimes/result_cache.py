"""Looks up cached results of equal calls for the embedded runtime. The driver fills the cache."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from agenthive.core.engine.call_builder import reply_from_cache
from agenthive.core.journal.store import Store
from agenthive.core.model.calls import Reply
from agenthive.core.values import Micros
from agenthive.errors import StoreCorrupt, StoreUnavailable


def build_cache_lookup(
    store: Store, clock: Callable[[], Micros]
) -> Callable[[str], Awaitable[Reply | None]]:
    """A lookup: cache key -> the cached reply, None if there is none or it cannot be read."""

    async def find_reply(key: str) -> Reply | None:
        try:
            return reply_from_cache(await store.find_cached_result(key), clock())
        except (StoreUnavailable, StoreCorrupt):
            return None

    return find_reply
