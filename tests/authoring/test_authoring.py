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
from agenthive.core.policies.retry import RetryPolicy, RetryStrategy
from agenthive.core.spec import Effect, FailureStrategy
from agenthive.errors import ConfigurationError

MINIMAL = """\
name: w
agents:
  - {name: a, type: custom, endpoint: "custom://a"}
tasks:
  - {name: t, agent_name: a, action: go}
"""

FULL = """\
name: "workflow_name"
description: "Workflow description"
version: "1.2.0"
parallel_execution: true
failure_strategy: "partial_completion_allowed"
global_timeout: 60
agents:
  - name: "agent_name"
    type: "ai_agent"
    endpoint: "https://api.example.com"
    timeout: 12
    max_concurrency: 3
    authentication:
      type: "api_key"
      key: "${env:SOME_KEY}"
    retry_config:
      max_attempts: 5
      initial_delay: 0.5
      max_delay: 30.0
      exponential_base: 3.0
      jitter: false
      strategy: linear_backoff
    circuit_breaker:
      failure_threshold: 3
      recovery_timeout: 30
    custom_params:
      user_agent: "LeadAgent/1.0"
tasks:
  - name: task1
    agent_name: agent_name
    action: a
  - name: "task_name"
    description: "Task description"
    agent_name: "agent_name"
    action: "action_name"
    parameters:
      param1: "value1"
      param2: 42
      nested: {key: "{{ tasks.task1.result }}"}
    timeout: 30
    depends_on: ["task1"]
    continue_on_failure: true
    retry_config:
      max_attempts: 2
      initial_delay: 0.5
    effect: once
    priority: 9
    estimated_duration: 2m
    compensate: {action: undo, parameters: {x: "{{ tasks.task_name.result.id }}"}}
"""


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


def with_task(text: str) -> str:
    return MINIMAL + f"  - {text}\n"


def with_agent(text: str) -> str:
    return MINIMAL.replace("tasks:", f"  - {text}\ntasks:")


def replaced(old: str, new: str) -> str:
    assert old in MINIMAL
    return MINIMAL.replace(old, new)


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "\n".join(
    f"{b}: &{b} [{','.join(['*' + a] * 9)}]" for a, b in zip("abcdefg", "bcdefgh", strict=True)
)

T2 = "{name: u, agent_name: a, action: go, "

