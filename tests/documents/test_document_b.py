"""Document B: every code block runs as written, under its own import names."""

from __future__ import annotations

import ast
import asyncio
import dataclasses
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from agenthive.facades import orchestration as b
from tests.agents.aimock import Aimock, serving
from tests.documents.code_blocks import B, block, blocks
from tests.requires import require

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PYTHON = blocks("python", B)
DEFINES = re.compile(r"^class (\w+)", re.M)
FIELD = re.compile(r"^        (\w+) \(([^)]*)\): (.*)$", re.M)
EXAMPLES = [one for one in PYTHON if not DEFINES.search(one) and "async def main" not in one]
DEFINED = {DEFINES.search(one)[1]: one for one in PYTHON if DEFINES.search(one)}  # type: ignore[index]


class Fake(b.LLMClient):
    """A client of one's own: says back what it is asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    async def complete(self, prompt, model, temperature=0.7, max_tokens=1000, tools=None, **more):  # type: ignore[no-untyped-def]
        self.asked.append({"prompt": prompt, "model": model, "tools": tools, **more})
        return b.LLMResponse(f"about {prompt}", model, 100, 50, "stop")

    async def complete_with_tools(self, messages, model, tools, **more):  # type: ignore[no-untyped-def]
        return await self.complete(str(messages), model, tools=tools, **more)


@pytest.fixture(scope="module")
def mock() -> Iterator[Aimock]:
    require("node")
    with serving() as running:
        yield running


def agent(name: str, **more: Any) -> b.Agent:
    about = {"module": "General", "description": "", "llm_config": {"model": "gpt-4"}}
    return b.Agent(**{"name": name, "prompt_template": f"Do {name}.", **about, **more})


# The complete example (B53, B54).


def test_the_complete_example(mock: Aimock, tmp_path: Path) -> None:
    environment = os.environ | {
        "PYTHONPATH": f"{HERE / 'shims'}{os.pathsep}{ROOT / 'src'}",
        "MODEL_URL": mock.url,
    }
    done = subprocess.run(
        [sys.executable, "-c", block("python", "async def main", B)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    # gpt-4: 1,000 tokens in for $0.03 a thousand, 500 out for $0.06.
    assert done.stdout == "Status: completed\nCost: $0.0600\nTotal calls: 1\n", done.stderr


# The examples, each as it stands, with what stands before it in the document.


def compiled(code: str) -> CodeType:
    return compile(code, "document B", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


async def around(mock: Aimock) -> dict[str, Any]:
    """What an example takes for granted."""
    engine = b.OrchestrationEngine(Fake(), b.EngineConfig())
    names = {name: getattr(b, name) for name in b.__all__}

    def flow(name: str) -> b.Workflow:
        return b.Workflow(name=name, description="", agents=[agent("one")])

    ids = [await engine.register_workflow(flow(f"w{number}")) for number in range(3)]
    await engine.execute_workflow(ids[0])

    class Here(b.OpenAIClient):
        def __init__(self, api_key: str) -> None:
            super().__init__(api_key, base_url=mock.url)

    return names | {
        "agent1": agent("a1"), "agent2": agent("a2"), "agent3": agent("a3"),
        "engine": engine, "workflow": flow("w"), "workflow_id": ids[0],
        "id1": ids[0], "id2": ids[1], "id3": ids[2], "rate_limiter": b.RateLimiter(),
        "cost_tracker": engine.cost_tracker, "monitor": engine.monitor, "OpenAIClient": Here,
    }  # fmt: skip


PRINTED = {
    "result = await engine.execute_workflow": r"Status: completed\nCost: \$0\.0060\n",
    "engine.get_workflow_status(workflow_id)": r"completed\n",
    "engine.get_system_status()": r"Workflows: 1\nTotal Cost: \$0\.0060\n",
    'calculate_cost("gpt-4", 1000, 500)': r"Estimated cost: \$0\.0600\n",
    "client = OpenAIClient": r"All is well\.\nTokens: 1500\n",
    "metrics = monitor.get_metrics()": r"Uptime: \d+s\nTotal workflows: 1\nTotal cost: \$0\.0060\n",
    "summary = monitor.get_summary()": r"Success rate: 100\.0%\nAvg execution time: \d+\.\d\ds\n",
}
"""Part of an example -> what it prints; the others print nothing."""


@pytest.mark.parametrize("code", EXAMPLES, ids=lambda code: code.split("\n")[0][:40])
async def test_the_examples(mock: Aimock, code: str, capsys: pytest.CaptureFixture[str]) -> None:
    names = await around(mock)
    engine = names["engine"]
    found = eval(compiled(code), names)
    if inspect.isawaitable(found):
        await found
    if "client" in names:
        await names["client"].close()
    printed = capsys.readouterr().out
    wanted = next((text for part, text in PRINTED.items() if part in code), "")
    assert re.fullmatch(wanted, printed), printed
    await engine.shutdown()


def test_every_kind_of_example_is_there() -> None:
    assert len(EXAMPLES) == 16
    assert all(any(part in code for code in EXAMPLES) for part in PRINTED)


# The definitions: names, fields, defaults, members.


def defaults_of(code: str) -> dict[str, str]:
    """The documented fields, and what is said of their defaults."""
    return {name: text for name, _, text in FIELD.findall(code)}


@pytest.mark.parametrize("name", DEFINED)
def test_what_is_defined(name: str) -> None:
    ours, code = getattr(b, name), DEFINED[name]
    if issubclass(ours, Enum):
        scope: dict[str, Any] = {"Enum": Enum}
        exec(code, scope)
        assert {one.name: one.value for one in ours} == {one.name: one.value for one in scope[name]}
        return
    documented = defaults_of(code)
    if "@dataclass" in code:
        assert dataclasses.is_dataclass(ours)
        own = [one.name for one in dataclasses.fields(ours) if one.init]
        assert own == list(documented)
    names = inspect.signature(ours).parameters
    assert set(documented) <= set(names)
    for field, text in documented.items():
        said = re.search(r"\(default: ([^)]+)\)", text)
        if said is not None:
            found = names[field].default
            found = (
                inspect_default(ours, field) if found in (None, inspect.Parameter.empty) else found
            )
            wanted = said[1].replace("EXPONENTIAL_BACKOFF", "exponential_backoff")
            assert str(getattr(found, "value", found)) == wanted, field


def inspect_default(kind: type, field: str) -> Any:
    """The default of a field that its __init__ fills in."""
    return getattr(kind(), field)


def test_every_definition_is_looked_at() -> None:
    assert set(DEFINED) == set(b.__all__)


METHODS = {
    "Agent": ["reset", "can_execute", "to_dict"],
    "AgentResult": ["is_success", "is_retriable"],
    "Workflow": ["get_agent_by_name", "get_ready_agents", "get_statistics", "to_dict"],
    "OrchestrationEngine": ["register_workflow", "execute_workflow", "execute_multiple_workflows",
                            "get_workflow_status", "get_system_status", "shutdown"],
    "RateLimiter": ["acquire", "release", "get_statistics"],
    "CostTracker": ["calculate_cost", "record_cost", "check_workflow_budget",
                    "check_agent_budget", "get_statistics"],
    "LLMClient": ["complete", "complete_with_tools"],
    "Monitor": ["record_event", "get_metrics", "get_summary", "get_recent_events"],
    "FailureHandler": ["handle_failure", "should_fail_workflow"],
}  # fmt: skip
WAITED_FOR = {"register_workflow", "execute_workflow", "execute_multiple_workflows", "shutdown",
              "acquire", "complete", "complete_with_tools"}  # fmt: skip


@pytest.mark.parametrize("name", METHODS)
def test_methods(name: str) -> None:
    for method in METHODS[name]:
        assert inspect.iscoroutinefunction(getattr(getattr(b, name), method)) is (
            method in WAITED_FOR
        )


def test_nothing_of_it_blocks_the_loop() -> None:
    async def main() -> None:
        engine = b.OrchestrationEngine(Fake())
        await engine.shutdown()

    asyncio.run(main())
