"""aimock, a server of others that plays OpenAI and Anthropic, and writes down every call it gets.

It runs as a process of its own on a loopback port. A test asks under an id of its own (the header
``X-Test-Id``), so that answers in a sequence and the journal are its own.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.error import URLError

from agenthive.core.model.workflow import AgentSpec
from tests.requires import NODE

FIXTURES: Final = Path(__file__).with_name("aimock.json")
MODELS: Final = {"openai": "gpt-4o", "anthropic": "claude-sonnet-4-5"}
"""Vendor -> a model of its that has a price."""


class Aimock:
    """A running aimock."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def spec(self, vendor: str, test: str, **more: Any) -> AgentSpec:
        """An agent that asks it, as if it were that vendor."""
        headers = {"X-Test-Id": test, **more.pop("headers", {})}
        custom = {"provider": vendor, "prices": vendor, "model": MODELS[vendor], "headers": headers}
        custom |= more.pop("custom_params", {})
        more.setdefault("endpoint", self.url)
        more.setdefault("name", "model")
        return AgentSpec(type="ai_agent", custom_params=custom, **more)

    def journal(self, test: str) -> list[dict[str, Any]]:
        """The calls that came in under an id, oldest first."""
        found: Any = self._get(f"/__aimock/journal?testId={test}")
        return list(found)

    def ready(self) -> bool:
        try:
            self._get("/ready")
        except (URLError, ConnectionError):
            return False
        return True

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return json.loads(answer.read())


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def serving(fixtures: Path = FIXTURES) -> Iterator[Aimock]:
    """aimock, ready to be asked; killed at the end."""
    port = free_port()
    command = [str(NODE / "llmock"), "-p", str(port), "-f", str(fixtures), "--log-level", "silent"]
    nothing = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=nothing, stderr=nothing)
    mock = Aimock(port)
    try:
        end = time.monotonic() + 20
        while not mock.ready():
            assert time.monotonic() < end, "aimock did not start"
            assert process.poll() is None, "aimock ended"
            time.sleep(0.05)
        yield mock
    finally:
        process.kill()
        process.wait()
