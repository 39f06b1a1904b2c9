"""Tools, pieces, repairs and fallbacks against aimock, for both vendors, through whole runs."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agenthive import Hive, RunReport
from agenthive.core.model.calls import Call
from agenthive.core.model.workflow import AgentSpec, FallbackSpec, TaskSpec, ToolSpec, WorkflowSpec
from agenthive.core.policies.retry import RetryPolicy
from agenthive.core.values import JSONObject
from tests.agents.aimock import MODELS, Aimock, serving
from tests.requires import require

pytestmark = pytest.mark.slow
"""Many of its tests start processes or wait."""

VENDORS = sorted(MODELS)
RETRY = RetryPolicy(max_attempts=3, initial_delay=0.01, jitter=False)
CITY: JSONObject = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}


@pytest.fixture(scope="module")
def mock() -> Iterator[Aimock]:
    require("node")
    with serving() as running:
        yield running


def says(text: str, **more: Any) -> TaskSpec:
    given = {"messages": [{"role": "user", "content": text}], **more.pop("parameters", {})}
    about = {"name": "ask", "agent": "model", "action": "chat_completion"} | more
    return TaskSpec(parameters=given, **about)


def tool(name: str, **more: Any) -> ToolSpec:
    return ToolSpec(name=name, agent="hands", action=name, **more)


def flow(task: TaskSpec, *agents: AgentSpec) -> WorkflowSpec:
    hands = AgentSpec(name="hands", type="custom", endpoint="custom://hands")
    return WorkflowSpec(name="w", agents=(*agents, hands), tasks=(task,), max_parallel=4)


async def ran(
    home: Path, workflow: WorkflowSpec, made: list[Call] | None = None
) -> tuple[RunReport, list[str]]:
    """What a run came to, and the text of its answers as it came in."""
    pieces: list[str] = []

    async def hands(call: Call) -> str:
        if made is not None:
            made.append(call)
        return f"{call.action}: {call.parameters}"

    async with Hive.open(home) as hive:
        hive.agents.register("hands", hands)
        run = await hive.submit(workflow)

        async def listen() -> None:
            pieces.extend([piece.text async for piece in hive.stream(run)])

        await asyncio.gather(listen(), hive.wait(run))
        return await hive.report(run), pieces


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_tool_is_called_and_the_model_goes_on(
    mock: Aimock, tmp_path: Path, vendor: str, stream: bool
) -> None:
    test, made = f"loop-{vendor}-{stream}", list[Call]()
    more = {"parameters": {"stream": True}} if stream else {}
    task = says("weather in Köln?", tools=(tool("get_weather", input_schema=CITY),), **more)
    report, pieces = await ran(tmp_path, flow(task, mock.spec(vendor, test)), made)
    assert (report.status, report.results["ask"]["content"]) == ("completed", "It rains in Köln.")
    assert [(call.task, call.parameters) for call in made] == [("ask~1[0]", {"city": "Köln"})]
    assert "".join(pieces) == ("It rains in Köln." if stream else "")
    first, second = mock.journal(test)
    keys = [one["headers"]["idempotency-key"] for one in (first, second)]
    assert len({*keys, made[0].key}) == 3
    # As the vendor has it in its own words, then as aimock takes it down: one dialect for both.
    (offer,) = first["body"]["tools"]
    assert offer["function"]["name"] == "get_weather"
    assert offer["function"]["parameters"]["required"] == ["city"]
    asked, told = second["body"]["messages"][-2:]
    assert asked["tool_calls"][0]["function"]["name"] == "get_weather"
    assert told["role"] == "tool"
    assert told["tool_call_id"] == asked["tool_calls"][0]["id"] == "call_1"
    assert "'city': 'Köln'" in str(told["content"])


@pytest.mark.parametrize("vendor", VENDORS)
async def test_an_answer_in_pieces(mock: Aimock, tmp_path: Path, vendor: str) -> None:
    test = f"pieces-{vendor}"
    task = says("say hello", parameters={"stream": True})
    report, pieces = await ran(tmp_path, flow(task, mock.spec(vendor, test)))
    assert report.results["ask"]["content"] == "Hello, bees!"
    assert "".join(pieces) == "Hello, bees!"
    assert len(pieces) > 1
    (call,) = mock.journal(test)
    assert call["body"]["stream"] is True
    assert report.tokens > 0


@pytest.mark.parametrize("vendor", VENDORS)
async def test_the_same_answer_at_once_and_in_pieces(
    mock: Aimock, tmp_path: Path, vendor: str
) -> None:
    """What is recorded does not depend on how it came: content, model, what it used and cost."""
    found = []
    for stream in (False, True):
        task = says("say hello", parameters={"stream": stream})
        report, _ = await ran(
            tmp_path / str(stream), flow(task, mock.spec(vendor, f"same-{vendor}-{stream}"))
        )
        found.append((report.results["ask"], report.cost_usd > 0))
    assert found[0] == found[1]


@pytest.mark.parametrize("vendor", VENDORS)
async def test_an_answer_that_breaks_off_is_asked_for_again(
    mock: Aimock, tmp_path: Path, vendor: str
) -> None:
    test = f"broken-{vendor}"
    task = says("hang up on me", parameters={"stream": True})
    report, _ = await ran(tmp_path, flow(task, mock.spec(vendor, test, retry=RETRY)))
    assert report.results["ask"]["content"] == "Still there."
    assert report.tasks["ask"].attempts == 2


@pytest.mark.parametrize("vendor", VENDORS)
async def test_an_answer_is_repaired_by_the_model(
    mock: Aimock, tmp_path: Path, vendor: str
) -> None:
    test = f"repair-{vendor}"
    facts: JSONObject = {"type": "array", "items": {"type": "integer"}}
    schema: JSONObject = {"type": "object", "properties": {"facts": facts}}
    task = says("some facts", output_schema=schema, retry=RetryPolicy(max_attempts=1))
    report, _ = await ran(tmp_path, flow(task, mock.spec(vendor, test)))
    assert (report.status, report.results["ask"]) == ("completed", {"facts": [1, 2, 3]})
    first, second = mock.journal(test)
    assert len(second["body"]["messages"]) == len(first["body"]["messages"]) + 1
    assert "does not match output_schema" in str(second["body"]["messages"][-1]["content"])


@pytest.mark.parametrize("vendor", VENDORS)
async def test_the_other_vendor_goes_on(mock: Aimock, tmp_path: Path, vendor: str) -> None:
    (other,) = set(VENDORS) - {vendor}
    test = f"fallback-{vendor}"
    wrong = {"X-Aimock-Chaos-Drop": "1"}
    agents = (
        mock.spec(vendor, test, headers=wrong, retry=RetryPolicy(max_attempts=1)),
        mock.spec(other, f"{test}-next", name="next"),
    )
    task = says(
        "weather in Köln?", tools=(tool("get_weather"),), fallback=(FallbackSpec(agent="next"),)
    )
    report, _ = await ran(tmp_path, flow(task, *agents))
    assert (report.status, report.results["ask"]["model"]) == ("completed", MODELS[other])
    assert report.results["ask"]["content"] == "It rains in Köln."
    assert len(mock.journal(f"{test}-next")) == 2


@pytest.mark.parametrize("vendor", VENDORS)
async def test_who_asks_for_ever_is_stopped(mock: Aimock, tmp_path: Path, vendor: str) -> None:
    test = f"again-{vendor}"
    task = says("look again", tools=(tool("look", repeats=3),), max_turns=50)
    report, _ = await ran(tmp_path, flow(task, mock.spec(vendor, test)))
    assert report.status == "failed"
    assert "3 are allowed" in str(report.tasks["ask"].error)
    calls = mock.journal(test)
    assert len(calls) == 4
    # It was told before it was stopped.
    said = [str(one["content"]) for one in calls[-1]["body"]["messages"]]
    assert any("with the same arguments. Change course" in text for text in said)


PAY = """
import os, time

