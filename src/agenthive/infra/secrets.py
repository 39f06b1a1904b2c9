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
        self._values: set[str] = set()
        self._hosts: dict[str, str] = {}
        self._memory: dict[str, str] = {}

    def resolve(self, text: str, host: str = "") -> Secret:
        """``text`` with its references replaced, to be sent to ``host`` only.

        A reference that has been sent to one host is refused for another (EgressRefused).
        Raises ConfigurationError, naming the reference, if it leads nowhere.
        """
        for match in REFERENCE.finditer(text):
            self._bind_host(match[0], host)
        return Secret(REFERENCE.sub(self._resolve_match, text))

    def resolve_allowed(self, text: str, allowed: Collection[str], host: str) -> str:
        """``text`` with the ``allowed`` references replaced, revealed: for the wire only.

        What is not allowed stays as it is: it came in with somebody's data.
        """

        def replace(match: re.Match[str]) -> str:
            is_allowed = match[0] in allowed
            return self.resolve(match[0], host).reveal() if is_allowed else match[0]

        return REFERENCE.sub(replace, text)

    def resolve_value(self, value: T, allowed: Collection[str], host: str) -> T:
        """A JSON value with `resolve_allowed` done to every string inside it."""
        if not allowed:
            return value

        def resolve_part(part: Any) -> Any:
            if isinstance(part, str):
                return self.resolve_allowed(part, allowed, host)
            if isinstance(part, dict):
                return {key: resolve_part(item) for key, item in part.items()}
            return [resolve_part(item) for item in part] if isinstance(part, list) else part

        resolved: T = resolve_part(value)
        return resolved

    def store_literal(self, name: str, value: str) -> str:
        """Move a literal into HOME/secrets (0600) and give the reference to it."""
        if self.folder is None:
            raise ConfigurationError(
                f"the secret '{name}' stands in the definition itself",
                hint="Write ${env:NAME} or ${file:PATH} instead.",
            )
        file_name = re.sub(r"[^A-Za-z0-9_.-]", "_", name).lstrip(".")[:100]
        if file_name != name:
            # Two names may look alike when they are made safe: they are not one secret.
            file_name = f"{file_name}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        try:
            for folder in (self.folder.parent, self.folder):  # the home may not be there yet
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(
                self.folder / file_name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600
            )
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(value)
        except OSError as error:
            raise StoreUnavailable(
                f"the secret '{name}' cannot be kept in {self.folder}: {error.strerror}",
                hint="Write ${env:NAME} or ${file:PATH} instead, or make room.",
            ) from None
        return f"${{secret:{file_name}}}"

    def hold_in_memory(self, name: str, value: str) -> str:
        """Keep a secret in memory only and give the reference to it."""
        self._memory[name] = value
        return f"${{secret:{name}}}"

    def mark_secret(self, text: str) -> str:
        """``text``, which was made of a secret and is scrubbed from now on as well."""
        if len(text) >= SHORTEST_SCRUBBED:
            self._values.add(text)
        return text

    def scrub(self, text: str) -> str:
        """``text`` without any value that was resolved here."""
        for value in sorted(self._values, key=len, reverse=True):
            text = text.replace(value, "***")
        return text

    def stream_scrubber(self) -> StreamScrubber:
        """For a text that comes in pieces, over which a secret may be spread."""
        return StreamScrubber(self)

    @property
    def longest_value(self) -> int:
        """Characters of the longest secret that is scrubbed."""
        return max(map(len, self._values), default=0)

    def scrub_value(self, value: Any) -> Any:
        """`scrub` for every string inside a JSON value."""
        if not self._values:
            return value
        if isinstance(value, str):
            return self.scrub(value)
        if isinstance(value, dict):
            return {self.scrub(key): self.scrub_value(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.scrub_value(item) for item in value]
        return value

    def _bind_host(self, reference: str, host: str) -> None:
        if not host:
            return
        bound_host = self._hosts.setdefault(reference, host)
        if bound_host != host:
            raise EgressRefused(
                f"{reference} belongs to {bound_host} and is not sent to {host}",
                hint="Use a secret of its own for each host.",
            )

    def _resolve_match(self, match: re.Match[str]) -> str:
        return self.mark_secret(self._read_secret(match[1], match[2]))

    def _read_secret(self, kind: str, name: str) -> str:
        if kind == "env":
            # As with files, a line's end is no part of it: no header could carry one.
            value = os.environ.get(name, "").strip("\r\n")
            if not value:
                raise ConfigurationError(
                    f"the environment variable {name} is not set",
                    hint=f"Set it before the run: export {name}=...",
                )
            return value
        if kind == "secret" and name in self._memory:
            return self._memory[name]
        path = Path(name) if kind == "file" else self._secret_path(name)
        try:
            if path.stat().st_size > MAX_SECRET:
                raise ConfigurationError(f"${{{kind}:{name}}} is larger than a secret may be")
            return path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not text"
            raise ConfigurationError(f"${{{kind}:{name}}} cannot be read: {reason}") from None

    def _secret_path(self, name: str) -> Path:
        if self.folder is None or "/" in name or name.startswith("."):
            raise ConfigurationError(f"${{secret:{name}}} leads nowhere: no home, or no such name")
        return self.folder / name


class StreamScrubber:
    """Scrubs a text piece by piece: what may be the beginning of a secret waits for the rest."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._pending = ""

    def feed(self, text: str) -> str:
        """What can be shown by now."""
        self._pending = self._secrets.scrub(self._pending + text)
        safe_length = len(self._pending) - max(0, self._secrets.longest_value - 1)
        shown, self._pending = (
            self._pending[: max(0, safe_length)],
            self._pending[max(0, safe_length) :],
        )
        return shown

    def flush(self) -> str:
        """What is left at the end."""
        pending, self._pending = self._pending, ""
        return pending
