"""The parts of a message that are more than text: each vendor's way to write them, and the other's.

Text parts are alike. Images may be written as OpenAI or as Anthropic writes them. A mark that says
where a vendor may cache what stands before it is Anthropic's; OpenAI caches without being told.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

CACHE_MARK: Final = "cache_control"
_DATA: Final = re.compile(r"data:([\w.+-]+/[\w.+-]+);base64,", re.ASCII)


def for_openai(part: Any) -> Any:
    """A part as OpenAI writes it; what is not known stays as it is."""
    if not isinstance(part, Mapping):
        return part
    source = part.get("source")
    if part.get("type") != "image" or not isinstance(source, Mapping):
        return {name: value for name, value in part.items() if name != CACHE_MARK}
    url = source.get("url") or f"data:{source.get('media_type')};base64,{source.get('data')}"
    return {"type": "image_url", "image_url": {"url": url}}


def for_anthropic(part: Any) -> Any:
    """A part as Anthropic writes it; what is not known stays as it is."""
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