BAD: dict[str, tuple[str, str, str]] = {
    # name: (text, place, part of the message)
    "empty": ("", "f.yaml: ", "it is empty"),
    "only a comment": ("# nothing\n", "f.yaml: ", "it is empty"),
    "null": ("~\n", "f.yaml:1:1", "must be a map"),
    "a list": ("- a\n", "f.yaml:1:1", "must be a map of keys, not a list"),
    "a text": ("hello", "f.yaml:1:1", "must be a map of keys, not text"),
    "binary": ("name: w\x00\x01", "f.yaml:1:8", "control character U+0000"),
    "not yaml": ("name: [a\n", "f.yaml:2:1", "not YAML"),
    "tab": ("name: w\nagents:\n\t- x\n", "f.yaml:3:1", "not YAML"),
    "two colons": ("name: a: b\n", "f.yaml:1:8", "quote a text"),
    "two documents": (MINIMAL + "---\n" + MINIMAL, "f.yaml:6:1", "one workflow"),
    "alias": ("name: &n w\nversion: *n\n", "f.yaml:1:7", "anchors (&name) are not allowed"),
    "alias alone": ("name: *n\n", "f.yaml:1:7", "aliases (*name) are not allowed"),
    "alias bomb": (BOMB, "f.yaml:1:4", "anchors"),
    "tag": ("name: !!python/object/apply:os.system [id]\n", "f.yaml:1:7", "tags (!name)"),
    "plain tag": ("name: !!str w\n", "f.yaml:1:7", "tags (!name)"),
    "duplicate key": ("name: w\nname: v\n", "f.yaml:2:1", "duplicate key 'name'; it stands at line 1"),
    "number as key": ("1: w\n", "f.yaml:1:1", "a key must be text"),
    "list as key": ("? [a]\n: w\n", "f.yaml:1:3", "a key must be text"),
    "deep": ("x: " + "[" * 100_000, "f.yaml:1:67", "more than 64 levels"),
    "deep blocks": ("\n".join(" " * i + "a:" for i in range(200)), "f.yaml:65:65", "64 levels"),
    "nan": (MINIMAL + "global_timeout: .nan\n", "f.yaml:6:17", "NaN and Infinity"),
    "infinity": (MINIMAL + "global_timeout: -.inf\n", "f.yaml:6:17", "NaN and Infinity"),
    "too large a float": (MINIMAL + "global_timeout: 1e999\n", "f.yaml:6:17", "NaN and Infinity"),
    "too large an int": (MINIMAL + f"max_parallel: {10**30}\n", "f.yaml:6:15", "64 bits"),
    "unknown key": (MINIMAL + "naem: x\n", "f.yaml:6:1", "unknown key 'naem' in workflow. Did you mean 'name'?"),
    "known mistake": (MINIMAL + "timeout: 3\n", "f.yaml:6:1", "write global_timeout"),
    "unknown key in agent": (with_agent("{name: b, type: custom, endpoint: e, url: x}"), "f.yaml:4:42", "write endpoint"),
    "unknown key in task": (with_task(T2 + "depend_on: [t]}"), "f.yaml:6:42", "Did you mean 'depends_on'?"),
    "agent in the classic dialect": (with_task("{name: u, agent: a, action: go}"), "f.yaml:6:15", "write agent_name"),
    "no name": (replaced("name: w\n", ""), "f.yaml:1:1", "'name' is required"),
    "no tasks": (MINIMAL.split("tasks:")[0], "f.yaml:1:1", "'tasks' is required"),
    "empty tasks": (MINIMAL.split("tasks:")[0] + "tasks: []", "f.yaml:4:8", "at least one entry"),
    "no action": (with_task("{name: u, agent_name: a}"), "f.yaml:6:5", "'action' is required"),
    "tasks is a map": (MINIMAL.split("tasks:")[0] + "tasks: {t: 1}", "f.yaml:4:8", "must be a list"),
    "task is text": (with_task("hello"), "f.yaml:6:5", "must be a map of keys, not text"),
    "name is a number": (replaced("name: w", "name: 5"), "f.yaml:1:7", "must be text, not a whole number; put it in quotes"),
    "version is a number": (MINIMAL + "version: 1.0\n", "f.yaml:6:10", "put it in quotes"),
    "flag is text": (MINIMAL + "parallel_execution: no\n", "f.yaml:6:21", "must be true or false, not text"),
    "time-out is text": (MINIMAL + "global_timeout: soon\n", "f.yaml:6:17", '"1.5s"'),
    "time-out is zero": (MINIMAL + "global_timeout: 0\n", "f.yaml:6:17", "more than 0"),
    "time-out is negative": (MINIMAL + "global_timeout: -5\n", "f.yaml:6:17", "more than 0"),
    "time-out is absurd": (MINIMAL + "global_timeout: 1e12\n", "f.yaml:6:17", "at most"),
    "bad strategy": (MINIMAL + "failure_strategy: stop\n", "f.yaml:6:19", "not one of stop_on_first_failure"),
    "no such dialect": ("agenthive: 2\n" + MINIMAL, "f.yaml:1:12", "at most 1"),
    "dialect is not first": (MINIMAL + "agenthive: 1\n", "f.yaml:6:12", "must be the first key"),
    "parallel contradiction": (MINIMAL + "parallel_execution: false\nmax_parallel: 4\n", "f.yaml:7:15", "contradicts"),
    "agent type": (with_agent("{name: b, type: ai_agnt, endpoint: e}"), "f.yaml:4:21", "Did you mean 'ai_agent'?"),
    "empty endpoint": (with_agent("{name: b, type: custom, endpoint: ''}"), "f.yaml:4:39", "must not be empty"),
    "duplicate agent": (with_agent("{name: a, type: custom, endpoint: e}"), "f.yaml:4:12", "already an agent named 'a'"),
    "duplicate task": (with_task("{name: t, agent_name: a, action: go}"), "f.yaml:6:12", "already a task named 't' (first at line 5)"),
    "undefined agent": (with_task("{name: u, agent_name: b, action: go}"), "f.yaml:6:27", "Task 'u' references undefined agent 'b'"),
    "undefined dependency": (with_task(T2 + "depends_on: [tt]}"), "f.yaml:6:55", "depends on undefined task 'tt'. Did you mean 't'?"),
    "self-dependency": (with_task(T2 + "depends_on: [u]}"), "f.yaml:6:55", "Task 'u' depends on itself"),
    "cycle": (
        with_task(T2 + "depends_on: [v]}") + "  - {name: v, agent_name: a, action: go, depends_on: [u]}\n",
        "f.yaml:6:12",
        "Circular dependency detected in tasks: u -> v -> u",
    ),
    "dependency is a number": (with_task(T2 + "depends_on: [1]}"), "f.yaml:6:55", "a name must be text"),
    "dependencies are text": (with_task(T2 + "depends_on: t}"), "f.yaml:6:54", "must be a list of names"),
    "retries are zero": (with_task(T2 + "retry_config: {max_attempts: 0}}"), "f.yaml:6:71", "at least 1"),
    "retries are absurd": (with_task(T2 + "retry_config: {max_attempts: 100000}}"), "f.yaml:6:71", "at most 1,000"),
    "max_retries": (with_task(T2 + "retry_config: {max_retries: 3}}"), "f.yaml:6:57", "counts the first try too"),
    "negative delay": (with_task(T2 + "retry_config: {initial_delay: -1}}"), "f.yaml:6:72", "at least 0"),
    "priority": (with_task(T2 + "priority: 11}"), "f.yaml:6:52", "at most 10"),
    "effect": (with_task(T2 + "effect: never}"), "f.yaml:6:50", "not one of none, keyed, any, once"),
    "parameters": (with_task(T2 + "parameters: [1]}"), "f.yaml:6:54", "must be a map"),
    "threshold": (with_agent("{name: b, type: custom, endpoint: e, circuit_breaker: {failure_threshold: 0}}"), "f.yaml:4:79", "at least 1"),
    "slash in a name": (with_task("{name: a/b, agent_name: a, action: go}"), "f.yaml:6:12", "must not hold /"),
    "hash in a name": (with_task("{name: 'a#b', agent_name: a, action: go}"), "f.yaml:6:12", "must not hold #"),
    "bracket in a name": (with_task("{name: 'a[1]', agent_name: a, action: go}"), "f.yaml:6:12", "must not hold [ or ]"),
    "control character in a name": (with_task('{name: "a\\n", agent_name: a, action: go}'), "f.yaml:6:12", "control characters"),
    "long name": (with_task(f"{{name: {'n' * 129}, agent_name: a, action: go}}"), "f.yaml:6:12", "at most 128"),
    "name not composed": (with_task("{name: 'e\u0301', agent_name: a, action: go}"), "f.yaml:6:12", "NFC"),
    "bad expression": (with_task(T2 + "parameters: {x: '{{ 1 + }}'}}"), "f.yaml:6:58", "column"),
    "unknown root": (with_task(T2 + "parameters: {x: '{{ os.environ }}'}}"), "f.yaml:6:58", "unknown name 'os'"),
    "reads no ancestor": (with_task(T2 + "parameters: {x: ['{{ tasks.t.result }}']}}"), "f.yaml:6:59", "add 't' to its depends_on"),
    "reads an undefined task": (with_task(T2 + "parameters: {x: '{{ tasks.q.result }}'}}"), "f.yaml:6:58", "reads undefined task 'q'"),
    "reads itself": (with_task(T2 + "parameters: {x: '{{ tasks.u.result }}'}}"), "f.yaml:6:58", "cannot read its own result"),
    "undeclared input": (with_task(T2 + "parameters: {x: '{{ inputs.topik }}'}}") + "inputs: {topic: x}\n", "f.yaml:6:58", "undeclared input 'topik'. Did you mean 'topic'?"),
    "undeclared input of an agent": (with_agent("{name: b, type: custom, endpoint: '{{ inputs.x }}'}") + "inputs: {}\n", "f.yaml:4:39", "undeclared input 'x'"),
    "input type": (MINIMAL + "inputs: {n: {type: int}}\n", "f.yaml:6:20", "'int' is not one of"),
    "input default": (MINIMAL + "inputs: {n: {type: integer, default: x}}\n", "f.yaml:6:38", "must be of type integer"),
    "input required with default": (MINIMAL + "inputs: {n: {required: true, default: 1}}\n", "f.yaml:6:39", "has no default"),
    "inputs are a list": (MINIMAL + "inputs: [n]\n", "f.yaml:6:9", "must be a map"),
    "secret default": (MINIMAL + "inputs: {n: {type: secret, default: hunter2}}\n", "f.yaml:6:37", "reference"),
    "literal token": (with_agent("{name: b, type: custom, endpoint: e, authentication: {type: bearer, token: hunter2}}"), "f.yaml:4:80", "must not be written out"),
    "literal after a scheme": (with_agent("{name: b, type: custom, endpoint: e, authentication: {type: bearer, token: 'hunter2 ${env:A}'}}"), "f.yaml:4:80", "must not be written out"),
    "token is a number": (with_agent("{name: b, type: custom, endpoint: e, authentication: {type: bearer, token: 12345}}"), "f.yaml:4:80", "must be text"),
    "no token": (with_agent("{name: b, type: custom, endpoint: e, authentication: {type: bearer}}"), "f.yaml:4:58", "needs the key 'token'"),
    "no password": (with_agent("{name: b, type: custom, endpoint: e, authentication: {type: basic, username: x}}"), "f.yaml:4:58", "needs the key 'password'"),
    "auth type": (with_agent("{name: b, type: custom, endpoint: e, authentication: {type: oauth}}"), "f.yaml:4:65", "bearer, api_key, basic"),
    "bad reference": (with_agent("{name: b, type: custom, endpoint: '${HOME}/x'}"), "f.yaml:4:39", "a reference is ${env:NAME}"),
    "open reference": (with_agent("{name: b, type: custom, endpoint: '${env:HOME'}"), "f.yaml:4:39", "without its"),
    "bad variable": (with_agent("{name: b, type: custom, endpoint: '${env:A-B}'}"), "f.yaml:4:39", "letters, digits"),
    "literal header": (with_task(T2 + "parameters: {headers: {Authorization: Bearer hunter2}}}"), "f.yaml:6:80", "must not be written out"),
    "compensation agent": (with_task(T2 + "compensate: {action: x, agent_name: q}}"), "f.yaml:6:78", "references undefined agent 'q'"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_definitions(name: str) -> None:
    text, place, why = BAD[name]
    start = time.perf_counter()
    with pytest.raises(ConfigurationError) as caught:
        loads(text, "f.yaml")
    assert time.perf_counter() - start < 2
    line = next((line for line in caught.value.problems if why in line), caught.value.message)
    assert why in line
    assert line.startswith(place)
    assert "hunter2" not in str(caught.value)
    assert caught.value.exit_code == 2
    assert caught.value.hint


BAD_JSON = {
    "blank": (" \n", "f.json: ", "it is empty"),
    "cut": ('{"name": "w",', "f.json:1:14", "expected a key"),
    "no colon": ('{"name" "w"}', "f.json:1:9", "expected ':'"),
    "trailing comma": ('{"name": [1,]}', "f.json:1:13", "expected a value"),
    "single quotes": ("{'name': 1}", "f.json:1:2", "double quotes"),
    "duplicate key": ('{"name": "w",\n "name": "v"}', "f.json:2:2", "duplicate key 'name'; it stands at line 1, column 2"),
    "NaN": ('{"global_timeout": NaN}', "f.json:1:20", "NaN and Infinity"),
    "minus infinity": ('{"global_timeout": -Infinity}', "f.json:1:20", "NaN and Infinity"),
    "1e999": ('{"global_timeout": 1e999}', "f.json:1:20", "NaN and Infinity"),
    "leading zero": ('{"max_parallel": 010}', "f.json:1:18", "malformed"),
    "bare dot": ('{"max_parallel": 1.}', "f.json:1:18", "malformed"),
    "large": ('{"max_parallel": 99999999999999999999}', "f.json:1:18", "64 bits"),
    "after the end": ("{} {}", "f.json:1:4", "follows the end"),
    "deep": ("[" * 100_000, "f.json:1:65", "64 levels"),
    "deep maps": ('{"a":' * 100_000, "f.json:1:321", "64 levels"),
    "open text": ('{"a": "b', "f.json:1:7", "Unterminated string"),
    "surrogate": ('{"a": "\\ud800"}', "f.json:1:7", "surrogate"),
    "unknown key": ('{"naem":\n1}', "f.json:1:2", "Did you mean 'name'?"),
}  # fmt: skip


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
        "latin.yaml": ("name: caf\xe9".encode("latin-1"), "not UTF-8"),
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
    with pytest.raises(ConfigurationError, match=r"latin\.yaml:1:10: it is not UTF-8"):
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
    with pytest.raises(ConfigurationError, match="10,001 tasks are more than the 10,000"):
        authoring.from_mapping(data, limits=SERVER)


def test_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    path.write_text(MINIMAL, encoding="utf-8-sig")
    assert load(path).spec.name == "w"


def test_ten_thousand_tasks_take_seconds_at_most() -> None:
    head = MINIMAL.replace("{name: t,", "{name: t0,")
    tasks = "".join(
        f"  - name: t{i}\n    agent_name: a\n    action: go\n    depends_on: [t{i - 1}]\n"
        f"    parameters:\n      text: '{{{{ tasks.t{i - 1}.result }}}} {{{{ tasks.t0.result }}}}'\n"
        for i in range(1, 10_000)
    )
    start = time.perf_counter()
    assert len(loads(head + tasks).spec.tasks) == 10_000
    assert time.perf_counter() - start < 20


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
    assert "sent as it stands" in loaded.warnings[0]
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
        assert f"the file {tmp_path}/no is not there" in message
        assert "hunter2" not in message
        assert len(caught.value.problems) == 3
    assert "f.yaml:4:" in str(caught.value) or "agents.b.custom_params" in str(caught.value)
    authoring.check_environment(loads(MINIMAL).spec, {})


def test_actions_are_checked_by_who_knows_them() -> None:
    def problem(spec: Any, action: str) -> str | None:
        return None if action == "fetch" else f"{spec.type} cannot {action}; it can: fetch"

    text = with_task("{name: u, agent_name: a, action: fetch, compensate: {action: undo}}")
    with pytest.raises(ConfigurationError) as caught:
        loads(text, "f.yaml", action_problem=problem)
    assert [line.split(": ", 1)[0] for line in caught.value.problems] == [
        "f.yaml:5:38",
        "f.yaml:6:66",
    ]
    assert "it can: fetch" in str(caught.value)


def test_other_kinds_of_agents() -> None:
    text = with_agent("{name: b, type: team, endpoint: e}")
    assert loads(text, kinds=("custom", "team")).spec.agents[1].type == "team"
    with pytest.raises(ConfigurationError):
        loads(text)


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
        (object(), "is not JSON"),
    ):
        with pytest.raises(ConfigurationError, match=why):
            authoring.from_mapping({"name": value})
    with pytest.raises(ConfigurationError, match="NaN"):
        authoring.from_mapping({"global_timeout": float("nan")})


def test_unknown_format() -> None:
    with pytest.raises(ConfigurationError, match="unknown format 'toml'"):
        loads("", format="toml")
