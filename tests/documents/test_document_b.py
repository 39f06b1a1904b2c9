"""Document B: every code block runs as written, under its own import names (B53, B54)."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents.aimock import Aimock, serving
from tests.documents.rig_b import block, blocks
from tests.requires import require
from tests.wheels import clean_environment

pytestmark = pytest.mark.slow
"""Many of its tests start processes or wait."""

HERE = Path(__file__).parent
LINE = re.compile(r"b(\d+)(?=_)")
WARNINGS = ("-W", "error", "-W", "ignore::ResourceWarning")
"""The document does not close what it opens."""
IMPORTS = """
import asyncio
from abc import ABC
from dataclasses import dataclass
from enum import Enum
from typing import Any, Dict, List, Optional
from src.agents.base import Agent, AgentResult, AgentStatus
from src.agents.workflow import Workflow, WorkflowStatus
from src.cost_tracking.tracker import CostConfig, CostTracker
from src.failure_handling.handler import FailureHandler, RetryPolicy, RetryStrategy
from src.llm_clients.anthropic_client import AnthropicClient
from src.llm_clients.base import LLMClient, LLMResponse
from src.llm_clients.openai_client import OpenAIClient
from src.monitoring.monitor import Monitor, MonitorConfig
from src.orchestrator.engine import EngineConfig, OrchestrationEngine
from src.rate_limiting.limiter import RateLimitConfig, RateLimiter
"""
REACHES = """
import agenthive.agents.llm.router
agenthive.agents.llm.router.HOMES["openai"] = {url!r}  # where OpenAI is for this test
"""
STAGE = """
def made(name, **more):
    return Agent(name, "Finance", "d", {"model": "gpt-4"}, "Analyze " + name, **more)

agent1, agent2, agent3 = made("one"), made("two", dependencies=["one"]), made("three")
workflow = Workflow("w", "d", [agent1, agent2, agent3])
rate_limiter, cost_tracker, monitor = RateLimiter(), CostTracker(), Monitor()
client = OpenAIClient(api_key="sk-bee")
engine = OrchestrationEngine(client)

async def registered():
    flows = [workflow, *(Workflow(n, "d", [made(n)]) for n in ("x", "y", "z"))]
    return [await engine.register_workflow(flow) for flow in flows]

async def everything():
    workflow_id, id1, id2, id3 = await registered()
"""
TAIL = """
    await engine.shutdown()

asyncio.run(everything())
"""


@pytest.fixture(scope="module")
def mock() -> Iterator[Aimock]:
    require("node")
    with serving(HERE / "aimock_b.json") as running:
        yield running


def run(code: str, folder: Path, site: Path, url: str = "") -> str:
    """What the code says under the document's import names; nothing may go wrong."""
    done = subprocess.run(
        [sys.executable, *WARNINGS, "-c", REACHES.format(url=url) + code],
        cwd=folder, env=clean_environment(site), capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("number", range(len(blocks()) - 1))
def test_b53_every_block_runs(number: int, tmp_path: Path, site: Path, mock: Aimock) -> None:
    """All but the last, which runs by itself below. A block is told what it speaks of."""
    inner = textwrap.indent(blocks()[number], "    ")
    run(IMPORTS + STAGE + inner + TAIL, tmp_path, site, mock.url)


def test_b53_a_block_that_does_not_run_is_noticed(tmp_path: Path, site: Path) -> None:
    with pytest.raises(AssertionError):
        run("from src.orchestrator.engine import Motor", tmp_path, site)


def test_every_line_of_the_list_has_a_test() -> None:
    """B1 to B54: its number is in the name, or the parameters, of a test that looks at it."""
    texts = "".join(file.read_text("utf-8") for file in HERE.glob("test_*b*.py"))
    named = {int(n) for name in re.findall(r"def test_(\w+)", texts) for n in LINE.findall(name)}
    listed = {int(n) for n in re.findall(r'": "B(\d+)"', texts)}
    assert set(range(1, 55)) - named - listed == set()


def test_b53_import_paths(site: Path) -> None:
    paths = re.findall(r"^from (src\.\S+) import", block("async def main"), flags=re.MULTILINE)
    assert len(paths) == 8
    for path in paths:
        assert (site / Path(*path.split("."))).with_suffix(".py").is_file(), path


def test_b54_the_complete_example(tmp_path: Path, site: Path, mock: Aimock) -> None:
    """As written, against a server that plays OpenAI: 1,000 tokens in and 200 out of gpt-4."""
    told = run(block("async def main"), tmp_path, site, mock.url)
    assert told == "Status: completed\nCost: $0.0420\nTotal calls: 1\n"


def test_b54_says_what_is_wrong_if_the_server_refuses(
    tmp_path: Path, site: Path, mock: Aimock
) -> None:
    code = block("async def main").replace('"Analyze..."', '"no entry"')
    assert code != block("async def main")
    told = run(code, tmp_path, site, mock.url)
    assert told.startswith("Status: failed\nCost: $0.0000\n")
