"""Numbers that come from outside: no server, header or function stops a home or passes a limit.

The server of these tests counts its calls by itself and bills 200 tokens of input and 500 of output
for each, whatever it reports. The other half puts absurd numbers at every place of a reply.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from agenthive import Hive
from agenthive.agents.registry import AgentRegistry
from agenthive.core.history.report import RunReport
from agenthive.core.model.calls import Call, Fault, Headroom, Reply, Usage
from agenthive.core.model.control_flow import EachSpec
from agenthive.core.model.workflow import (
    AgentSpec,
    BudgetSpec,
    FailureStrategy,
    TaskSpec,
    WorkflowSpec,
)
from agenthive.core.policies.retry import RetryPolicy
from tests.agents.rude_model import RudeModel, answer, http

pytestmark = pytest.mark.slow

BILLED = 200 * 2500 + 500 * 10_000
"""Nano-dollars that the server bills for a call of gpt-4o."""
LIMIT = 200_000_000
DETAILS = "prompt_tokens_details"


def chunks(*usages: Any) -> bytes:
    """A streamed reply with these usages in its chunks."""
    deltas = [{"choices": [{"delta": {"content": "ok"}}], "model": "gpt-4o"}]
    end = {"choices": [{"delta": {}, "finish_reason": "stop"}]}
    return stream(*deltas, end, *({"choices": [], "usage": usage} for usage in usages))


def stream(*lines: Any) -> bytes:
    """A streamed reply of these chunks."""
    text = "".join(f"data: {json.dumps(line)}\n\n" for line in lines) + "data: [DONE]\n\n"
    head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
    return f"{head}content-length: {len(text)}\r\n\r\n{text}".encode()


def whole(usage: Any) -> bytes:
    return http(200, answer("openai", "ok", model="gpt-4o", usage=usage))


ODD: dict[str, bytes] = {
    "absent": http(200, answer("openai", "ok", model="gpt-4o")),
    "empty": whole({}),
    "null": whole({"prompt_tokens": None, "completion_tokens": None}),
    "texts": whole({"prompt_tokens": "200", "completion_tokens": "500"}),
    "floats": whole({"prompt_tokens": 200.0, "completion_tokens": 500.0}),
    "negative": whole({"prompt_tokens": -1, "completion_tokens": -1}),
    "zeros": whole({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}),
    "no output": whole({"prompt_tokens": 200, "completion_tokens": 0}),
    "only a total": whole({"total_tokens": 700}),
    "cached above the prompt": whole(
        {"prompt_tokens": 100, "completion_tokens": 5, DETAILS: {"cached_tokens": 100_000}}
    ),
    "reasoning apart": whole({"prompt_tokens": 200, "completion_tokens": 5, "total_tokens": 700}),
    "10^15": whole({"prompt_tokens": 200, "completion_tokens": 10**15}),
    "a stream that ends with zeros": chunks(
        {"prompt_tokens": 200, "completion_tokens": 500},
        {"prompt_tokens": 0, "completion_tokens": 0},
    ),
    "a total without the output": whole(
        {"prompt_tokens": 200, "completion_tokens": 0, "total_tokens": 200}
    ),
    "a stream that counts only its beginning": stream(
        {"choices": [], "model": "gpt-4o", "usage": {"prompt_tokens": 200, "completion_tokens": 1}},
        {"choices": [{"delta": {"content": "ok"}, "finish_reason": "stop"}], "usage": None},
    ),
    "a stream without counts": chunks({"prompt_tokens": None}),
}


@pytest.mark.parametrize("name", ODD)
async def test_no_odd_usage_passes_a_limit(name: str) -> None:
    async with RudeModel(lambda body: ODD[name]) as server:
        agent = model_agent(server, max_tokens=500)
        task = TaskSpec(
            name="t",
            agent="model",
            action="chat_completion",
            parameters={
                "messages": [{"role": "user", "content": "x" * 600}],
                "stream": "stream" in name,
            },
            for_each=EachSpec(items=list(range(200)), max_items=200),
        )
        spec = WorkflowSpec(
            name="w",
            agents=(agent,),
            tasks=(task,),
            max_parallel=50,
            failure_strategy=FailureStrategy.CONTINUE,
            budget=BudgetSpec(limit=LIMIT),
        )
        async with Hive.open() as hive:
            report = await hive.run(spec)
            (account,) = [
                account
                for account in await hive.budgets.list()
                if account.scope == f"run {report.run_id}"
            ]
        assert len(server.bodies) * BILLED <= LIMIT
        assert len(server.bodies) >= 25, "what was left was used"
        assert account.captured >= len(server.bodies) * BILLED, "all that was billed is booked"
        assert account.captured <= LIMIT
        assert account.held == 0


def model_agent(server: RudeModel, vendor: str = "openai", **params: Any) -> AgentSpec:
    return AgentSpec(
        name="model",
        type="ai_agent",
        endpoint=f"http://{server.host}",
        custom_params={
            "model": "gpt-4o" if vendor == "openai" else "claude-sonnet-4-5",
            "prices": vendor,
            "provider": vendor,
            **params,
        },
        retry=RetryPolicy(max_attempts=1),
    )


LARGE = {"10^15": 10**15, "2^63": 2**63, "2^70": 2**70}
GOOD = {
    "openai": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    "anthropic": {"input_tokens": 10, "output_tokens": 5},
}
IN_USAGE = [
    ("openai", "prompt_tokens"),
    ("openai", "completion_tokens"),
    ("openai", "total_tokens"),
    ("openai", "prompt_tokens_details.cached_tokens"),
    ("openai", "prompt_tokens_details.cache_write_tokens"),
    ("openai", "completion_tokens_details.reasoning_tokens"),
    ("openai", "prompt_cache_hit_tokens"),
    ("openai", "num_search_queries"),
    ("anthropic", "input_tokens"),
    ("anthropic", "output_tokens"),
    ("anthropic", "cache_read_input_tokens"),
    ("anthropic", "cache_creation_input_tokens"),
    ("anthropic", "cache_creation.ephemeral_1h_input_tokens"),
    ("anthropic", "server_tool_use.web_search_requests"),
]
HEADERS = [
    "retry-after",
    "retry-after-ms",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-requests",
    "x-ratelimit-reset-tokens",
    "anthropic-ratelimit-tokens-remaining",
]
FUNCTIONS: dict[str, Callable[[int], Reply]] = {
    "input_tokens": lambda n: Reply(result=1, usage=Usage(input_tokens=n)),
    "output_tokens": lambda n: Reply(result=1, usage=Usage(output_tokens=n)),
    "cost": lambda n: Reply(result=1, usage=Usage(cost=n + 1)),
    "result": lambda n: Reply(result={"n": n}),
    "retry_after": lambda n: Reply(
        fault=Fault(kind="unavailable", message="x", retry_after=n, retriable=False)
    ),
    "headroom": lambda n: Reply(result=1, headroom=Headroom(requests=n, tokens=n, within=1.0)),
}


def with_number(vendor: str, path: str, number: int) -> dict[str, Any]:
    """A good usage of a vendor with a number at a path."""
    usage: dict[str, Any] = copy.deepcopy(GOOD[vendor])
    *outer, last = path.split(".")
    place = usage
    for key in outer:
        place = place.setdefault(key, {})
    place[last] = number
    return usage


def function_of(build: Callable[[int], Reply], number: int) -> Callable[[Call], Awaitable[Reply]]:
    async def function(call: Call) -> Reply:
        return build(number)

    return function


async def run_beside_others(
    home: Path, agent: AgentSpec, registry: AgentRegistry, parameters: Mapping[str, Any]
) -> RunReport:
    """Run a task of an agent in a home, and others before, beside and after it, all completed."""
    messages = [{"role": "user", "content": "x"}]
    bad = WorkflowSpec(
        name="bad",
        agents=(agent,),
        tasks=(
            TaskSpec(
                name="t",
                agent=agent.name,
                action="chat_completion",
                parameters={"messages": messages, **parameters},
            ),
        ),
    )
    offline = AgentSpec(name="o", type="ai_agent", endpoint="offline://extractive")
    good = WorkflowSpec(
        name="good",
        agents=(offline,),
        tasks=tuple(
            TaskSpec(name=f"g{number}", agent="o", action="say", depends_on=depends_on)
            for number, depends_on in enumerate([(), ("g0",), ("g1",)])
        ),
    )
    async with Hive.open(home, agents=registry) as hive:
        beside = await hive.submit(good)
        report = await hive.run(bad)
        assert (await hive.wait(beside)).status == "completed"
    async with Hive.open(home, agents=registry, recover=True) as hive:
        assert (await hive.run(good)).status == "completed"
        assert all(account.held == 0 for account in await hive.budgets.list())
    return report


@pytest.mark.parametrize("number", LARGE.values(), ids=LARGE)
async def test_a_home_survives_any_number_in_a_usage(number: int, tmp_path: Path) -> None:
    for vendor, path in IN_USAGE:
        usage = with_number(vendor, path, number)
        for stream in (False, True) if vendor == "openai" else (False,):
            script = chunks(usage) if stream else http(200, answer(vendor, "ok", usage=usage))
            async with RudeModel(lambda body, script=script: script) as server:
                report = await run_beside_others(
                    tmp_path / "home",
                    model_agent(server, vendor, max_tokens=20),
                    AgentRegistry(),
                    {"stream": stream},
                )
            task = report.tasks["t"]
            assert task.status == "succeeded", path
            assert "more than 1,000,000,000" in task.usage_problem, path
            assert path in task.usage_problem


@pytest.mark.parametrize("number", LARGE.values(), ids=LARGE)
@pytest.mark.parametrize("status", [200, 400, 503])
async def test_a_home_survives_any_number_in_a_header(
    number: int, status: int, tmp_path: Path
) -> None:
    for header in HEADERS:
        headers = {"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "1s"}
        headers |= {"anthropic-ratelimit-tokens-reset": "1s", header: str(number)}
        reply = answer("openai", "ok", usage=GOOD["openai"]) if status == 200 else {"error": {}}
        script = http(status, reply, headers)
        async with RudeModel(lambda body, script=script: script) as server:
            report = await run_beside_others(
                tmp_path / "home", model_agent(server), AgentRegistry(), {}
            )
        assert report.tasks["t"].status == ("succeeded" if status == 200 else "failed"), header


@pytest.mark.parametrize("number", LARGE.values(), ids=LARGE)
async def test_a_home_survives_any_number_of_a_function(number: int, tmp_path: Path) -> None:
    for name, build in FUNCTIONS.items():
        registry = AgentRegistry()

        registry.register("f", function_of(build, number))
        agent = AgentSpec(name="f", type="custom", endpoint="custom://f", max_cost=10**9)
        report = await run_beside_others(tmp_path / "home", agent, registry, {})
        assert report.status in ("completed", "failed"), name
        if name in ("input_tokens", "output_tokens", "cost"):
            assert f"{name} is {number + (name == 'cost')}" in report.tasks["t"].usage_problem


@pytest.mark.parametrize("number", LARGE.values(), ids=LARGE)
async def test_a_throttled_call_waits_a_day_at_most(number: int, tmp_path: Path) -> None:
    script = http(429, {"error": {"message": "slowly"}}, {"retry-after": str(number)})
    async with RudeModel(lambda body: script) as server:
        messages = [{"role": "user", "content": "x"}]
        task = TaskSpec(
            name="t", agent="model", action="chat_completion", parameters={"messages": messages}
        )
        spec = WorkflowSpec(name="w", agents=(model_agent(server),), tasks=(task,), timeout=None)
        async with Hive.open(tmp_path / "home") as hive:
            run = await hive.submit(spec)
            async for fact in hive.watch(run):
                if fact.type == "task.failed":
                    break
        async with Hive.open(tmp_path / "home", recover=True) as hive:
            (reason,) = await hive.journal.list_reasons(run)
            assert reason.until is not None
            await hive.cancel(run)
            assert (await hive.wait(run)).status == "cancelled"
