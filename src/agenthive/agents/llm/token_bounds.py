"""An upper bound of the input tokens of a request, before it is sent.

A bound needs no tokenizer: no token of a byte-level vocabulary is shorter than a byte (R. Sennrich
et al., "Neural machine translation of rare words with subword units", ACL 2016; byte-level since
GPT-2), so a text has at most as many tokens as bytes. Some vocabularies write compatibility
characters out first (Unicode NFKC makes 33 bytes of the 3 of U+FDFA): the longer of both counts.
For English prose the bound is about four times the actual count. To it are added allowances for
what a vendor adds by itself:

    bytes of the body + AROUND + PER_MESSAGE x messages + FOR_TOOLS (if structured)
    + PER_IMAGE x files + LONGEST_SECRET x references to secrets

Nothing here estimates: for a typical size see `base.ChatAgent.estimate_tokens`.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from typing import Any, Final

#: Tokens that a vendor may add to any request.
AROUND: Final = 64
#: Tokens that a vendor may add to each message, to mark its role and its end.
PER_MESSAGE: Final = 16
#: Tokens of the instructions that a vendor adds for tools, or for the form of a reply.
FOR_TOOLS: Final = 1500
#: Tokens that an image or another file may count as; its data may be at an address.
PER_IMAGE: Final = 50_000
#: Bytes of a secret that replaces a reference; the body is measured with the references in it.
LONGEST_SECRET: Final = 4096


def max_input_tokens(body: Mapping[str, Any], references: int = 0) -> int:
    """The most input tokens that a request with this body can have.

    ``references`` is the number of references to secrets in it.
    """
    text = json.dumps(body, ensure_ascii=False)
    messages = body.get("messages")
    count = len(messages) if isinstance(messages, list) else 0
    is_structured = any(
        body.get(key) for key in ("tools", "functions", "response_format", "output_config")
    )
    return (
        _count_bytes(text)
        + AROUND
        + PER_MESSAGE * count
        + FOR_TOOLS * is_structured
        + PER_IMAGE * (_count_files(messages) + _count_files(body.get("system")))
        + LONGEST_SECRET * references
    )


def _count_bytes(text: str) -> int:
    """Bytes of a text, or of its compatibility form if that is longer."""
    if text.isascii():
        return len(text)
    forms = (text, unicodedata.normalize("NFKC", text))
    return max([len(form.encode("utf-8", "replace")) for form in forms])


def _count_files(value: Any) -> int:
    """The number of images and other files in messages."""
    if isinstance(value, list):
        return sum(map(_count_files, value))
    if not isinstance(value, Mapping):
        return 0
    kind = value.get("type")
    is_file = isinstance(kind, str) and kind in _FILES
    return is_file + sum(_count_files(inner) for inner in value.values())


#: Types of content parts that are files.
_FILES: Final = ("image", "image_url", "input_image", "file", "document", "input_audio")
