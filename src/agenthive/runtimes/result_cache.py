"""Results that are used again for equal calls, as the embedded runtime finds them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from agenthive.core.engine.call_builder import reply_from_cache
from agenthive.core.journal.store import Store
from agenthive.core.model.calls import Reply
from agenthive.core.values import Micros
from agenthive.errors import StoreUnavailable


def build_cache_lookup(
    store: Store, clock: Callable[[], Micros]
) -> Callable[[str], Awaitable[Reply | None]]:
    """Gives the reply that is kept under a key, None if there is none or it cannot be read."""

    async def find_reply(key: str) -> Reply | None:
        try:
            return reply_from_cache(await store.find_cached_result(key), clock())
        except StoreUnavailable:
            return None

    return find_reply
