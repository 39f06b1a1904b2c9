"""The door: what is accepted, with which defaults, and what every bad definition is told."""

# ruff: noqa: E501
from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from agenthive import authoring
from agenthive.authoring import SERVER, load, loads, placeholder
from agenthive.core.model.workflow import Effect, FailureStrategy
from agenthive.core.policies.fault_classes import DEFAULT_RETRY_ON, FaultClass
from agenthive.core.policies.retry import RetryPolicy, RetryStrategy
from agenthive.errors import ConfigurationError
from tests.authoring.known_actions import KnownActions

from .definitions import BAD, FULL, MINIMAL, with_agent, with_task


def test_defaults_of_a_minimal_file() -> None:
    spec = loads(MINIMAL).spec
    assert (spec.max_parallel, spec.timeout, spec.version) == (1, 300.0, "1.0.0")
    assert spec.failure_strategy is FailureStrategy.STOP
    assert spec.dialect == 0
    assert spec.agents[0].timeout == 30.0
    assert spec.agents[0].retry is None
    task = spec.tasks[0]
    assert (task.timeout, task.priority, task.effect) == (None, 5, Effect.ANY)
    assert (task.depends_on, task.continue_on_failure) == ((), False)


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("[bad_end, not_sent, bad_end]", (FaultClass.NOT_SENT, FaultClass.BAD_END)),
        ("[]", ()),
        ("[unknown, not_sent]", DEFAULT_RETRY_ON),
    ],
)
def test_retry_on(text: str, classes: tuple[FaultClass, ...]) -> None:
    body = f"{{name: u, agent_name: a, action: go, retry_config: {{retry_on: {text}}}}}"
    task = loads(with_task(body)).spec.tasks[1]
    assert task.retry is not None
    assert task.retry.retry_on == classes


def test_every_documented_key() -> None:
    spec = loads(FULL).spec
    assert (spec.max_parallel, spec.timeout, spec.version) == (10, 60.0, "1.2.0")
    agent, task = spec.agents[0], spec.tasks[1]
    assert agent.authentication == {
        "type": "api_key",
        "key": "${env:SOME_KEY}",
        "header": "X-API-Key",
    }
    assert agent.retry == RetryPolicy(
        max_attempts=5,
        initial_delay=0.5,
        max_delay=30,
        exponential_base=3,
        jitter=False,
        strategy=RetryStrategy.LINEAR_BACKOFF,
    )
    assert agent.circuit_breaker is not None
    assert (agent.circuit_breaker.failure_threshold, agent.max_concurrency) == (3, 3)
    assert agent.custom_params == {"user_agent": "LeadAgent/1.0"}
    assert task.retry == RetryPolicy(max_attempts=2, initial_delay=0.5)
    assert (task.timeout, task.priority, task.estimated_duration) == (30.0, 9, 120.0)
    assert task.continue_on_failure
    assert task.effect is Effect.ONCE
    assert task.compensate is not None
    assert (task.compensate.agent, task.compensate.action) == ("agent_name", "undo")


def test_native_defaults() -> None:
    spec = loads(
        "agenthive: 1\nname: w\n"
        "agents:\n- {name: m, type: ai_agent, endpoint: x}\n- {name: h, type: http_api, endpoint: y}\n"
        "tasks: [{name: t, agent: m, action: go}]"
    ).spec
    assert (spec.dialect, spec.max_parallel, spec.timeout) == (1, 16, None)
    assert [agent.timeout for agent in spec.agents] == [120.0, 30.0]
    assert spec.tasks[0].agent == "m"
    assert loads("agenthive: 1\nparallel_execution: false\n" + MINIMAL).spec.max_parallel == 1


@pytest.mark.parametrize(
    ("line", "parallel"),
    [
        ("parallel_execution: false", 1),
        ("parallel_execution: true", 10),
        ("max_parallel: 4", 4),
        ("parallel_execution: true\nmax_parallel: 3", 3),
    ],
)
def test_max_parallel(line: str, parallel: int) -> None:
    assert loads(f"{MINIMAL}{line}\n").spec.max_parallel == parallel