async def pay(call):
    with open({ledger!r}, "a") as file:
        file.write(call.key + "\\n")
        file.flush()
        os.fsync(file.fileno())
    time.sleep(60)   # the process is killed in the middle of this

AGENTS = {{"hands": pay}}
"""
ONCE = """
agenthive: 1
name: bill
agents:
  - name: model
    type: ai_agent
    endpoint: {url}
    custom_params: {{provider: {vendor}, model: {model}, headers: {{X-Test-Id: {test}}}}}
  - {{name: hands, type: custom, endpoint: "custom://hands"}}
tasks:
  - name: ask
    agent: model
    action: chat_completion
    parameters: {{messages: [{{role: user, content: pay the bill}}]}}
    tools:
      - {{name: pay, agent: hands, effect: once, timeout: 120}}
"""


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_kill_in_the_middle_does_not_pay_twice(mock: Aimock, tmp_path: Path, vendor: str) -> None:
    ledger, test = tmp_path / "ledger", f"kill-{vendor}"
    (tmp_path / "hands.py").write_text(PAY.format(ledger=str(ledger)))
    file = tmp_path / "bill.yaml"
    about = {"url": mock.url, "vendor": vendor, "model": MODELS[vendor], "test": test}
    file.write_text(ONCE.format(**about))

    def agenthive(*words: str) -> list[str]:
        return [
            str(Path(sys.executable).with_name("agenthive")),
            *words,
            "--home",
            str(tmp_path / "home"),
        ]

    def done(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            agenthive(*words), capture_output=True, text=True, cwd=tmp_path, timeout=60
        )

    agents = ("--agents", "hands.py")
    running = subprocess.Popen(
        agenthive("run", "bill.yaml", *agents), cwd=tmp_path, stderr=subprocess.DEVNULL
    )
    try:
        until = time.monotonic() + 30
        while not ledger.exists() or not ledger.read_text():
            assert time.monotonic() < until, "the tool was never called"
            assert running.poll() is None, "the run ended"
            time.sleep(0.02)
    finally:
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
    (row,) = json.loads(done("ps", "--json").stdout)["runs"]
    run = row["run"]
    assert done("resume", *agents).returncode == 8  # somebody has to say
    assert "may or may not have acted" in done("why", run).stdout
    assert done("resolve", run, "ask~1[0]", "--succeeded", "--result", '"paid"').returncode == 0
    ended = done("resume", *agents)
    assert "It is paid." in done("show", run, "--json").stdout, ended.stderr
    assert len(ledger.read_text().splitlines()) == 1
    assert len(mock.journal(test)) == 2
