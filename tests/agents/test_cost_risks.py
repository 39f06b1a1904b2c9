"""What may cost more than its tokens is refused under a limit, before anything is called."""

from __future__ import annotations

import unicodedata
from typing import Any

import msgspec
import pytest

from agenthive import AgentRegistry, Hive
from agenthive.agents.base import AgentServices, BaseAgent
from agenthive.agents.llm.cost_risks import find_cost_risk
from agenthive.agents.llm.prices import Prices
from agenthive.agents.llm.prompts import build_prompt
from agenthive.agents.llm.router import make
from agenthive.core.model.control_flow import EachSpec
from agenthive.core.model.workflow import (
    AgentSpec,
    BudgetSpec,
    CompensationSpec,
    FallbackSpec,
    TaskSpec,
    WorkflowSpec,
)
from agenthive.errors import ConfigurationError
from agenthive.infra import price_list
from agenthive.infra.egress import Egress
from agenthive.infra.secrets import Secrets
from tests.agents.rude_model import RudeModel, answer, asked, http

PRICES = Prices(price_list.parse_prices({"m-1": {"input": 1, "output": 1}}))
WEB = {"type": "web_search_20250305", "name": "web_search"}

RISKS: list[tuple[dict[str, Any], str]] = [
    *[
        ({name: {"x": 1}}, f"the parameter '{name}'")
        for name in (
            *("web_search_options", "prediction", "audio", "models", "plugins", "extra_body"),
            *("provider", "mcp_servers", "container", "context_management", "previous_response_id"),
            *("thinking_budget", "max_tokens_to_sample", "options", "a_name_of_next_year"),
        )
    ],
    ({"modalities": ["text", "audio"]}, "the parameter 'modalities'"),
    ({"service_tier": "a tier of next year"}, "the parameter 'service_tier'"),
    ({"thinking": {"type": "enabled", "budget_tokens": 100}}, "the parameter 'thinking'"),
    ({"thinking": "yes"}, "the parameter 'thinking'"),
    *[
        ({"tools": [{"type": "function", "function": {"name": "f"}}, tool]}, f"own tool '{label}'")
        for tool, label in (
            (WEB, "web_search_20250305"),
            ({"type": "web_fetch_20250910", "name": "web_fetch"}, "web_fetch_20250910"),
            ({"type": "code_execution_20250825", "name": "x"}, "code_execution_20250825"),
            ({"type": "computer_20250124", "name": "computer"}, "computer_20250124"),
            ({"type": "image_generation"}, "image_generation"),
            ({"type": "code_interpreter", "container": {}}, "code_interpreter"),
            ({"type": "mcp", "server_url": "x"}, "mcp"),
            ({"type": "openrouter:web_search"}, "openrouter:web_search"),
            ({"google_search": {}}, "google_search"),
        )
    ],
    ({"messages": [{"content": [{"type": "file", "file": {"file_id": "f"}}]}]}, "of type 'file'"),
    (
        {"messages": [{"content": [{"type": "document", "source": {"type": "base64"}}]}]},
        "of type 'document'",
    ),
    (
        {"messages": [{"content": [{"type": "tool_result", "content": [{"type": "video_url"}]}]}]},
        "of type 'video_url'",
    ),
    *[
        ({"messages": [{"role": "user", "content": [part]}]}, words)
        for part, words in (
            ({"type": "document_url", "document_url": "https://x/y.pdf"}, "type 'document_url'"),
            ({"type": "media_of_next_year", "id": "m"}, "type 'media_of_next_year'"),
            ({"type": "input_audio", "input_audio": {"data": "https://x"}}, "type 'input_audio'"),
            ({"type": "image_url", "image_url": {"url": "data:application/pdf;base64,x"}}, "size"),
            ({"type": "image_url", "image_url": "gs://bucket/film.mp4"}, "type 'image_url'"),
            ({"type": ["text"]}, "of type"),
            ({"file_data": {"file_uri": "gs://x"}}, "a part without a type"),
            (
                {
                    "type": "document",
                    "source": {"type": "content", "content": [{"type": "document"}]},
                },
                "type 'document'",
            ),
        )
    ],
    ({"messages": [{"role": "assistant", "audio": {"id": "a"}}]}, "the key 'audio' of a message"),
    ({"messages": [{"role": "user", "content": "x", "files": ["f"]}]}, "the key 'files'"),
    ({"reasoning": {"max_tokens": 100}}, "the parameter 'reasoning'"),
    ({"reasoning": True}, "the parameter 'reasoning'"),
    ({"reasoning_effort": 30_000}, "the parameter 'reasoning_effort'"),
    ({"reasoning_effort": "30000"}, "the parameter 'reasoning_effort'"),
    ({"thinking": {"type": "enabled", "max_tokens": 100}}, "the parameter 'thinking'"),
    ({"model": "groq/compound-mini"}, "the searches of model"),
    ({"model": "gpt-4o:online"}, "the searches of model 'gpt-4o:online'"),
]
HARMLESS: list[dict[str, Any]] = [
    {"top_p": 0.5, "seed": 1, "stop": ["x"], "logprobs": True, "user": "u", "store": True},
    {"reasoning_effort": "high", "verbosity": "low", "parallel_tool_calls": False},
    {"n": 1, "best_of": 1, "modalities": ["text"], "service_tier": "flex", "prediction": None},
    {"thinking": {"type": "enabled", "budget_tokens": 99}},
    {"thinking": {"type": "adaptive"}},
    {"reasoning": {"effort": "high"}},
    {"reasoning": {"max_tokens": 99}},
    {"messages": [{"role": "user", "content": [{"text": "x"}, "y"], "audio": None}]},
    {"messages": [{"content": [{"type": "image_url", "image_url": {"url": "data:image/png,x"}}]}]},
    {"messages": [{"role": "tool", "tool_call_id": "i", "content": "x", "is_error": True}]},
    {"tools": [{"name": "f", "input_schema": {"type": "object"}}, {"type": "custom", "name": "g"}]},
    {"messages": [{"content": [{"type": "image_url", "image_url": {"url": "https://x"}}]}]},
    {"messages": [{"content": [{"type": "document", "source": {"type": "text", "data": "x"}}]}]},
]


