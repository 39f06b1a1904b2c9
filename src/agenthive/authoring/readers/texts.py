"""Iterates over the texts inside a node, with their paths and places."""

from __future__ import annotations

from collections.abc import Iterator

from agenthive.authoring.readers.nodes import SourceNode


def walk_texts(node: SourceNode, path: str) -> Iterator[tuple[str, SourceNode, str]]:
    """Yield the path, the node and the value of every text in ``node``."""
    value = node.value
    if isinstance(value, str):
        yield path, node, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from walk_texts(item, f"{path}.{key}")
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from walk_texts(item, f"{path}[{i}]")