def test_json_and_mapping_mean_the_same(tmp_path: Path) -> None:
    data = {
        "name": "w",
        "global_timeout": None,
        "agents": [{"name": "a", "type": "custom", "endpoint": "custom://a"}],
        "tasks": [{"name": "t", "agent_name": "a", "action": "go", "parameters": {"x": [1, 2.5]}}],
    }
    path = tmp_path / "w.json"
    path.write_text(json.dumps(data, indent=1))
    from_yaml = loads(json.dumps(data)).spec
    assert load(path).spec == from_yaml == authoring.from_mapping(data).spec
    assert from_yaml.timeout is None


def test_canonical_bytes_and_digest() -> None:
    spec = loads(FULL).spec
    data = authoring.dump(spec)
    assert authoring.parse_spec(data) == spec
    assert authoring.dump(authoring.parse_spec(data)) == data
    reordered = loads(
        FULL.replace("timeout: 12\n    max_concurrency: 3", "max_concurrency: 3\n    timeout: 12.0")
    )
    assert authoring.digest(reordered.spec) == authoring.digest(spec)
    assert authoring.digest(loads(MINIMAL).spec) != authoring.digest(spec)
    with pytest.raises(ConfigurationError, match="stored definition"):
        authoring.parse_spec(b"[]")


@pytest.mark.parametrize("name", BAD)
def test_bad_definitions(name: str) -> None:
    text, place, why = BAD[name]
    start = time.process_time()
    with pytest.raises(ConfigurationError) as caught:
        loads(text, "f.yaml")
    assert time.process_time() - start < 5
    line = next((line for line in caught.value.problems if why in line), caught.value.message)
    assert why in line
    assert line.startswith(place)
    assert "hunter2" not in str(caught.value)
    assert caught.value.exit_code == 2
    assert caught.value.hint


BAD_JSON = {
    "blank": (" \n", "f.json: ", "the file is empty"),
    "cut": ('{"name": "w",', "f.json:1:14", "expected a key"),
    "no colon": ('{"name" "w"}', "f.json:1:9", "expected ':'"),
    "trailing comma": ('{"name": [1,]}', "f.json:1:13", "expected a value"),
    "single quotes": ("{'name': 1}", "f.json:1:2", "double quotes"),
    "duplicate key": (
        '{"name": "w",\n "name": "v"}',
        "f.json:2:2",
        "duplicate key 'name'; it is already at line 1, column 2",
    ),
    "NaN": ('{"global_timeout": NaN}', "f.json:1:20", "NaN and Infinity"),
    "minus infinity": ('{"global_timeout": -Infinity}', "f.json:1:20", "NaN and Infinity"),
    "1e999": ('{"global_timeout": 1e999}', "f.json:1:20", "NaN and Infinity"),
    "leading zero": ('{"max_parallel": 010}', "f.json:1:18", "malformed"),
    "bare dot": ('{"max_parallel": 1.}', "f.json:1:18", "malformed"),
    "large": ('{"max_parallel": 99999999999999999999}', "f.json:1:18", "64 bits"),
    "after the end": ("{} {}", "f.json:1:4", "after the end of the value"),
    "deep": ("[" * 100_000, "f.json:1:65", "64 levels"),
    "deep maps": ('{"a":' * 100_000, "f.json:1:321", "64 levels"),
    "open text": ('{"a": "b', "f.json:1:7", "Unterminated string"),
    "surrogate": ('{"a": "\\ud800"}', "f.json:1:7", "surrogate"),
    "unknown key": ('{"naem":\n1}', "f.json:1:2", "Did you mean 'name'?"),
}


@pytest.mark.parametrize("name", BAD_JSON)
def test_bad_json(name: str) -> None:
    text, place, why = BAD_JSON[name]
    with pytest.raises(ConfigurationError) as caught:
        loads(text, "f.json", "json")
    line = next((line for line in caught.value.problems if why in line), caught.value.message)
    assert why in line
    assert line.startswith(place)


def test_problems_are_told_together_up_to_twenty() -> None:
    tasks = "".join(f"  - {{name: t{i}, agent_name: b, action: go}}\n" for i in range(30))
    with pytest.raises(ConfigurationError) as caught:
        loads(MINIMAL + tasks, "f.yaml")
    assert len(caught.value.problems) == 20
    assert "f.yaml: 30 problems:" in caught.value.message
    assert "... and 10 more" in caught.value.message


