"""Collecting what is wrong, with places, and telling it all at once.

One line a problem: ``FILE:LINE:COLUMN: path: what, why and what to do``. Nothing here may print the
value of a secret; callers pass names and kinds, not values. Raised as one `ConfigurationError`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final, NoReturn

from agenthive.authoring.readers.nodes import NOWHERE, Place
from agenthive.errors import ConfigurationError

MOST_SHOWN: Final = 20
HINT: Final = "Correct the places named, then check with `agenthive validate FILE`."


class Problems:
    """The problems and warnings of one definition. ``name`` is its file or another title.

    ``prefix`` stands before every path: where it is within another one.
    """

    def __init__(self, name: str, prefix: str = "") -> None:
        self.name = name
        self.prefix = prefix
        self.lines: list[str] = []
        self.warnings: list[str] = []
        self.count = 0

    def add(self, place: Place, path: str, message: str) -> None:
        """Note a problem; those after the first twenty are only counted."""
        self.count += 1
        if len(self.lines) < MOST_SHOWN:
            self.lines.append(self.format_line(place, path, message))

    def nested_at(self, path: str) -> Problems:
        """The problems of what stands at ``path`` of this definition, to be taken in later."""
        return Problems(self.name, f"{self.prefix}.{path}" if self.prefix else path)

    def merge(self, other: Problems) -> None:
        """Take in all that was noted elsewhere."""
        self.count += other.count
        self.lines.extend(other.lines[: max(0, MOST_SHOWN - len(self.lines))])
        self.warnings.extend(other.warnings)

    def suggest_name(self, name: str, known_names: Iterable[str]) -> str:
        """As `did_you_mean`, but nothing once no more problems are shown: looking costs time."""
        return did_you_mean(name, known_names) if self.count < MOST_SHOWN else ""

    def warn(self, place: Place, path: str, message: str) -> None:
        """Note something that is accepted but should be known."""
        self.warnings.append(self.format_line(place, path, message))

    def format_line(self, place: Place, path: str, message: str) -> str:
        """A line for one place."""
        if self.prefix:
            path = f"{self.prefix}.{path}" if path else self.prefix
        location = self.name if place == NOWHERE else f"{self.name}:{place[0]}:{place[1]}"
        return f"{location}: {path}: {message}" if path else f"{location}: {message}"

    def abort(self, place: Place, path: str, message: str) -> NoReturn:
        """A problem after which nothing else can be said."""
        self.add(place, path, message)
        raise self.build_error()

    def raise_if_any(self) -> None:
        """Raise what was found, if anything was."""
        if self.count:
            raise self.build_error()

    def build_error(self) -> ConfigurationError:
        """All that was found as one error."""
        if self.count == 1:
            message = self.lines[0]
        else:
            hidden_count = self.count - len(self.lines)
            more_lines = [f"... and {hidden_count} more"] if hidden_count else []
            message = "\n".join([f"{self.name}: {self.count} problems:", *self.lines, *more_lines])
        return ConfigurationError(message, hint=HINT, problems=tuple(self.lines))


def did_you_mean(name: str, known_names: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` if something known is close, else the known names, else nothing."""
    names = list(known_names)
    close = difflib.get_close_matches(name[:128], names[:1000], n=1, cutoff=0.6)
    if close:
        return f" Did you mean {close[0]!r}?"
    return f" Known: {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}." if names else ""
