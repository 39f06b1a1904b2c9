"""Secrets by reference: resolved when they are sent, bound to a host, removed from what returns.

A string may contain the references ``${env:NAME}``, ``${file:PATH}`` and ``${secret:NAME}`` (a file
in HOME/secrets). Three rules protect their values:

* A workflow, the journal and every message hold references; a value exists only in the request that
  needs it. A `Secret` prints as ``***``.
* A reference is bound to the first host that it was sent to, and refused for any other.
* Only references that the definition itself contains are resolved. One that arrives with data (the
  result of another task, a reply of a model) stays a text.

As the last line of defence, agents pass every result and error through `Secrets.scrub_value` or
`Secrets.scrub`, in case the other side sent a secret back. Never rely on that: never put a resolved
value into a message, a log line or a result.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, Final, TypeVar

from agenthive.errors import ConfigurationError, EgressRefused, SecretMissing, StoreUnavailable

T = TypeVar("T")

REFERENCE: Final = re.compile(r"\$\{(env|file|secret):([^}]{1,512})\}")
#: Bytes of a file that holds a secret.
MAX_SECRET: Final = 64 * 1024
#: Characters. Shorter values are not scrubbed, because they occur in ordinary text.
SHORTEST_SCRUBBED: Final = 6


class Secret:
    """A secret string, which prints as ``***``. `reveal` returns it, only to be sent."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__


