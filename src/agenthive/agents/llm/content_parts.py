"""The content parts of a message, translated between OpenAI's form and Anthropic's.

Text parts are the same in both. Images have different forms, and either may be written. A cache
mark tells Anthropic that everything before it may be cached; OpenAI caches by itself and refuses
the mark. Parts that this file does not know are passed on unchanged, never refused. To translate
another type: a branch in both functions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

#: The key of Anthropic's cache mark in a part or a tool.
CACHE_MARK: Final = "cache_control"
#: A data URL (RFC 2397) with a base64 body.
_DATA: Final = re.compile(r"data:([\w.+-]+/[\w.+-]+);base64,", re.ASCII)


def for_openai(part: Any) -> Any:
    """A part in OpenAI's form. A part of an unknown type loses only its cache mark."""
    if not isinstance(part, Mapping):
        return part
    source = part.get("source")
    if part.get("type") != "image" or not isinstance(source, Mapping):
        return {name: value for name, value in part.items() if name != CACHE_MARK}
    url = source.get("url") or f"data:{source.get('media_type')};base64,{source.get('data')}"
    return {"type": "image_url", "image_url": {"url": url}}


def for_anthropic(part: Any) -> Any:
    """A part in Anthropic's form. A part of an unknown type stays unchanged."""
    if not isinstance(part, Mapping) or part.get("type") != "image_url":
        return part
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, Mapping) else image
    match = _DATA.match(url) if isinstance(url, str) else None
    source: dict[str, Any] = {"type": "url", "url": url}
    if match is not None:
        assert isinstance(url, str)
        data = url[match.end() :]
        source = {"type": "base64", "media_type": match.group(1), "data": data}
    mark = {CACHE_MARK: part[CACHE_MARK]} if CACHE_MARK in part else {}
    return {"type": "image", "source": source, **mark}
