"""Definitions that are accepted, and those that are not, with where and why."""

# ruff: noqa: E501
from __future__ import annotations

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
    "empty": ("", "f.yaml: ", "the file is empty"),
    "only a comment": ("# nothing\n", "f.yaml: ", "the file is empty"),
    "null": ("~\n", "f.yaml:1:1", "must be a map"),
    "a list": ("- a\n", "f.yaml:1:1", "must be a map of keys, not a list"),
    "a text": ("hello", "f.yaml:1:1", "must be a map of keys, not text"),
    "binary": ("name: w\x00\x01", "f.yaml:1:8", "control character U+0000"),
    "not yaml": ("name: [a\n", "f.yaml:2:1", "not YAML"),
    "tab": ("name: w\nagents:\n\t- x\n", "f.yaml:3:1", "indent with spaces, not tabs"),
    "no character of YAML": ("name: \ufffe", "f.yaml: ", "a character that YAML does not allow"),
    "two colons": ("name: a: b\n", "f.yaml:1:8", "quote a text"),
    "two documents": (MINIMAL + "---\n" + MINIMAL, "f.yaml:6:1", "one workflow"),
    "alias": ("name: &n w\nversion: *n\n", "f.yaml:1:7", "anchors (&name) are not allowed"),
    "alias alone": ("name: *n\n", "f.yaml:1:7", "aliases (*name) are not allowed"),
    "alias bomb": (BOMB, "f.yaml:1:4", "anchors"),
    "tag": ("name: !!python/object/apply:os.system [id]\n", "f.yaml:1:7", "tags (!name)"),
    "plain tag": ("name: !!str w\n", "f.yaml:1:7", "tags (!name)"),
    "duplicate key": (
        "name: w\nname: v\n",
        "f.yaml:2:1",
        "duplicate key 'name'; it is already at line 1",
    ),
    "number as key": ("1: w\n", "f.yaml:1:1", "a key must be text"),
    "list as key": ("? [a]\n: w\n", "f.yaml:1:3", "a key must be text"),
    "deep": ("x: " + "[" * 100_000, "f.yaml:1:67", "more than 64 levels"),
    "deep blocks": ("\n".join(" " * i + "a:" for i in range(200)), "f.yaml:65:65", "64 levels"),
    "nan": (MINIMAL + "global_timeout: .nan\n", "f.yaml:6:17", "NaN and Infinity"),
    "infinity": (MINIMAL + "global_timeout: -.inf\n", "f.yaml:6:17", "NaN and Infinity"),
    "too large a float": (MINIMAL + "global_timeout: 1e999\n", "f.yaml:6:17", "NaN and Infinity"),
    "too large an int": (MINIMAL + f"max_parallel: {10**30}\n", "f.yaml:6:15", "64 bits"),
    "unknown key": (
        MINIMAL + "naem: x\n",
        "f.yaml:6:1",
        "unknown key 'naem' in workflow. Did you mean 'name'?",
    ),
    "known mistake": (MINIMAL + "timeout: 3\n", "f.yaml:6:1", "write global_timeout"),
    "unknown key in agent": (
        with_agent("{name: b, type: custom, endpoint: e, url: x}"),
        "f.yaml:4:42",
        "write endpoint",
    ),
    "unknown key in task": (
        with_task(T2 + "depend_on: [t]}"),
        "f.yaml:6:42",
        "Did you mean 'depends_on'?",
    ),
    "agent in the classic dialect": (
        with_task("{name: u, agent: a, action: go}"),
        "f.yaml:6:15",
        "write agent_name",
    ),
    "no name": (replaced("name: w\n", ""), "f.yaml:1:1", "'name' is required"),
    "no tasks": (MINIMAL.split("tasks:")[0], "f.yaml:1:1", "'tasks' is required"),
    "empty tasks": (MINIMAL.split("tasks:")[0] + "tasks: []", "f.yaml:4:8", "at least one entry"),
    "no action": (with_task("{name: u, agent_name: a}"), "f.yaml:6:5", "'action' is required"),
    "tasks is a map": (
        MINIMAL.split("tasks:")[0] + "tasks: {t: 1}",
        "f.yaml:4:8",
        "must be a list",
    ),
    "task is text": (with_task("hello"), "f.yaml:6:5", "must be a map of keys, not text"),
    "name is a number": (
        replaced("name: w", "name: 5"),
        "f.yaml:1:7",
        "must be text, not a whole number; put it in quotes",
    ),
    "version is a number": (MINIMAL + "version: 1.0\n", "f.yaml:6:10", "put it in quotes"),
    "flag is text": (
        MINIMAL + "parallel_execution: no\n",
        "f.yaml:6:21",
        "must be true or false, not text",
    ),
    "time-out is text": (MINIMAL + "global_timeout: soon\n", "f.yaml:6:17", '"1.5s"'),
    "time-out is zero": (MINIMAL + "global_timeout: 0\n", "f.yaml:6:17", "more than 0"),
    "time-out is negative": (MINIMAL + "global_timeout: -5\n", "f.yaml:6:17", "more than 0"),
    "time-out is absurd": (MINIMAL + "global_timeout: 1e12\n", "f.yaml:6:17", "at most"),
    "bad strategy": (
        MINIMAL + "failure_strategy: stop\n",
        "f.yaml:6:19",
        "not one of stop_on_first_failure",
    ),
    "no such dialect": ("agenthive: 2\n" + MINIMAL, "f.yaml:1:12", "at most 1"),
    "dialect is not first": (MINIMAL + "agenthive: 1\n", "f.yaml:6:12", "must be the first key"),
    "parallel contradiction": (
        MINIMAL + "parallel_execution: false\nmax_parallel: 4\n",
        "f.yaml:7:15",
        "contradicts",
    ),
    "agent type": (
        with_agent("{name: b, type: ai_agnt, endpoint: e}"),
        "f.yaml:4:21",
        "Did you mean 'ai_agent'?",
    ),
    "empty endpoint": (
        with_agent("{name: b, type: custom, endpoint: ''}"),
        "f.yaml:4:39",
        "must not be empty",
    ),
    "duplicate agent": (
        with_agent("{name: a, type: custom, endpoint: e}"),
        "f.yaml:4:12",
        "already an agent named 'a'",
    ),
    "duplicate task": (
        with_task("{name: t, agent_name: a, action: go}"),
        "f.yaml:6:12",
        "already a task named 't' (first at line 5)",
    ),
    "undefined agent": (
        with_task("{name: u, agent_name: b, action: go}"),
        "f.yaml:6:27",
        "Task 'u' references undefined agent 'b'",
    ),
    "undefined dependency": (
        with_task(T2 + "depends_on: [tt]}"),
        "f.yaml:6:55",
        "depends on undefined task 'tt'. Did you mean 't'?",
    ),
    "self-dependency": (
        with_task(T2 + "depends_on: [u]}"),
        "f.yaml:6:55",
        "Task 'u' depends on itself",
    ),
    "cycle": (
        with_task(T2 + "depends_on: [v]}")
        + "  - {name: v, agent_name: a, action: go, depends_on: [u]}\n",
        "f.yaml:6:12",
        "Circular dependency detected in tasks: u -> v -> u",
    ),
    "dependency is a number": (
        with_task(T2 + "depends_on: [1]}"),
        "f.yaml:6:55",
        "a name must be text",
    ),
    "dependencies are text": (
        with_task(T2 + "depends_on: t}"),
        "f.yaml:6:54",
        "must be a list of names",
    ),
    "retries are zero": (
        with_task(T2 + "retry_config: {max_attempts: 0}}"),
        "f.yaml:6:71",
        "at least 1",
    ),
    "retries on a refusal": (
        with_task(T2 + "retry_config: {retry_on: [unknown, refused]}}"),
        "f.yaml:6:77",
        "'refused' is not one of not_sent, unknown, bad_end",
    ),
    "retries on a misspelt class": (
        with_task(T2 + "retry_config: {retry_on: [bad_ned]}}"),
        "f.yaml:6:68",
        "Did you mean 'bad_end'?",
    ),
    "retries on a text": (
        with_task(T2 + "retry_config: {retry_on: unknown}}"),
        "f.yaml:6:67",
        "must be a list of names",
    ),
    "retries are absurd": (
        with_task(T2 + "retry_config: {max_attempts: 100000}}"),
        "f.yaml:6:71",
        "at most 1,000",
    ),
    "max_retries": (
        with_task(T2 + "retry_config: {max_retries: 3}}"),
        "f.yaml:6:57",
        "includes the first attempt",
    ),
    "negative delay": (
        with_task(T2 + "retry_config: {initial_delay: -1}}"),
        "f.yaml:6:72",
        "at least 0",
    ),
    "priority": (with_task(T2 + "priority: 11}"), "f.yaml:6:52", "at most 10"),
    "effect": (
        with_task(T2 + "effect: never}"),
        "f.yaml:6:50",
        "not one of none, keyed, any, once",
    ),
    "parameters": (with_task(T2 + "parameters: [1]}"), "f.yaml:6:54", "must be a map"),
    "threshold": (
        with_agent("{name: b, type: custom, endpoint: e, circuit_breaker: {failure_threshold: 0}}"),
        "f.yaml:4:79",
        "at least 1",
    ),
    "slash in a name": (
        with_task("{name: a/b, agent_name: a, action: go}"),
        "f.yaml:6:12",
        "must not contain /",
    ),
    "hash in a name": (
        with_task("{name: 'a#b', agent_name: a, action: go}"),
        "f.yaml:6:12",
        "must not contain #",
    ),
    "bracket in a name": (
        with_task("{name: 'a[1]', agent_name: a, action: go}"),
        "f.yaml:6:12",
        "must not contain [ or ]",
    ),
    "control character in a name": (
        with_task('{name: "a\\n", agent_name: a, action: go}'),
        "f.yaml:6:12",
        "control characters",
    ),
    "long name": (
        with_task(f"{{name: {'n' * 129}, agent_name: a, action: go}}"),
        "f.yaml:6:12",
        "at most 128",
    ),
    "name not composed": (
        with_task("{name: 'e\u0301', agent_name: a, action: go}"),
        "f.yaml:6:12",
        "NFC",
    ),
    "bad expression": (with_task(T2 + "parameters: {x: '{{ 1 + }}'}}"), "f.yaml:6:58", "column"),
    "unknown root": (
        with_task(T2 + "parameters: {x: '{{ os.environ }}'}}"),
        "f.yaml:6:58",
        "unknown name 'os'",
    ),
    "reads no ancestor": (
        with_task(T2 + "parameters: {x: ['{{ tasks.t.result }}']}}"),
        "f.yaml:6:59",
        "add 't' to its depends_on",
    ),
    "reads an undefined task": (
        with_task(T2 + "parameters: {x: '{{ tasks.q.result }}'}}"),
        "f.yaml:6:58",
        "reads undefined task 'q'",
    ),
    "reads itself": (
        with_task(T2 + "parameters: {x: '{{ tasks.u.result }}'}}"),
        "f.yaml:6:58",
        "cannot read its own result",
    ),
    "undeclared input": (
        with_task(T2 + "parameters: {x: '{{ inputs.topik }}'}}") + "inputs: {topic: x}\n",
        "f.yaml:6:58",
        "undeclared input 'topik'. Did you mean 'topic'?",
    ),
    "undeclared input of an agent": (
        with_agent("{name: b, type: custom, endpoint: '{{ inputs.x }}'}") + "inputs: {}\n",
        "f.yaml:4:39",
        "undeclared input 'x'",
    ),
    "input type": (MINIMAL + "inputs: {n: {type: int}}\n", "f.yaml:6:20", "'int' is not one of"),
    "input default": (
        MINIMAL + "inputs: {n: {type: integer, default: x}}\n",
        "f.yaml:6:38",
        "must be of type integer",
    ),
    "input required with default": (
        MINIMAL + "inputs: {n: {required: true, default: 1}}\n",
        "f.yaml:6:39",
        "cannot have both required and default",
    ),
    "inputs are a list": (MINIMAL + "inputs: [n]\n", "f.yaml:6:9", "must be a map"),
    "secret default": (
        MINIMAL + "inputs: {n: {type: secret, default: hunter2}}\n",
        "f.yaml:6:37",
        "reference",
    ),
    "literal token": (
        with_agent(
            "{name: b, type: custom, endpoint: e, authentication: {type: bearer, token: hunter2}}"
        ),
        "f.yaml:4:80",
        "contains a secret; replace it",
    ),
    "literal after a scheme": (
        with_agent(
            "{name: b, type: custom, endpoint: e, authentication: {type: bearer, token: 'hunter2 ${env:A}'}}"
        ),
        "f.yaml:4:80",
        "contains a secret; replace it",
    ),
    "token is a number": (
        with_agent(
            "{name: b, type: custom, endpoint: e, authentication: {type: bearer, token: 12345}}"
        ),
        "f.yaml:4:80",
        "must be text",
    ),
    "no token": (
        with_agent("{name: b, type: custom, endpoint: e, authentication: {type: bearer}}"),
        "f.yaml:4:58",
        "needs the key 'token'",
    ),
    "no password": (
        with_agent(
            "{name: b, type: custom, endpoint: e, authentication: {type: basic, username: x}}"
        ),
        "f.yaml:4:58",
        "needs the key 'password'",
    ),
    "auth type": (
        with_agent("{name: b, type: custom, endpoint: e, authentication: {type: oauth}}"),
        "f.yaml:4:65",
        "bearer, api_key, basic",
    ),
    "bad reference": (
        with_agent("{name: b, type: custom, endpoint: '${HOME}/x'}"),
        "f.yaml:4:39",
        "not a valid reference; write ${env:NAME}",
    ),
    "open reference": (
        with_agent("{name: b, type: custom, endpoint: '${env:HOME'}"),
        "f.yaml:4:39",
        "unclosed reference ${",
    ),
    "bad variable": (
        with_agent("{name: b, type: custom, endpoint: '${env:A-B}'}"),
        "f.yaml:4:39",
        "letters, digits",
    ),
    "literal header": (
        with_task(T2 + "parameters: {headers: {Authorization: Bearer hunter2}}}"),
        "f.yaml:6:80",
        "contains a secret; replace it",
    ),
    "compensation agent": (
        with_task(T2 + "compensate: {action: x, agent_name: q}}"),
        "f.yaml:6:78",
        "references undefined agent 'q'",
    ),
    "expression of an agent": (
        with_agent("{name: b, type: custom, endpoint: '{{ tasks.t }}'}"),
        "f.yaml:4:39",
        "unknown name 'tasks'",
    ),
    "choice is a number": (
        with_task(T2 + "effect: 1}"),
        "f.yaml:6:50",
        "must be one of none, keyed, any, once, not a whole number",
    ),
    "NUL": (with_task('{name: u, agent_name: a, action: "a\\0"}'), "f.yaml:6:38", "NUL character"),
    "base is text": (
        with_task(T2 + "retry_config: {exponential_base: big}}"),
        "f.yaml:6:75",
        "must be a number, not text",
    ),
    "time-out is a list": (
        with_task(T2 + "timeout: [1]}"),
        "f.yaml:6:51",
        "must be a number of seconds, not a list",
    ),
    "duration without end": (with_task(T2 + "timeout: 9999999d}"), "f.yaml:6:51", "at most"),
    "empty reference": (
        with_agent("{name: b, type: custom, endpoint: '${env:}'}"),
        "f.yaml:4:39",
        "${env:} is empty",
    ),
    "header is a number": (
        with_task(T2 + "parameters: {headers: {X-API-Key: 1}}}"),
        "f.yaml:6:76",
        "X-API-Key: must be text",
    ),
    "header with a bad reference": (
        with_task(T2 + "parameters: {headers: {X-API-Key: '${env:A-B}'}}}"),
        "f.yaml:6:76",
        "letters, digits",
    ),
    "both agent keys": (
        "agenthive: 1\n" + with_task("{name: u, agent_name: a, agent: a, action: go}"),
        "f.yaml:7:37",
        "have the same meaning",
    ),
    "input name": (MINIMAL + "inputs: {a/b: 1}\n", "f.yaml:6:10", "must not contain /"),
}