class Secrets:
    """Resolves references. ``folder`` is HOME/secrets, where ``${secret:NAME}`` is looked up."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        #: Every value that was resolved here or derived from one; `scrub` removes them.
        self._values: set[str] = set()
        #: Reference -> the host that it is bound to.
        self._hosts: dict[str, str] = {}
        #: Name -> value, of secrets that are kept in memory only.
        self._memory: dict[str, str] = {}

    def resolve(self, text: str, host: str = "") -> Secret:
        """``text`` with its references replaced by their values, to be sent to ``host`` only.

        Without a ``host`` the references are not bound to one. Raises EgressRefused for a reference
        that is bound to another host, and ConfigurationError, which names the reference, if its
        value cannot be read.
        """
        for match in REFERENCE.finditer(text):
            self._bind_host(match[0], host)
        return Secret(REFERENCE.sub(self._resolve_match, text))

    def resolve_allowed(self, text: str, allowed: Collection[str], host: str) -> str:
        """``text`` with the ``allowed`` references replaced by their values, only to be sent.

        Any other reference stays a text: it arrived with data and not with the definition. Raises
        as `resolve`.
        """

        def replace(match: re.Match[str]) -> str:
            is_allowed = match[0] in allowed
            return self.resolve(match[0], host).reveal() if is_allowed else match[0]

        return REFERENCE.sub(replace, text)

    def resolve_value(self, value: T, allowed: Collection[str], host: str) -> T:
        """A JSON value with `resolve_allowed` applied to every string in it."""
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
        """Write a literal secret into HOME/secrets (mode 0600), and return a reference to it.

        Raises ConfigurationError without a home, and StoreUnavailable if it cannot be written.
        """
        if self.folder is None:
            raise ConfigurationError(
                f"the definition contains the value of the secret '{name}', and there is no home "
                "to move it to",
                hint="Write ${env:NAME} or ${file:PATH} instead.",
            )
        file_name = re.sub(r"[^A-Za-z0-9_.-]", "_", name).lstrip(".")[:100]
        if file_name != name:
            # Different names may have the same safe form; the hash keeps their files apart.
            file_name = f"{file_name}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        try:
            for folder in (self.folder.parent, self.folder):  # The home may not exist yet.
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(
                self.folder / file_name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600
            )
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(value)
        except OSError as error:
            raise StoreUnavailable(
                f"the secret '{name}' cannot be written to {self.folder}: {error.strerror}",
                hint="Write ${env:NAME} or ${file:PATH} in the definition instead, or make the "
                "folder writable.",
            ) from None
        return f"${{secret:{file_name}}}"

    def hold_in_memory(self, name: str, value: str) -> str:
        """Keep a secret in memory only, and return a reference to it."""
        self._memory[name] = value
        return f"${{secret:{name}}}"

    def mark_secret(self, text: str) -> str:
        """Scrub ``text``, which was derived from a secret, from now on; returns it."""
        if len(text) >= SHORTEST_SCRUBBED:
            self._values.add(text)
        return text

    def scrub(self, text: str) -> str:
        """``text`` with ``***`` in place of every value that was resolved here."""
        # The longest first: one secret may contain another, whose removal would leave a rest.
        for value in sorted(self._values, key=len, reverse=True):
            text = text.replace(value, "***")
        return text

    def stream_scrubber(self) -> StreamScrubber:
        """A scrubber for a text that arrives in parts, across which a secret may be split."""
        return StreamScrubber(self)

    @property
    def longest_value(self) -> int:
        """Characters of the longest value that is scrubbed."""
        return max(map(len, self._values), default=0)

    def scrub_value(self, value: Any) -> Any:
        """A JSON value with `scrub` applied to every string in it, and to every key.

        Keys that become equal are numbered (``***``, ``*** (2)``), so that no value is lost.
        """
        if not self._values:
            return value
        if isinstance(value, str):
            return self.scrub(value)
        if isinstance(value, dict):
            names = self._scrub_keys(value)
            return {
                name: self.scrub_value(item)
                for name, item in zip(names, value.values(), strict=True)
            }
        if isinstance(value, list):
            return [self.scrub_value(item) for item in value]
        return value

    def _scrub_keys(self, keys: Iterable[str]) -> list[str]:
        """The keys without secrets, all different; a key that holds no secret stays as it is."""
        pairs = [(key, self.scrub(key)) for key in keys]
        taken = {key for key, name in pairs if key == name}
        counts: dict[str, int] = {}
        names = []
        for key, base in pairs:
            name = base
            while key != base and name in taken:
                counts[base] = counts.get(base, 1) + 1
                name = f"{base} ({counts[base]})"
            taken.add(name)
            names.append(name)
        return names

    def _bind_host(self, reference: str, host: str) -> None:
        if not host:
            return
        bound_host = self._hosts.setdefault(reference, host)
        if bound_host != host:
            raise EgressRefused(
                f"{reference} was first sent to {bound_host} and must not be sent to {host}",
                hint="Use a separate secret for each host.",
            )

    def _resolve_match(self, match: re.Match[str]) -> str:
        return self.mark_secret(self._read_secret(match[1], match[2]))

    def _read_secret(self, kind: str, name: str) -> str:
        if kind == "env":
            # As with files, a line break at the end is removed: no header could contain it.
            value = os.environ.get(name, "").strip("\r\n")
            if not value:
                raise SecretMissing(
                    f"the environment variable {name} is not set",
                    hint=f"Set it before the run: export {name}=VALUE",
                )
            return value
        if kind == "secret" and name in self._memory:
            return self._memory[name]
        path = Path(name) if kind == "file" else self._secret_path(name)
        try:
            if path.stat().st_size > MAX_SECRET:
                raise ConfigurationError(
                    f"${{{kind}:{name}}} is larger than {MAX_SECRET:,} bytes, the most a secret "
                    "may have"
                )
            return path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise SecretMissing(
                f"${{{kind}:{name}}} cannot be read: {reason}",
                hint="Write the secret into that file, readable by the user that runs agenthive.",
            ) from None

    def _secret_path(self, name: str) -> Path:
        if self.folder is None or "/" in name or name.startswith("."):
            raise ConfigurationError(
                f"${{secret:{name}}} cannot be looked up: there is no home, or the name is not "
                "that of a file in HOME/secrets",
                hint="Use ${env:NAME} or ${file:PATH} where there is no home.",
            )
        return self.folder / name


class StreamScrubber:
    """Scrubs a text that arrives in parts.

    The last characters are held back: a secret may begin in them and continue in the next part.
    """

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._pending = ""

    def feed(self, text: str) -> str:
        """Add a part, and return the text that can be shown by now."""
        self._pending = self._secrets.scrub(self._pending + text)
        safe_length = len(self._pending) - max(0, self._secrets.longest_value - 1)
        shown, self._pending = (
            self._pending[: max(0, safe_length)],
            self._pending[max(0, safe_length) :],
        )
        return shown

    def flush(self) -> str:
        """The rest of the text, when no part follows."""
        pending, self._pending = self._pending, ""
        return pending