def model_spec(endpoint: str = "http://127.0.0.1:9/v1", **more: Any) -> AgentSpec:
    custom = {"model": "m-1", "max_tokens": 100, **more.pop("custom_params", {})}
    return AgentSpec(name="m", type="ai_agent", endpoint=endpoint, custom_params=custom, **more)


def model_agent(spec: AgentSpec | None = None) -> BaseAgent:
    return make(spec or model_spec(), AgentServices(Secrets(), Egress(), PRICES))


def ask(**parameters: Any) -> TaskSpec:
    given = {"messages": [{"role": "user", "content": "hello"}], **parameters}
    return TaskSpec(name="ask", agent="m", action="chat_completion", parameters=given)


def flow(
    task: TaskSpec, *agents: AgentSpec, budget: int | None = 10**9, **more: Any
) -> WorkflowSpec:
    limit = None if budget is None else BudgetSpec(limit=budget)
    return WorkflowSpec(
        name="w", agents=agents or (model_spec(),), tasks=(task,), budget=limit, **more
    )


def open_hive(**more: Any) -> Hive:
    return Hive.open(agents=AgentRegistry(prices=PRICES), **more)


@pytest.mark.parametrize(("parameters", "words"), RISKS)
def test_a_risk_has_no_worst_case(parameters: dict[str, Any], words: str) -> None:
    model = model_agent()
    assert model.estimate_max_cost(asked(**parameters)) is None
    assert model.fit_max_tokens(asked(**parameters), 10**12) is None
    why = model.explain_unpriced(asked(**parameters))
    assert words in why
    assert "max_cost" in why


@pytest.mark.parametrize("parameters", HARMLESS)
def test_what_changes_no_cost_is_priced(parameters: dict[str, Any]) -> None:
    model = model_agent()
    cost = model.estimate_max_cost(asked(**parameters))
    assert cost is not None
    assert cost > 100_000
    assert model.explain_unpriced(asked(**parameters)) == ""


def test_a_part_of_a_prompt_is_no_parameter() -> None:
    call = msgspec.structs.replace(asked(), action="sum up", parameters={"models": ["a"], "n": 5})
    assert find_cost_risk(build_prompt(call, model_spec())) == ""


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "max_output_tokens"])
@pytest.mark.parametrize("place", ["parameters", "custom"])
async def test_every_name_of_the_longest_answer_is_held_for(
    vendor: str, name: str, place: str
) -> None:
    """What the server is allowed is what is held, whatever the parameter is called."""
    limits = {name: 5000}
    async with RudeModel(lambda body: http(200, answer(vendor))) as server:
        custom = {"provider": vendor, "max_tokens": None, **(limits if place == "custom" else {})}
        agent = model_agent(model_spec(f"http://{server.host}", custom_params=custom))
        call = asked(**(limits if place == "parameters" else {}))
        held = agent.estimate_max_cost(call)
        await agent.perform(call)
        await agent.close()
    (body,) = server.bodies
    sent = {key: value for key, value in body.items() if "tokens" in key}
    kept_name = vendor == "openai" and name == "max_completion_tokens"
    assert sent == {name if kept_name else "max_tokens": 5000}
    assert held is not None
    assert 5_000_000 < held < 6_000_000


