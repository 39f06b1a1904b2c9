"""OpenAI's and Anthropic's agents against aimock, which counts the calls it gets by itself."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agenthive.agents.base import AgentServices, BaseAgent
from agenthive.agents.llm.router import ModelAgent, make
from agenthive.core.model.calls import Call, Reply
from agenthive.infra.egress import Egress
from agenthive.infra.secrets import Secrets
from tests.agents import show_models as shown
from tests.agents.aimock import MODELS, Aimock, serving
from tests.requires import require

pytestmark = pytest.mark.slow
"""Many of its tests start processes or wait."""

VENDORS = sorted(MODELS)
PATHS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}
PRICES = {"openai": (2500, 10_000), "anthropic": (3000, 15_000)}
"""Nano-dollars for a token in and out: $2.50 and $10, $3 and $15 a million."""


@pytest.fixture(scope="module")
def mock() -> Iterator[Aimock]:
    require("node")
    with serving() as running:
        yield running


def asked(says: str, *, key: str = "key-1", action: str = "chat_completion", **more: Any) -> Call:
    parameters = {"messages": [{"role": "user", "content": says}], **more}
    return Call(
        run="r", task="t", attempt=1, key=key, agent="model", action=action, parameters=parameters
    )


def agent(mock: Aimock, vendor: str, test: str, **more: Any) -> BaseAgent:
    made = make(mock.spec(vendor, test, **more), AgentServices(Secrets(), Egress()))
    assert isinstance(made, ModelAgent)
    return made


async def told(mock: Aimock, vendor: str, test: str, call: Call, **more: Any) -> Reply:
    one = agent(mock, vendor, test, **more)
    try:
        return await one.perform(call)
    finally:
        await one.close()


@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_completion(mock: Aimock, vendor: str) -> None:
    reply = await told(mock, vendor, f"completion-{vendor}", asked("say hello", system="Be kind."))
    model = MODELS[vendor]
    assert reply.fault is None
    assert reply.result == {"content": "Hello, bees!", "model": model, "finish_reason": "stop"}
    used = reply.usage
    assert used is not None
    assert (used.model, used.input_tokens, used.output_tokens) == (model, 1000, 200)
    into, out = PRICES[vendor]
    assert used.cost == 1000 * into + 200 * out
    (call,) = mock.journal(f"completion-{vendor}")
    assert (call["path"], call["headers"]["idempotency-key"]) == (PATHS[vendor], "key-1")
    assert call["headers"]["x-stainless-retry-count"] == "0"
    assert call["body"]["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "say hello"},
    ]


@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_tool_call_and_its_result(mock: Aimock, vendor: str) -> None:
    tool = {
        "name": "get_weather",
        "description": "The weather.",
        "input_schema": {"type": "object"},
    }
    call = asked("weather in Köln?", tools=[tool], tool_choice="required")
    first = await told(mock, vendor, f"tools-{vendor}", call)
    said: Any = first.result
    (use,) = said["tool_calls"]
    assert (said["finish_reason"], said["content"]) == ("tool_calls", None)
    assert (use["name"], use["arguments"]) == ("get_weather", {"city": "Köln"})
    # The result of one call goes into the next as it is.
    messages = [
        {"role": "user", "content": "weather in Köln?"},
        {"role": "assistant", "content": said["content"], "tool_calls": said["tool_calls"]},
        {"role": "tool", "tool_call_id": use["id"], "content": "rain"},
    ]
    second = await told(mock, vendor, f"tools-{vendor}", asked("", messages=messages))
    assert second.fault is None
    assert second.result["content"] == "It rains in Köln."  # type: ignore[index,call-overload]


@pytest.mark.parametrize("vendor", VENDORS)
async def test_other_actions_are_prompts(mock: Aimock, vendor: str) -> None:
    call = Call(
        run="r",
        task="t",
        attempt=1,
        key="k",
        agent="model",
        action="write_a_title",
        description="Please say hello in one line.",
        parameters={"tone": "warm", "limits": [1, 2], "temperature": 0.5, "nothing": None},
        dependencies={
            "summary": {"content": "Bees dance.", "model": "m", "finish_reason": "stop"},
            "numbers": {"n": 1},
        },
    )
    reply = await told(mock, vendor, f"prompt-{vendor}", call)
    assert reply.fault is None
    (got,) = mock.journal(f"prompt-{vendor}")
    assert got["body"]["messages"] == [
        {
            "role": "user",
            "content": "Please say hello in one line.\n\n# tone\nwarm\n\n# limits\n[1, 2]\n\n"
            '# Result of summary\nBees dance.\n\n# Result of numbers\n{"n": 1}',
        }
    ]
    assert got["body"]["temperature"] == 0.5


@pytest.mark.parametrize("vendor", VENDORS)
async def test_json_by_a_schema(mock: Aimock, vendor: str) -> None:
    schema = {"type": "object", "properties": {"facts": {"type": "array"}}}
    good = await told(mock, vendor, "json", asked("three facts", output_schema=schema))
    assert good.result["parsed"] == {"facts": [1, 2, 3]}  # type: ignore[index,call-overload]
    bad = await told(mock, vendor, "json", asked("say hello", output_schema=schema))
    assert bad.fault is not None
    assert (bad.fault.kind, bad.fault.retriable, bad.fault.counts) == ("invalid_reply", True, False)
    assert "was to return JSON" in bad.fault.message
    assert bad.usage is not None, "what is paid for is booked even if it is of no use"


@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_429_is_waited_for_as_long_as_asked(
    mock: Aimock, vendor: str, tmp_path: Path
) -> None:
    run = await shown.tell(mock, vendor, (shown.BUSY,), tmp_path / f"busy-{vendor}")
    assert run.report.tasks["busy"].status == "succeeded"
    assert [one["response"]["status"] for one in run.calls] == [429, 200]
    (fault,) = (one.fault for one in run.failed)
    assert (fault.kind, fault.retry_after, fault.counts) == ("rate_limited", 1.0, False)
    assert run.started[1].at - run.failed[0].at >= 1_000_000
    assert run.calls[1]["timestamp"] - run.calls[0]["timestamp"] >= 1000


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize(
    ("task", "kind", "counts"),
    [
        (shown.OVERLOADED, "overloaded", True),
        (shown.GARBLED, "invalid_reply", True),
        (shown.DROPPED, "connection", True),
    ],
    ids=lambda value: value.name if isinstance(value, shown.TaskSpec) else "",
)
async def test_a_failure_is_tried_again_by_us_alone(
    mock: Aimock, vendor: str, task: shown.TaskSpec, kind: str, counts: bool, tmp_path: Path
) -> None:
    run = await shown.tell(mock, vendor, (task,), tmp_path / f"{kind}-{vendor}")
    assert run.report.status == "completed"
    (fault,) = (one.fault for one in run.failed)
    assert (fault.kind, fault.counts, fault.retriable) == (kind, counts, True)
    assert len(run.started) == len(run.calls) == 2


@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_wrong_key_is_not_tried_again(mock: Aimock, vendor: str, tmp_path: Path) -> None:
    run = await shown.tell(mock, vendor, (shown.REFUSED,), tmp_path / f"refused-{vendor}")
    (fault,) = (one.fault for one in run.failed)
    assert (fault.kind, fault.retriable, fault.counts) == ("refused", False, False)
    assert fault.message == "HTTP 401: bad key"
    assert len(run.started) == len(run.calls) == 1


@pytest.mark.parametrize("vendor", VENDORS)
async def test_their_journal_has_as_many_calls_as_ours(
    mock: Aimock, vendor: str, tmp_path: Path
) -> None:
    run = await shown.tell(mock, vendor, shown.WHOLE, tmp_path / f"whole-{vendor}")
    assert run.report.status == "completed"
    assert {name: task.attempts for name, task in run.report.tasks.items()} == {
        "hello": 1,
        "weather": 1,
        "busy": 2,
        "overloaded": 2,
        "garbled": 2,
        "dropped": 2,
        "last": 1,
    }
    assert len(run.calls) == len(run.started) == 11
    # The same key for every attempt of a task, another one for each task: theirs are ours.
    assert sorted(one["headers"]["idempotency-key"] for one in run.calls) == sorted(
        one.key for one in run.started
    )
    assert len({(one.task, one.key) for one in run.started}) == 7
    assert len({one.key for one in run.started}) == 7
    assert run.report.cost_usd > 0


@pytest.mark.parametrize("vendor", VENDORS)
async def test_another_name_for_the_key_and_whole_paths(mock: Aimock, vendor: str) -> None:
    test = f"path-{vendor}"
    more = {"endpoint": mock.url + PATHS[vendor], "custom_params": {"idempotency_header": "X-Once"}}
    reply = await told(mock, vendor, test, asked("say hello"), **more)
    assert reply.fault is None
    (call,) = mock.journal(test)
    assert (call["path"], call["headers"]["x-once"]) == (PATHS[vendor], "key-1")
    assert "idempotency-key" not in call["headers"]


@pytest.mark.parametrize("vendor", VENDORS)
async def test_outside_a_run(mock: Aimock, vendor: str) -> None:
    one = agent(mock, vendor, f"outside-{vendor}")
    answer = await one.execute("chat_completion", asked("say hello").parameters)
    assert (answer.success, answer.result["content"]) == (True, "Hello, bees!")
    wrong = await one.execute("chat_completion", asked("no entry").parameters)
    assert (wrong.success, wrong.error) == (False, "HTTP 401: bad key")
    await one.close()
    calls = mock.journal(f"outside-{vendor}")
    assert ["idempotency-key" in call["headers"] for call in calls] == [False, False]


@pytest.mark.parametrize("vendor", VENDORS)
async def test_the_model_may_name_the_vendor(mock: Aimock, vendor: str) -> None:
    call = asked("say hello", model=f"{vendor}:{MODELS[vendor]}")
    reply = await told(mock, vendor, f"named-{vendor}", call)
    assert reply.result["model"] == MODELS[vendor]  # type: ignore[index,call-overload]


@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_price_that_nobody_knows(mock: Aimock, vendor: str) -> None:
    custom = {"prices": "nobody", "model": "bee-1"}
    reply = await told(mock, vendor, "price", asked("say hello"), custom_params=custom)
    assert reply.usage is not None
    assert (reply.usage.model, reply.usage.cost) == ("bee-1", None)


async def test_the_script_prints_both_counts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    require("node")
    monkeypatch.setattr(shown, "SCENARIOS", {"completion": (shown.HELLO,)})
    assert await shown.main() == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split() for line in printed[1:3]] == [
        [vendor, "completion", "1", "1", "completed;", "faults:", "-"]
        for vendor in ("openai", "anthropic")
    ]
    assert printed[-1] == "the counts agree"


def test_vendors_are_found_by_name() -> None:
    for vendor in VENDORS:
        assert callable(importlib.import_module(f"agenthive.agents.llm.{vendor}").make)