def test_exact_wordings() -> None:
    with pytest.raises(ConfigurationError) as caught:
        loads(
            "name: w\nagents: []\ntasks:\n- {name: process_data, agent_name: missing_agent, action: x}"
        )
    assert "Task 'process_data' references undefined agent 'missing_agent'" in str(caught.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    cases = {
        "missing.yaml": (None, "no such file"),
        "binary.yaml": (b"\x89PNG\r\n\x1a\n\0\0\0", "binary"),
        "latin.yaml": ("name: caf\xe9".encode("latin-1"), "not valid UTF-8"),
        "utf16.yaml": ("name: w".encode("utf-16"), "binary"),
        "empty.yaml": (b"", "empty"),
    }
    for name, (data, why) in cases.items():
        path = tmp_path / name
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(ConfigurationError, match=why) as caught:
            load(path)
        assert str(path) in str(caught.value)
    with pytest.raises(ConfigurationError, match=r"latin\.yaml:1:10: is not valid UTF-8"):
        load(tmp_path / "latin.yaml")
    with pytest.raises(ConfigurationError, match="is a directory"):
        load(tmp_path)
    with pytest.raises(ConfigurationError, match="not a regular file"):
        load("/dev/zero")
    with pytest.raises(ConfigurationError, match="path is not valid"):
        load("a\0b")


def test_limits(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_text("# " + "x" * SERVER.max_bytes)
    with pytest.raises(ConfigurationError, match="larger than 262,144 bytes"):
        load(path, limits=SERVER)
    with pytest.raises(ConfigurationError, match="larger than 262,144 bytes"):
        loads("é" * 200_000, limits=SERVER)
    tasks = [{"name": f"t{i}", "agent_name": "a", "action": "x"} for i in range(10_001)]
    data = {
        "name": "w",
        "agents": [{"name": "a", "type": "custom", "endpoint": "e"}],
        "tasks": tasks,
    }
    with pytest.raises(ConfigurationError, match="has 10,001 tasks; at most 10,000 are allowed"):
        authoring.from_mapping(data, limits=SERVER)


def test_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    path.write_text(MINIMAL, encoding="utf-8-sig")
    assert load(path).spec.name == "w"


@pytest.mark.slow
def test_ten_thousand_tasks_take_seconds_at_most() -> None:
    head = MINIMAL.replace("{name: t,", "{name: t0,")
    tasks = "".join(
        f"  - name: t{i}\n    agent_name: a\n    action: go\n    depends_on: [t{i - 1}]\n"
        f"    parameters:\n      text: '{{{{ tasks.t{i - 1}.result }}}} {{{{ tasks.t0.result }}}}'\n"
        for i in range(1, 10_000)
    )
    start = time.process_time()
    assert len(loads(head + tasks).spec.tasks) == 10_000
    assert time.process_time() - start < 20


@pytest.mark.slow
def test_ten_thousand_problems_take_no_longer() -> None:
    tasks = [
        {"name": f"t{i}", "agent_name": "b", "action": "x", "depends_on": [f"u{i}"]}
        for i in range(10_000)
    ]
    agents = [{"name": f"a{i}", "type": "custom", "endpoint": "e"} for i in range(10_000)]
    start = time.process_time()
    with pytest.raises(ConfigurationError, match="20000 problems"):
        authoring.from_mapping({"name": "w", "agents": agents, "tasks": tasks})
    assert time.process_time() - start < 20


def test_wide_reads_take_seconds_at_most() -> None:
    names = [f"t{i}" for i in range(5000)]
    tasks: list[dict[str, Any]] = [
        {"name": name, "agent_name": "a", "action": "x"} for name in names
    ]
    reads = [f"{{{{ tasks.{name}.result }}}}" for name in names]
    last = {"name": "z", "agent_name": "a", "action": "x", "depends_on": names}
    tasks.append({**last, "parameters": {"all": reads}})
    agents = [{"name": "a", "type": "custom", "endpoint": "e"}]
    start = time.process_time()
    authoring.from_mapping({"name": "w", "agents": agents, "tasks": tasks})
    assert time.process_time() - start < 20


def test_a_long_cycle_is_shown_short() -> None:
    tasks = [
        {"name": f"t{i}", "agent_name": "a", "action": "x", "depends_on": [f"t{(i + 1) % 5000}"]}
        for i in range(5000)
    ]
    data = {
        "name": "w",
        "agents": [{"name": "a", "type": "custom", "endpoint": "e"}],
        "tasks": tasks,
    }
    with pytest.raises(ConfigurationError, match="Circular dependency detected in tasks") as caught:
        authoring.from_mapping(data)
    assert len(str(caught.value)) < 600


def test_secrets_are_kept_out() -> None:
    kept: dict[str, str] = {}

    def keep(label: str, value: str) -> str:
        kept[label] = value
        return f"${{secret:{label}}}"

    text = (
        with_agent(
            "{name: b, type: custom, endpoint: e, authentication: {type: basic, username: u, password: hunter2}}"
        )
        + "  - {name: u, agent_name: a, action: x, parameters: {headers: {X-API-Key: hunter3, Accept: x}}}\n"
    )
    loaded = loads(text + "inputs: {s: {type: secret, default: hunter4}}\n", keep_secret=keep)
    data = authoring.dump(loaded.spec).decode()
    assert "hunter" not in data + "".join(loaded.warnings)
    assert sorted(kept.values()) == ["hunter2", "hunter3", "hunter4"]
    assert kept["w.agents.b.password"] == "hunter2"
    assert len(loaded.warnings) == 3
    assert all("moved" in line for line in loaded.warnings)
    assert loaded.spec.inputs["s"].default == "${secret:w.inputs.s}"
    checked = loads(text, keep_secret=placeholder)
    assert all("a run moves it" in line for line in checked.warnings)
    assert checked.spec.agents[1].authentication == {
        "type": "basic",
        "username": "u",
        "password": "${secret:w.agents.b.password}",
    }


def test_references_are_accepted_and_found() -> None:
    text = with_agent(
        "{name: b, type: custom, endpoint: '${env:BASE_URL}/v1', custom_params: {k: ['${file:/x/y}']},"
        " authentication: {type: bearer, token: '${secret:tok}'}}"
    ) + (
        "  - {name: u, agent_name: a, action: x, parameters:"
        " {headers: {authorization: 'Bearer ${env:TOK}', Cookie: '{{ inputs.c }}'}, text: '${env:X}'}}\n"
    )
    loaded = loads(text, "f.yaml")
    assert {(one.kind, one.target) for one in loaded.references} == {
        ("env", "BASE_URL"),
        ("file", "/x/y"),
        ("secret", "tok"),
        ("env", "TOK"),
    }
    assert loaded.references[0].place == "f.yaml:4:39: agents[1].endpoint"
    assert len(loaded.warnings) == 1
    assert "is sent unchanged" in loaded.warnings[0]
    found = {(one.kind, one.target) for one in authoring.references_of(loaded.spec)}
    assert found == {(one.kind, one.target) for one in loaded.references}


def test_environment_is_checked_without_printing_it(tmp_path: Path) -> None:
    here = tmp_path / "token"
    here.write_text("hunter2")
    text = with_agent(
        f"{{name: b, type: custom, endpoint: '${{env:THERE}}', custom_params: {{a: '${{env:GONE}}',"
        f" b: '${{file:{here}}}', c: '${{file:{tmp_path}/no}}', d: '${{env:VOID}}'}}}}"
    )
    loaded = loads(text, "f.yaml")
    environ = {"THERE": "hunter2", "VOID": ""}
    for wanted in (loaded.references, loaded.spec):
        with pytest.raises(ConfigurationError) as caught:
            authoring.check_environment(wanted, environ)
        message = str(caught.value)
        assert "the environment variable GONE is not set" in message
        assert "the environment variable VOID is empty" in message
        assert f"the file {tmp_path}/no does not exist" in message
        assert "hunter2" not in message
        assert len(caught.value.problems) == 3
    assert "f.yaml:4:" in str(caught.value) or "agents.b.custom_params" in str(caught.value)
    authoring.check_environment(loads(MINIMAL).spec, {})


def test_actions_are_checked_by_who_knows_them() -> None:
    class Known(KnownActions):
        def action_problem(self, spec: Any, action: str) -> str | None:
            return None if action == "fetch" else f"{spec.type} cannot {action}; it can: fetch"

        def effect_of(self, spec: Any, action: str) -> Effect | None:
            return Effect.NONE if action == "fetch" else None

    text = with_task("{name: u, agent_name: a, action: fetch, compensate: {action: undo}}")
    with pytest.raises(ConfigurationError) as caught:
        loads(text, "f.yaml", actions=Known())
    assert [line.split(": ", 1)[0] for line in caught.value.problems] == [
        "f.yaml:5:38",
        "f.yaml:6:66",
    ]
    assert "it can: fetch" in str(caught.value)
    for effect, expected in (("", "none"), (", effect: any", "any"), (", effect: once", "once")):
        text = MINIMAL.replace("action: go", f"action: fetch{effect}")
        assert loads(text, actions=Known()).spec.tasks[0].effect == expected


def test_a_dependency_listed_twice_is_only_a_warning() -> None:
    text = "{name: u, agent_name: a, action: go, depends_on: [t, t]}"
    loaded = loads(with_task(text), "f.yaml")
    assert loaded.spec.tasks[1].depends_on == ("t",)
    assert loaded.warnings == ("f.yaml:6:58: tasks[1].depends_on: 't' is listed twice; remove one",)


def test_enumerations_of_python_are_their_values() -> None:
    tasks = [{"name": "t", "agent_name": "a", "action": "x", "effect": Effect.ONCE}]
    agents = ({"name": "a", "type": "custom", "endpoint": "e"},)
    spec = authoring.from_mapping({"name": "w", "agents": agents, "tasks": tasks}).spec
    assert spec.tasks[0].effect is Effect.ONCE
    assert type(spec.tasks[0].effect) is Effect


def test_other_kinds_of_agents() -> None:
    text = with_agent("{name: b, type: team, endpoint: e}")
    assert loads(text, actions=KnownActions()).spec.agents[1].type == "team"
    with pytest.raises(ConfigurationError, match="'team' is not one of ai_agent, mcp_server"):
        loads(text)
    with pytest.raises(ConfigurationError, match=r"'teem' is not one of .* Did you mean 'team'"):
        loads(text.replace("team", "teem"), actions=KnownActions())


def test_kind_that_cannot_be_used_is_a_problem_at_its_place() -> None:
    class Known(KnownActions):
        def kind_problem(self, kind: str) -> str | None:
            return "it lacks make" if kind == "team" else None

    text = with_agent("{name: b, type: team, endpoint: e}")
    with pytest.raises(
        ConfigurationError, match=r"f\.yaml:\d+:\d+: agents\[1\]\.type: it lacks make"
    ):
        loads(text, "f.yaml", actions=Known())


def test_parameter_that_an_action_does_not_take_is_warned_about() -> None:
    class Known(KnownActions):
        def parameters(self, spec: Any, action: str) -> Any:
            if action != "fetch":
                return None
            properties = {"query": {"type": "object"}}
            return {"type": "object", "properties": properties, "additionalProperties": False}

    text = with_task("{name: u, agent_name: a, action: fetch, parameters: {qeury: {}, query: {}}}")
    (warning,) = loads(text, "f.yaml", actions=Known()).warnings
    assert "parameters.qeury: is not a parameter of this action. Did you mean 'query'?" in warning
    assert loads(text.replace("fetch", "push"), actions=Known()).warnings == ()


def test_mapping_places_are_paths() -> None:
    with pytest.raises(ConfigurationError, match=r"<mapping>: tasks\[0\]\.priority: must be"):
        authoring.from_mapping(
            {
                "name": "w",
                "agents": [{"name": "a", "type": "custom", "endpoint": "e"}],
                "tasks": [{"name": "t", "agent_name": "a", "action": "x", "priority": "9"}],
            }
        )
    loop: list[Any] = []
    loop.append(loop)
    for value, why in (
        (loop, "64 levels"),
        ({1: 2}, "key must be text"),
        (object(), "cannot be converted to JSON"),
    ):
        with pytest.raises(ConfigurationError, match=why):
            authoring.from_mapping({"name": value})
    with pytest.raises(ConfigurationError, match="NaN"):
        authoring.from_mapping({"global_timeout": float("nan")})


def test_unknown_format() -> None:
    with pytest.raises(ConfigurationError, match="unknown format 'toml'"):
        loads("", format="toml")