def test_a_shorter_reply_is_not_shorter_than_its_thinking() -> None:
    thinking = {"type": "enabled", "budget_tokens": 90}
    model = model_agent()
    whole = model.estimate_max_cost(asked(thinking=thinking))
    assert whole is not None
    assert model.fit_max_tokens(asked(), whole - 20_000) is not None
    assert model.fit_max_tokens(asked(thinking=thinking), whole - 20_000) is None


@pytest.mark.parametrize("text", ["\ufdfa" * 500, "\U0001f600" * 500, "\u3300" * 500, "x" * 500])
@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
def test_what_a_vocabulary_writes_out_is_held_for(text: str, vendor: str) -> None:
    model = model_agent(model_spec(custom_params={"provider": vendor}))
    held = model.estimate_max_cost(asked(text))
    forms = (text, unicodedata.normalize("NFKC", text))
    assert held is not None
    assert held >= 1000 * max(len(form.encode()) for form in forms)


def test_an_image_in_a_system_message_is_held_for() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
    for vendor in ("openai", "anthropic"):
        model = model_agent(model_spec(custom_params={"provider": vendor}))
        messages = [{"role": "system", "content": [image]}, {"role": "user", "content": "x"}]
        held = model.estimate_max_cost(asked(messages=messages))
        assert held is not None
        assert held > 50_000_000


async def test_two_names_that_contradict_each_other_are_refused() -> None:
    async with RudeModel(lambda body: http(200, answer("openai"))) as server:
        agent = model_agent(model_spec(f"http://{server.host}"))
        reply = await agent.perform(asked(max_tokens=10, max_completion_tokens=20))
        same = await agent.perform(asked(max_tokens=20, max_completion_tokens=20))
        await agent.close()
    assert reply.fault is not None
    assert "'max_tokens' is 10 and 'max_completion_tokens' is 20" in reply.fault.message
    assert same.fault is None
    assert len(server.bodies) == 1


@pytest.mark.parametrize("name", ["n", "best_of", "candidate_count"])
async def test_a_request_has_one_answer(name: str) -> None:
    async with RudeModel(lambda body: http(200, answer("openai"))) as server:
        agent = model_agent(model_spec(f"http://{server.host}"))
        reply = await agent.perform(asked(**{name: 20}))
        await agent.close()
    assert server.bodies == []
    assert reply.fault is not None
    assert f"leave out the parameter '{name}'" in reply.fault.message


def test_the_dearest_tier_that_may_serve_a_call_is_held_for() -> None:
    spec = model_spec(custom_params={"model": "gpt-5", "prices": "openai"})
    model = make(spec, AgentServices(Secrets(), Egress()))
    text = "x" * 100_000
    costs = {
        tier: model.estimate_max_cost(asked(text, **({"service_tier": tier} if tier else {})))
        for tier in ("", "default", "flex", "auto", "priority")
    }
    known = {tier: cost for tier, cost in costs.items() if cost is not None}
    assert len(known) == 5
    assert known["flex"] > 0.99 * known["default"], "the vendor may serve it in the default tier"
    assert known["auto"] > 1.9 * known["default"]
    assert known["priority"] > 1.9 * known["default"]


# Whole runs: refused before they begin.


@pytest.mark.parametrize(
    ("limits", "spec", "words"),
    [
        ({}, flow(ask(tools=[WEB])), "workflow 'w' has a limit"),
        ({"tenant": 10**9}, flow(ask(tools=[WEB]), budget=None), "the tenant has a limit"),
        ({"day": 10**9}, flow(ask(tools=[WEB]), budget=None), "the day has a limit"),
        ({"agent m": 10**9}, flow(ask(tools=[WEB]), budget=None), "agent 'm' has a limit"),
        (
            {},
            flow(ask(tools=[WEB]), model_spec(cost_limit=10**9), budget=None),
            "agent 'm' has a limit",
        ),
        (
            {},
            flow(msgspec.structs.replace(ask(tools=[WEB]), cost_limit=10**9), budget=None),
            "task 'ask' has a limit",
        ),
    ],
)
async def test_a_run_that_no_limit_can_bound_does_not_begin(
    limits: dict[str, int], spec: WorkflowSpec, words: str
) -> None:
    async with open_hive(budgets=limits) as hive:
        with pytest.raises(ConfigurationError) as caught:
            await hive.submit(spec)
        assert await hive.journal.list_runs() == []
    assert "task 'ask': the cost of a call of agent 'm' is unknown" in str(caught.value)
    assert words in str(caught.value)
    assert "web_search_20250305" in str(caught.value)


