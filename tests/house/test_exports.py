"""The public API fits on one screen: sorted, at most 25 names, all there, nothing else public."""

from __future__ import annotations

import types
from collections.abc import Iterable

import agenthive

MOST = 25


def complaints(module: types.ModuleType) -> list[str]:
    """What is wrong with the exports of a package."""
    names = list(getattr(module, "__all__", []))
    found = [] if names == sorted(names) else ["__all__ is not sorted"]
    if len(names) != len(set(names)):
        found.append("__all__ names something twice")
    if len(names) > MOST:
        found.append(f"__all__ has {len(names)} names, at most {MOST}")
    found += [f"{name} is in __all__ but not there" for name in names if not has(module, name)]
    extra = sorted(set(public(module)) - set(names))
    return found + [f"{name} is public but not in __all__" for name in extra]


def has(module: types.ModuleType, name: str) -> bool:
    """Also finds names made at first use."""
    try:
        return getattr(module, name) is not None
    except AttributeError:
        return False


def public(module: types.ModuleType) -> Iterable[str]:
    """What a reader of ``dir`` would take for the API: no submodules, no future features."""
    for name in dir(module):
        value = getattr(module, name)
        foreign = isinstance(value, types.ModuleType) or type(value).__module__ == "__future__"
        if not name.startswith("_") and not foreign:
            yield name


def made(names: list[str], **values: object) -> types.ModuleType:
    module = types.ModuleType("planted")
    module.__all__ = names  # type: ignore[attr-defined]
    vars(module).update(values)
    return module


def test_exports_of_the_house() -> None:
    assert complaints(agenthive) == []


def test_planted_faults_are_caught() -> None:
    assert complaints(made(["a", "b"], a=1, b=2)) == []
    assert complaints(made(["b", "a"], a=1, b=2)) == ["__all__ is not sorted"]
    assert complaints(made(["a", "a"], a=1)) == ["__all__ names something twice"]
    assert complaints(made(["a"], a=1, b=2)) == ["b is public but not in __all__"]
    assert complaints(made(["a"])) == ["a is in __all__ but not there"]
    many = [f"n{number:02}" for number in range(26)]
    assert complaints(made(many, **dict.fromkeys(many, 1))) == ["__all__ has 26 names, at most 25"]
