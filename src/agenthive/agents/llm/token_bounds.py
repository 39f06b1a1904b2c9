"""The worst case of a question to a model: how many tokens it can be at most, before it is asked.

No tokenizer is needed for a bound: a byte-level vocabulary has no token of less than a byte (R.
Sennrich et al., "Neural machine translation of rare words with subword units", ACL 2016; byte-level
since GPT-2), so a text has at most as many tokens as bytes. It is about four times too high for
prose. What a vendor adds by itself is allowed for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

AROUND: Final = 64
"""Tokens that a vendor may add to any question."""
PER_MESSAGE: Final = 16
FOR_TOOLS: Final = 1500
"""Tokens that a vendor may say about tools, or about the form of an answer."""
PER_IMAGE: Final = 40_000
"""Tokens that an image may count as, wherever it is."""
LONGEST_SECRET: Final = 4096
"""Bytes that a reference to a secret may stand for."""


def max_input_tokens(body: Mapping[str, Any], references: int = 0) -> int:
    """At most so many tokens of input has a request with this body."""
    text = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
    messages = body.get("messages")
    count = len(messages) if isinstance(messages, list) else 0
    is_structured = any(body.get(key) for key in ("tools", "response_format", "output_config"))
    return (
        len(text)
        + AROUND
        + PER_MESSAGE * count
        + FOR_TOOLS * is_structured
        + PER_IMAGE * _count_files(messages)
        + LONGEST_SECRET * references
    )


def _count_files(value: Any) -> int:
    """How many parts of messages are images or other files."""
    if isinstance(value, list):
        return sum(map(_count_files, value))
    if not isinstance(value, Mapping):
        return 0
    kind = value.get("type")
    is_file = isinstance(kind, str) and kind in _FILES
    return is_file + sum(_count_files(inner) for inner in value.values())


_FILES: Final = ("image", "image_url", "input_image", "file", "document", "input_audio")
