"""Secrets by reference: resolved at the last moment, bound to a host, scrubbed from answers.

``${env:NAME}``, ``${file:PATH}`` and ``${secret:NAME}`` (a file in HOME/secrets) may stand inside
any string. A `Secret` shows itself as ``***``. Never put a resolved value into a message, a log
or a result: `Secrets.scrub` is the last net, not the plan.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final, TypeVar

from agenthive.errors import ConfigurationError, EgressRefused, StoreUnavailable

T = TypeVar("T")

REFERENCE: Final = re.compile(r"\$\{(env|file|secret):([^}]{1,512})\}")
MAX_SECRET: Final = 64 * 1024
SHORTEST_SCRUBBED: Final = 6
"""Shorter values are not scrubbed: they would turn ordinary text into stars."""


class Secret:
    """A string that does not show itself. ``reveal`` gives it, for the wire only."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__


class Secrets:
    """Resolves references. ``folder`` is HOME/secrets, where ``${secret:NAME}`` looks."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._seen: set[str] = set()
        self._hosts: dict[str, str] = {}
        self._held: dict[str, str] = {}

    def resolve(self, text: str, host: str = "") -> Secret:
        """``text`` with its references replaced, to be sent to ``host`` only.

        A reference that has been sent to one host is refused for another (EgressRefused).
        Raises ConfigurationError, naming the reference, if it leads nowhere.
        """
        for match in REFERENCE.finditer(text):
            self._bind(match[0], host)
        return Secret(REFERENCE.sub(self._replace, text))

    def resolve_some(self, text: str, allowed: Collection[str], host: str) -> str:
        """``text`` with the ``allowed`` references replaced, revealed: for the wire only.

        What is not allowed stays as it is: it came in with somebody's data.
        """

        def replace(match: re.Match[str]) -> str:
            known = match[0] in allowed
            return self.resolve(match[0], host).reveal() if known else match[0]

        return REFERENCE.sub(replace, text)

    def resolve_within(self, value: T, allowed: Collection[str], host: str) -> T:
        """A JSON value with `resolve_some` done to every string inside it."""
        if not allowed:
            return value

        def filled(part: Any) -> Any:
            if isinstance(part, str):
                return self.resolve_some(part, allowed, host)
            if isinstance(part, dict):
                return {key: filled(item) for key, item in part.items()}
            return [filled(item) for item in part] if isinstance(part, list) else part

        found: T = filled(value)
        return found

    def keep(self, name: str, value: str) -> str:
        """Move a literal into HOME/secrets (0600) and give the reference to it."""
        if self.folder is None:
            raise ConfigurationError(
                f"the secret '{name}' stands in the definition itself",
                hint="Write ${env:NAME} or ${file:PATH} instead.",
            )
        safe = re.sub(r"[^A-Za-z0-9_.-]", "_", name).lstrip(".")[:100]
        if safe != name:
            # Two names may look alike when they are made safe: they are not one secret.
            safe = f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        try:
            for folder in (self.folder.parent, self.folder):  # the home may not be there yet
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            target = os.open(self.folder / safe, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
            with os.fdopen(target, "w", encoding="utf-8") as file:
                file.write(value)
        except OSError as error:
            raise StoreUnavailable(
                f"the secret '{name}' cannot be kept in {self.folder}: {error.strerror}",
                hint="Write ${env:NAME} or ${file:PATH} instead, or make room.",
            ) from None
        return f"${{secret:{safe}}}"

    def hold(self, name: str, value: str) -> str:
        """Keep a secret in memory only and give the reference to it."""
        self._held[name] = value
        return f"${{secret:{name}}}"

    def hide(self, text: str) -> str:
        """``text``, which was made of a secret and is scrubbed from now on as well."""
        if len(text) >= SHORTEST_SCRUBBED:
            self._seen.add(text)
        return text

    def scrub(self, text: str) -> str:
        """``text`` without any value that was resolved here."""
        for value in sorted(self._seen, key=len, reverse=True):
            text = text.replace(value, "***")
        return text

    def in_pieces(self) -> Pieces:
        """For a text that comes in pieces, over which a secret may be spread."""
        return Pieces(self)

    @property
    def longest(self) -> int:
        """Characters of the longest secret that is scrubbed."""
        return max(map(len, self._seen), default=0)

    def scrub_all(self, value: Any) -> Any:
        """`scrub` for every string inside a JSON value."""
        if not self._seen:
            return value
        if isinstance(value, str):
            return self.scrub(value)
        if isinstance(value, dict):
            return {self.scrub(key): self.scrub_all(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.scrub_all(item) for item in value]
        return value

    def _bind(self, reference: str, host: str) -> None:
        if not host:
            return
        bound = self._hosts.setdefault(reference, host)
        if bound != host:
            raise EgressRefused(
                f"{reference} belongs to {bound} and is not sent to {host}",
                hint="Use a secret of its own for each host.",
            )

    def _replace(self, match: re.Match[str]) -> str:
        return self.hide(self._look_up(match[1], match[2]))

    def _look_up(self, kind: str, name: str) -> str:
        if kind == "env":
            # As with files, a line's end is no part of it: no header could carry one.
            value = os.environ.get(name, "").strip("\r\n")
            if not value:
                raise ConfigurationError(
                    f"the environment variable {name} is not set",
                    hint=f"Set it before the run: export {name}=...",
                )
            return value
        if kind == "secret" and name in self._held:
            return self._held[name]
        path = Path(name) if kind == "file" else self._in_folder(name)
        try:
            if path.stat().st_size > MAX_SECRET:
                raise ConfigurationError(f"${{{kind}:{name}}} is larger than a secret may be")
            return path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not text"
            raise ConfigurationError(f"${{{kind}:{name}}} cannot be read: {reason}") from None

    def _in_folder(self, name: str) -> Path:
        if self.folder is None or "/" in name or name.startswith("."):
            raise ConfigurationError(f"${{secret:{name}}} leads nowhere: no home, or no such name")
        return self.folder / name


class Pieces:
    """Scrubs a text piece by piece: what may be the beginning of a secret waits for the rest."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._kept = ""

    def scrubbed(self, text: str) -> str:
        """What can be shown by now."""
        self._kept = self._secrets.scrub(self._kept + text)
        sure = len(self._kept) - max(0, self._secrets.longest - 1)
        shown, self._kept = self._kept[: max(0, sure)], self._kept[max(0, sure) :]
        return shown

    def rest(self) -> str:
        """What is left at the end."""
        rest, self._kept = self._kept, ""
        return rest
