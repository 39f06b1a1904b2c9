"""What the tests of document B share: its blocks, a client that says what it is told, a clock."""

from __future__ import annotations

import asyncio
import heapq
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agenthive.core.policies.rate_limit import SECOND
from agenthive.facades.orchestration import (
    Agent,
    EngineConfig,
    LLMClient,
    LLMResponse,
    OrchestrationEngine,
    RateLimitConfig,
    RetryPolicy,
    Workflow,
)

DOCUMENT = Path(__file__).parent / "B-orchestration-engine-api.md"
ROOMY = RateLimitConfig(100_000, 1_000_000, 10_000_000, 100_000_000, 1000)
"""A rate limit that is in nobody's way."""
AT_ONCE = RetryPolicy(base_delay=0.0)


def blocks() -> list[str]:
    """Every Python block of the document, in order."""
    text = DOCUMENT.read_text(encoding="utf-8")
    return [m[1] for m in re.finditer(r"```python\n(.*?)```", text, flags=re.DOTALL)]


def block(holds: str) -> str:
    """The one block that holds a text."""
    found = [one for one in blocks() if holds in one]
    assert len(found) == 1, f"{len(found)} blocks hold {holds!r}"
    return found[0]


class FakeClient(LLMClient):
    """Answers at once, or as ``answer`` says; counts who asks at the same time.

    An answer is a text, which takes ``tokens`` (in, out), an exception to raise, or a response.
    """

    def __init__(
        self,
        answer: Callable[[str], Any] = lambda prompt: f"done: {prompt}",
        tokens: tuple[int, int] = (100, 50),
        delay: float = 0.0,
    ) -> None:
        self.answer, self.tokens, self.delay = answer, tokens, delay
        self.asked: list[dict[str, Any]] = []
        self.at_once = self.most_at_once = self.closed = 0

    @property
    def prompts(self) -> list[str]:
        return [one["prompt"] for one in self.asked]

    async def complete(
        self,
        prompt: str,
        model: str,
        temperature: float | None = 0.7,
        max_tokens: int = 1000,
        tools: list[dict[str, Any]] | None = None,
        **kwargs: Any,
    ) -> LLMResponse:
        asked = {"prompt": prompt, "model": model, "temperature": temperature}
        self.asked.append({**asked, "max_tokens": max_tokens, "tools": tools, **kwargs})
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.delay)
            given = self.answer(prompt)
        finally:
            self.at_once -= 1
        if isinstance(given, BaseException):
            raise given
        if isinstance(given, str):
            return LLMResponse(given, model, *self.tokens, "stop")
        return given  # type: ignore[no-any-return]

    async def close(self) -> None:
        self.closed += 1


def agent(name: str = "a", prompt: str = "", **more: Any) -> Agent:
    """An agent with what a test does not care about filled in."""
    config = {"model": "gpt-4", **more.pop("llm_config", {})}
    more.setdefault("module", "General")
    return Agent(name, more.pop("module"), f"does {name}", config, prompt or f"do {name}", **more)


def workflow(*agents: Agent, **more: Any) -> Workflow:
    """A workflow of these agents."""
    return Workflow(more.pop("name", "w"), "a workflow", list(agents), **more)


def engine(client: LLMClient | None = None, **more: Any) -> OrchestrationEngine:
    """An engine that neither waits between tries nor for a rate limit."""
    given = {key: more.pop(key) for key in ("hive", "name") if key in more}
    config = {"rate_limit_config": ROOMY, "default_retry_policy": AT_ONCE, **more}
    return OrchestrationEngine(client or FakeClient(), EngineConfig(**config), **given)


async def executed(client: LLMClient, flow: Workflow, **more: Any) -> Workflow:
    """The workflow, done by an engine of its own."""
    one = engine(client, **more)
    try:
        return await one.execute_workflow(await one.register_workflow(flow))
    finally:
        await one.shutdown()


class Timeline:
    """Time that a test moves: ``clock`` and ``later`` of a rate limiter."""

    def __init__(self) -> None:
        self.now = 1_000 * SECOND
        self._due: list[tuple[int, int, Alarm]] = []
        self._number = 0

    def clock(self) -> int:
        return self.now

    def later(self, seconds: float, act: Callable[[], None]) -> Alarm:
        alarm = Alarm(act)
        self._number += 1
        # A timer of a loop never comes early; rounding must not make this one.
        at = self.now + round(seconds * SECOND) + 1
        heapq.heappush(self._due, (at, self._number, alarm))
        return alarm

    @property
    def armed(self) -> int:
        """The timers that are set."""
        return sum(alarm.armed for _, _, alarm in self._due)

    async def advance(self, seconds: float) -> None:
        end = self.now + round(seconds * SECOND)
        await settle()
        while self._due and self._due[0][0] <= end:
            self.now, _, alarm = heapq.heappop(self._due)
            alarm.ring()
            await settle()
        self.now = end


class Alarm:
    """One timer."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act: Callable[[], None] | None = act

    @property
    def armed(self) -> bool:
        return self._act is not None

    def cancel(self) -> None:
        self._act = None

    def ring(self) -> None:
        if self._act is not None:
            self._act()


async def settle() -> None:
    """Let everybody who can go on do so."""
    for _ in range(5):
        await asyncio.sleep(0)
