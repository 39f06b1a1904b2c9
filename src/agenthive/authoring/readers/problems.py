"""Collects the problems of a definition with their places, and raises them as one error.

A problem is one line: ``FILE:LINE:COLUMN: path: what is wrong; what to do``. Messages must not
contain values, which may be secrets: callers pass names of keys and types of values.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final, NoReturn

from agenthive.authoring.readers.nodes import NOWHERE, Place
from agenthive.errors import ConfigurationError

MOST_SHOWN: Final = 20
"""Problems that an error lists; the others are only counted."""
HINT: Final = "Correct this, then check the file with `agenthive validate FILE`."


class Problems:
    """The problems and warnings of one definition.

    ``name`` is its file or another title. ``prefix`` is the path of an embedded definition in the
    outer one; it is put before every path. ``hint`` says what to do about all of them.
    """

    def __init__(self, name: str, prefix: str = "", hint: str = HINT) -> None:
        self.name = name
        self.hint = hint
        self.prefix = prefix
        self.lines: list[str] = []
        self.warnings: list[str] = []
        self.count = 0

    def add(self, place: Place, path: str, message: str) -> None:
        """Add a problem; after the first `MOST_SHOWN` it is only counted."""
        self.count += 1
        if len(self.lines) < MOST_SHOWN:
            self.lines.append(self.format_line(place, path, message))

    def nested_at(self, path: str) -> Problems:
        """A separate list for the definition embedded at ``path``, for `merge`."""
        return Problems(self.name, f"{self.prefix}.{path}" if self.prefix else path)

    def merge(self, other: Problems) -> None:
        """Add the problems and warnings of ``other``."""
        self.count += other.count
        self.lines.extend(other.lines[: max(0, MOST_SHOWN - len(self.lines))])
        self.warnings.extend(other.warnings)

    def suggest_name(self, name: str, known_names: Iterable[str]) -> str:
        """As `did_you_mean`, but empty once problems are only counted: the search is slow."""
        return did_you_mean(name, known_names) if self.count < MOST_SHOWN else ""

    def warn(self, place: Place, path: str, message: str) -> None:
        """Add a warning: something that is accepted but probably not intended."""
        self.warnings.append(self.format_line(place, path, message))

    def format_line(self, place: Place, path: str, message: str) -> str:
        """Format the line of a problem or warning."""
        if self.prefix:
            path = f"{self.prefix}.{path}" if path else self.prefix
        location = self.name if place == NOWHERE else f"{self.name}:{place[0]}:{place[1]}"
        return f"{location}: {path}: {message}" if path else f"{location}: {message}"

    def abort(self, place: Place, path: str, message: str) -> NoReturn:
        """Add a problem after which checking cannot continue, and raise all of them."""
        self.add(place, path, message)
        raise self.build_error()

    def raise_if_any(self) -> None:
        """Raise the problems as one ConfigurationError, if there are any."""
        if self.count:
            raise self.build_error()

    def build_error(self) -> ConfigurationError:
        """Return all problems as one error."""
        if self.count == 1:
            message = self.lines[0]
        else:
            hidden_count = self.count - len(self.lines)
            more_lines = [f"... and {hidden_count} more"] if hidden_count else []
            message = "\n".join([f"{self.name}: {self.count} problems:", *self.lines, *more_lines])
        return ConfigurationError(message, hint=self.hint, problems=tuple(self.lines))


def did_you_mean(name: str, known_names: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` if a known name is similar, else a list of known names."""
    names = list(known_names)
    close = difflib.get_close_matches(name[:128], names[:1000], n=1, cutoff=0.6)
    if close:
        return f" Did you mean {close[0]!r}?"
    return f" Known: {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}." if names else ""
