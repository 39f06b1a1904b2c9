"""Fills in prompts: ``{name}`` is replaced with the value of that name, nothing else changes.

A name is that of a dependency or of an input. A name without a value remains, since braces are
common in prompts; ``{{name}}`` becomes ``{name}``. Results that the prompt does not name are
appended to it. Inserted values are never scanned for names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from agenthive.agents.llm.prompts import text_of

_BRACES: Final = re.compile(r"\{\{([^{}]+)\}\}|\{([^{}]+)\}")


def fill_prompt(template: str, inputs: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    """The prompt with values. ``results`` are those of the agents it depends on."""
    values = {**inputs, **results}
    used: set[str] = set()

    def fill_match(match: re.Match[str]) -> str:
        escaped, name = match.groups()
        if escaped is not None:
            plain = escaped in values or escaped.isidentifier()
            return f"{{{escaped}}}" if plain else match[0]
        if name not in values:
            return match[0]
        used.add(name)
        return text_of(values[name])

    text = _BRACES.sub(fill_match, template)
    unused = [(name, value) for name, value in results.items() if name not in used]
    return "\n\n".join([text, *(f"# Result of {name}\n{text_of(value)}" for name, value in unused)])


def find_unfilled(template: str, values: Mapping[str, Any]) -> list[str]:
    """The names in a prompt that have no value."""
    names = [match[2] for match in _BRACES.finditer(template) if match[2] is not None]
    return list(dict.fromkeys(n for n in names if n.isidentifier() and n not in values))