@pytest.mark.parametrize("declares", ["task", "agent", "no limit"])
async def test_a_declared_cost_admits_it(declares: str) -> None:
    async with RudeModel(lambda body: http(200, answer("openai"))) as server:
        agent = model_spec(f"http://{server.host}", max_cost=10**6 if declares == "agent" else None)
        task = msgspec.structs.replace(
            ask(tools=[WEB], web_search_options={}), max_cost=10**6 if declares == "task" else None
        )
        spec = flow(task, agent, budget=None if declares == "no limit" else 10**9)
        async with open_hive() as hive:
            report = await hive.run(spec)
    assert (report.status, len(server.bodies)) == ("completed", 1)


@pytest.mark.parametrize(
    "task",
    [
        msgspec.structs.replace(ask(tools=[WEB]), for_each=EachSpec(items=[1], max_items=2)),
        msgspec.structs.replace(ask(), fallback=(FallbackSpec(agent="m", model="bee-9000"),)),
        msgspec.structs.replace(
            ask(),
            compensate=CompensationSpec(agent="m", action="undo", parameters={"model": "b"}),
        ),
        TaskSpec(name="ask", workflow=flow(ask(tools=[WEB]), budget=None), parameters={}),
        ask(model="{{ inputs.model }}"),
    ],
    ids=["items", "fallback", "compensation", "sub-workflow", "input"],
)
async def test_it_is_found_wherever_it_stands(task: TaskSpec) -> None:
    async with open_hive() as hive:
        with pytest.raises(ConfigurationError, match="is unknown, and workflow 'w' has a limit"):
            await hive.submit(flow(task), {"model": "bee-9000"})


async def test_an_agent_that_depends_on_inputs_is_left_to_the_run() -> None:
    unknown = model_spec("{{ inputs.url }}", custom_params={"model": "{{ inputs.model }}"})
    child = flow(ask(), unknown, budget=None)
    async with RudeModel(lambda body: http(200, answer("openai"))) as server:
        given: dict[str, Any] = {"url": f"http://{server.host}/v1", "model": "m-1"}
        task = TaskSpec(name="ask", workflow=child, parameters=given)
        async with open_hive() as hive:
            report = await hive.run(flow(task))
    assert (report.status, len(server.bodies)) == ("completed", 1)


async def test_what_is_known_only_in_the_run_is_refused_there() -> None:
    async with RudeModel(lambda body: http(200, answer("openai"))) as server:
        first = TaskSpec(name="first", agent="f", action="choose")
        task = msgspec.structs.replace(ask(tools="{{ tasks.first.result }}"), depends_on=("first",))
        custom = AgentSpec(name="f", type="custom", endpoint="custom://f")
        spec = flow(task, model_spec(f"http://{server.host}"), custom)
        spec = msgspec.structs.replace(spec, tasks=(first, task))
        async with open_hive() as hive:
            hive.agents.register("f", lambda call: [WEB])
            report = await hive.run(spec)
    assert (report.status, server.bodies) == ("failed", [])
    error = str(report.tasks["ask"].error)
    assert "the cost of a call of agent 'm' is unknown" in error
    assert "the vendor's own tool 'web_search_20250305'" in error


async def test_an_unknown_price_names_the_model_the_address_and_every_cure() -> None:
    spec = flow(ask(model="bee-9000"))
    async with open_hive() as hive:
        with pytest.raises(ConfigurationError) as caught:
            await hive.submit(spec)
    for words in (
        *("bee-9000", "http://127.0.0.1:9/v1", "max_cost", '[prices."bee-9000"]'),
        *("[prices.default]", "custom_params.prices"),
    ):
        assert words in str(caught.value)


async def test_a_task_that_never_runs_refuses_no_run() -> None:
    async with open_hive() as hive:
        spec = flow(msgspec.structs.replace(ask(tools=[WEB]), when="false"))
        assert (await hive.run(spec)).status == "completed"
