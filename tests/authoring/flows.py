"""Tasks whose flow is accepted, and those whose flow is not, with where and why."""

# ruff: noqa: E501
from __future__ import annotations

HEAD = """\
agenthive: 1
name: w
inputs: {topic: x, items: []}
agents:
  - {name: a, type: custom, endpoint: "custom://a"}
tasks:
  - {name: t, agent: a, action: go}
"""
"""Six lines and a task: what follows stands in line 8."""

CALL = "{name: u, agent: a, action: go, "
AFTER = CALL + "depends_on: [t], "


def with_task(text: str) -> str:
    return HEAD + f"  - {text}\n"


GOOD = {
    "when": AFTER + "when: 'tasks.t.result.ok and inputs.topic'}",
    "when in braces": AFTER + "when: '{{ tasks.t.result.ok }}'}",
    "a map in braces": CALL + """when: '{{ {"a": {"b": 1}} }}'}""",
    "delay": CALL + "delay: 10m}",
    "delay of a number": CALL + "delay: 0}",
    "delay of an expression": CALL + "delay: '{{ inputs.topic }}'}",
    "until": CALL + "until: '2026-12-01T09:00:00+01:00'}",
    "until in UTC": CALL + "until: 2026-12-01T09:00Z}",
    "until of an expression": CALL + "until: '{{ inputs.topic }}T09:00:00Z'}",
    "signal": CALL + "wait_for: go, parameters: {x: '{{ signal.x }}'}}",
    "signal in full": CALL + "wait_for: {signal: go, timeout: 5, default: {a: [1]}, keep: false}}",
    "signal before items": CALL + "wait_for: go, for_each: signal.items}",
    "items": CALL
    + "for_each: [1, '{{ inputs.topic }}'], parameters: {x: '{{ item }}', y: '{{ index }}'}}",
    "no items": CALL + "for_each: []}",
    "items by an expression": AFTER + "for_each: tasks.t.result, parameters: {x: '{{ item }}'}}",
    "items by an expression in braces": AFTER + "for_each: '{{ tasks.t.result }}'}",
    "items in full": CALL
    + "for_each: {items: inputs.items, max_items: 100000, max_parallel: 50, label: item.name}}",
    "rounds": CALL
    + "repeat_until: result.ok or round == 3, parameters: {x: '{{ previous }}', y: '{{ round }}'}}",
    "rounds in full": CALL + "repeat_until: {until: result, max_rounds: 10000}}",
    "rounds of items": CALL + "for_each: [1], repeat_until: 'item == result'}",
    "rounds of questions": "{name: u, approval: {approvers: [x], on_reject: skip, message: '{{ round }}'}, repeat_until: result.approved}",
    "approval": CALL + "approval: {approvers: [x]}}",
    "no approval": CALL + "approval: false}",
    "approval in full": CALL
    + "for_each: [1], approval: {message: '{{ item }}?', approvers: [x, y], quorum: 2, deadline: 2h, on_deadline: approve, on_reject: skip, escalate: {after: 1h, to: [z]}}}",
    "approval alone": "{name: u, depends_on: [t], approval: {payload: {p: '{{ tasks.t.result }}'}, approvers: [x]}}",
    "wait alone": "{name: u, wait_for: go}",
    "delay alone": "{name: u, delay: 1s}",
    "until alone": "{name: u, until: 2026-12-01T09:00Z}",
    "schema": CALL + "output_schema: {type: object, required: [a]}}",
    "cache": CALL + "effect: none, cache: true}",
    "cache in full": CALL + "effect: keyed, cache: {ttl: 1d, version: 'v{{ inputs.topic }}'}}",
    "no cache": CALL + "cache: false}",
    "heartbeat": CALL + "heartbeat_timeout: 30}",
    "reconcile": CALL
    + "for_each: [1], effect: once, reconcile: {action: look, parameters: {x: '{{ item }}'}, timeout: 5}}",
    "reconcile by another": CALL + "effect: once, reconcile: {action: look, agent: a}}",
    "child": "{name: u, workflow: {tasks: [{name: i, delay: 1}]}}",
    "child in full": "{name: u, timeout: 5, retry_config: {max_attempts: 2}, output_schema: {}, compensate: {agent: a, action: undo}, parameters: {x: 1}, workflow: {name: c, inputs: {x: 2}, agents: [{name: b, type: custom, endpoint: e}], tasks: [{name: i, agent: b, action: go, parameters: {y: '{{ inputs.x }}'}}], outputs: {r: '{{ tasks.i.result }}'}}}",
    "child for each": "{name: u, for_each: [1], workflow: {inputs: {x: {type: integer}}, tasks: [{name: i, delay: 1}]}, parameters: {x: '{{ item }}'}}",
}

BAD: dict[str, tuple[str, str, str]] = {
    # name: (task, place, part of the message)
    "when is a flag": (CALL + "when: true}", "8:43", "must be text, not true or false"),
    "when is empty": (CALL + "when: ' '}", "8:43", "the expression is empty"),
    "when is two": (CALL + "when: '{{ a }} {{ b }}'}", "8:43", "must be a single expression"),
    "when of a wrong name": (
        CALL + "when: item}",
        "8:43",
        "unknown name 'item'; known here: inputs, run, tasks",
    ),
    "when before the signal": (
        CALL + "wait_for: go, when: signal}",
        "8:57",
        "unknown name 'signal'",
    ),
    "when of what is not before": (
        CALL + "when: tasks.t.result}",
        "8:43",
        "add 't' to its depends_on",
    ),
    "when of nobody": (
        AFTER + "when: tasks.tt.result}",
        "8:60",
        "reads undefined task 'tt'. Did you mean 't'?",
    ),
    "when of itself": (CALL + "when: tasks.u.result}", "8:43", "cannot read its own result"),
    "when of no input": (CALL + "when: inputs.topik}", "8:43", "undeclared input 'topik'"),
    "when that is no expression": (CALL + "when: 1 +}", "8:43", "column"),
    "delay and until": (
        CALL + "delay: 1, until: 2026-12-01T09:00Z}",
        "8:54",
        "delay and until exclude each other",
    ),
    "delay below zero": (CALL + "delay: -1}", "8:44", "at least 0"),
    "delay without end": (CALL + "delay: 99999d}", "8:44", "at most"),
    "delay in words": (CALL + "delay: soon}", "8:44", '"1.5s"'),
    "delay of an item": (
        CALL + "for_each: [1], delay: '{{ item }}'}",
        "8:59",
        "unknown name 'item'",
    ),
    "until without a zone": (
        CALL + "until: '2026-12-01T09:00:00'}",
        "8:44",
        "a time with its zone",
    ),
    "until without a time": (CALL + "until: 2026-12-01}", "8:44", "a time with its zone"),
    "until of no day": (CALL + "until: 2026-02-30T09:00Z}", "8:44", "a time with its zone"),
    "until of what is not before": (
        CALL + "until: '{{ tasks.t.result }}'}",
        "8:44",
        "add 't' to its depends_on",
    ),
    "signal without a name": (CALL + "wait_for: {timeout: 5}}", "8:47", "'signal' is required"),
    "signal with a bad name": (CALL + "wait_for: a/b}", "8:47", "must not contain /"),
    "signal with a default and no timeout": (
        CALL + "wait_for: {signal: s, default: 1}}",
        "8:68",
        "never used",
    ),
    "signal with a default to be filled in": (
        CALL + "wait_for: {signal: s, timeout: 1, default: '{{ x }}'}}",
        "8:80",
        "is a constant",
    ),
    "signal that is not waited for": (
        CALL + "parameters: {x: '{{ signal }}'}}",
        "8:53",
        "unknown name 'signal'",
    ),
    "items of a number": (
        CALL + "for_each: 5}",
        "8:47",
        "must be a list or an expression that yields one, not a whole number",
    ),
    "items of a flag": (CALL + "for_each: true}", "8:47", "must be a list or an expression"),
    "items of a map": (CALL + "for_each: {a: 1}}", "8:48", "unknown key 'a' in for_each"),
    "items of a constant": (
        CALL + "for_each: '5'}",
        "8:47",
        "for_each needs a list, but this value is always a whole number",
    ),
    "items of a text": (CALL + """for_each: '"abc"'}""", "8:47", "this value is always text"),
    "items of a word": (CALL + "for_each: abc}", "8:47", "unknown name 'abc'"),
    "too many items": (
        CALL + "for_each: {items: [1, 2, 3], max_items: 2}}",
        "8:55",
        "has 3 items, but max_items is 2",
    ),
    "too many items by an expression": (
        CALL + "for_each: {items: '[1, 2, 3]', max_items: 2}}",
        "8:55",
        "has 3 items",
    ),
    "more items than a default": (
        CALL + f"for_each: {list(range(1001))}}}",
        "8:47",
        "has 1,001 items, but max_items is 1,000",
    ),
    "boundless items": (
        CALL + "for_each: {items: [], max_items: 100001}}",
        "8:70",
        "at most 100,000",
    ),
    "no items at all": (CALL + "for_each: {max_items: 5}}", "8:47", "'items' is required"),
    "items of what is not before": (
        CALL + "for_each: tasks.t.result}",
        "8:47",
        "add 't' to its depends_on",
    ),
    "label of a result": (
        CALL + "for_each: {items: [], label: tasks.t.result}}",
        "8:66",
        "unknown name 'tasks'; known here: index, item",
    ),
    "item without items": (CALL + "parameters: {x: '{{ item }}'}}", "8:53", "unknown name 'item'"),
    "rounds without end": (CALL + "repeat_until: {max_rounds: 5}}", "8:51", "'until' is required"),
    "boundless rounds": (
        CALL + "repeat_until: {until: result, max_rounds: 10001}}",
        "8:79",
        "at most 10,000",
    ),
    "rounds of no number": (
        CALL + "repeat_until: {until: result, max_rounds: null}}",
        "8:79",
        "must be a whole number",
    ),
    "rounds for ever": (CALL + "repeat_until: false}", "8:51", "must be text"),
    "result before the end": (
        CALL + "repeat_until: result, parameters: {x: '{{ result }}'}}",
        "8:75",
        "unknown name 'result'",
    ),
    "round without rounds": (
        CALL + "parameters: {x: '{{ round }}'}}",
        "8:53",
        "unknown name 'round'",
    ),
    "rounds of nothing": ("{name: u, delay: 1, repeat_until: result}", "8:39", "nothing to repeat"),
    "quorum": (
        CALL + "approval: {approvers: [x, y], quorum: 3}}",
        "8:75",
        "3 must approve, but there are 2 approvers",
    ),
    "quorum of one": (
        CALL + "approval: {approvers: [x], quorum: 2}}",
        "8:72",
        "2 must approve, but there is one approver",
    ),
    "nobody": (CALL + "approval: {approvers: []}}", "8:59", "at least one entry"),
    "empty name": (CALL + "approval: {approvers: [' ']}}", "8:59", "contains an empty name"),
    "twice": (CALL + "approval: {approvers: [x, x]}}", "8:59", "contains a name twice"),
    "approver is a number": (CALL + "approval: {approvers: [1]}}", "8:60", "a name must be text"),
    "approval by name": (CALL + "approval: x}", "8:47", "must be a map of keys, not text"),
    "escalation too late": (
        CALL + "approval: {approvers: [x], deadline: 1h, escalate: {after: 60m, to: [y]}}}",
        "8:96",
        "less than the deadline",
    ),
    "escalation to nobody": (
        CALL + "approval: {approvers: [x], escalate: {after: 1, to: []}}}",
        "8:89",
        "at least one entry",
    ),
    "escalation from anybody": (
        CALL + "approval: {escalate: {after: 1, to: [x]}}}",
        "8:58",
        "has no effect if any user can approve",
    ),
    "deadline that never comes": (
        CALL + "approval: {approvers: [x], on_deadline: approve}}",
        "8:77",
        "without a deadline",
    ),
    "rejected to what": (
        CALL + "approval: {approvers: [x], on_reject: stop}}",
        "8:75",
        "not one of fail, skip",
    ),
    "payload of a call": (
        CALL + "approval: {approvers: [x], payload: 1}}",
        "8:73",
        "is allowed only on a task without an action",
    ),
    "payload of what is not before": (
        "{name: u, approval: {approvers: [x], payload: ['{{ tasks.t.result }}']}}",
        "8:52",
        "add 't' to its depends_on",
    ),
    "message with a wrong name": (
        CALL + "approval: {approvers: [x], message: '{{ result }}'}}",
        "8:73",
        "unknown name 'result'",
    ),
    "nothing to do": (
        "{name: u}",
        "8:5",
        "'agent_name' is required: Agent that executes the task. "
        "It is optional only with workflow, approval, wait_for, delay or until",
    ),
    "only a condition": ("{name: u, when: inputs.topic}", "8:5", "'agent_name' is required"),
    "no agent": (
        "{name: u, action: go, delay: 1}",
        "8:5",
        "'agent_name' is required: Agent that executes the task",
    ),
    "no action": (
        "{name: u, agent: a, delay: 1}",
        "8:5",
        "'action' is required: Action that the agent executes",
    ),
    "switched off": ("{name: u, approval: false}", "8:5", "'agent_name' is required"),
    "both bodies": (
        CALL + "workflow: {tasks: [{name: i, delay: 1}]}}",
        "8:47",
        "either calls an agent or runs a workflow",
    ),
    "parameters of nobody": (
        "{name: u, delay: 1, parameters: {}}",
        "8:37",
        "parameters does not apply to a task that only waits",
    ),
    "retries of nobody": (
        "{name: u, delay: 1, retry_config: {}}",
        "8:39",
        "does not apply to a task that only waits",
    ),
    "time-out of nobody": (
        "{name: u, delay: 1, timeout: 5}",
        "8:34",
        "does not apply to a task that only waits",
    ),
    "effect of nobody": (
        "{name: u, delay: 1, effect: none}",
        "8:33",
        "does not apply to a task that only waits",
    ),
    "cache of nobody": (
        "{name: u, delay: 1, cache: true}",
        "8:32",
        "does not apply to a task that only waits",
    ),
    "schema of nobody": (
        "{name: u, delay: 1, output_schema: {}}",
        "8:40",
        "does not apply to a task that only waits",
    ),
    "heartbeat of nobody": (
        "{name: u, delay: 1, heartbeat_timeout: 5}",
        "8:44",
        "does not apply to a task that only waits",
    ),
    "reconcile of nobody": (
        "{name: u, delay: 1, reconcile: {action: x, agent: a}}",
        "8:36",
        "does not apply to a task that only waits",
    ),
    "compensate of nobody": (
        "{name: u, delay: 1, compensate: {action: x, agent: a}}",
        "8:37",
        "does not apply to a task that only waits",
    ),
    "effect of a workflow": (
        "{name: u, effect: none, workflow: {tasks: [{name: i, delay: 1}]}}",
        "8:23",
        "does not apply to a task with workflow",
    ),
    "compensate without an agent": (
        "{name: u, compensate: {action: x}, workflow: {tasks: [{name: i, delay: 1}]}}",
        "8:27",
        "the task itself has no agent",
    ),
    "schema": (CALL + "output_schema: {type: strng}}", "8:52", 'type: "strng"'),
    "schema from afar": (
        CALL + "output_schema: {$ref: 'https://example.com/s'}}",
        "8:52",
        "agenthive fetches none",
    ),
    "schema that is a list": (CALL + "output_schema: [1]}", "8:52", "must be a map"),
    "cache of once": (
        CALL + "effect: once, cache: true}",
        "8:58",
        "cannot be replaced by a cached result",
    ),
    "cache of a number": (CALL + "cache: 5}", "8:44", "must be a map of keys"),
    "cache of a wrong version": (
        CALL + "effect: none, cache: {version: '{{ x }}'}}",
        "8:68",
        "unknown name 'x'",
    ),
    "reconcile without action": (
        CALL + "effect: once, reconcile: {}}",
        "8:62",
        "'action' is required",
    ),
    "reconcile by nobody": (
        CALL + "effect: once, reconcile: {action: x, agent: b}}",
        "8:81",
        "undefined agent 'b'",
    ),
    "a path of a text": (
        "{name: u, workflow: child.yaml}",
        "8:25",
        "a path is allowed only in a workflow file",
    ),
    "no path": ("{name: u, workflow: ''}", "8:25", "must not be empty"),
    "a path that is computed": (
        "{name: u, workflow: '{{ inputs.topic }}'}",
        "8:25",
        "must be a constant",
    ),
    "a path with a NUL": ('{name: u, workflow: "a\\0b"}', "8:25", "NUL"),
    "a list as workflow": (
        "{name: u, workflow: [1]}",
        "8:25",
        "must be the path of a workflow file, or a workflow",
    ),
    "child without tasks": (
        "{name: u, workflow: {}}",
        "8:25",
        "tasks[1].workflow: the key 'tasks' is required",
    ),
    "child with a bad task": (
        "{name: u, workflow: {tasks: [{name: i, agent: q, action: x}]}}",
        "8:51",
        "tasks[1].workflow.tasks[0].agent: Task 'i' references undefined agent 'q'",
    ),
    "child that reads its parent": (
        "{name: u, depends_on: [t], workflow: {tasks: [{name: i, delay: '{{ tasks.t.result }}'}]}}",
        "8:68",
        "reads undefined task 't'",
    ),
    "child with a bad output": (
        "{name: u, workflow: {tasks: [{name: i, delay: 1}], outputs: {x: '{{ tasks.j.result }}'}}}",
        "8:69",
        "tasks[1].workflow.outputs.x: the expression reads undefined task 'j'",
    ),
    "unknown input": (
        "{name: u, parameters: {y: 1}, workflow: {inputs: {x: 1}, tasks: [{name: i, delay: 1}]}}",
        "8:31",
        "the workflow 'u' declares no input 'y'",
    ),
    "missing input": (
        "{name: u, workflow: {inputs: {x: {required: true}}, tasks: [{name: i, delay: 1}]}}",
        "8:5",
        "requires the input 'x'",
    ),
    "wrong input": (
        "{name: u, parameters: {x: a}, workflow: {inputs: {x: {type: integer}}, tasks: [{name: i, delay: 1}]}}",
        "8:31",
        "must be of type integer, not text",
    ),
    "secret input": (
        "{name: u, parameters: {x: hunter2}, workflow: {inputs: {x: {type: secret}}, tasks: [{name: i, delay: 1}]}}",
        "8:31",
        "contains a secret; replace it",
    ),
}

WARNED: dict[str, tuple[str, str, str]] = {
    "anybody": (CALL + "approval: true}", "8:47", "any user with access to this home can approve"),
    "anybody in full": (
        CALL + "approval: {message: x}}",
        "8:47",
        "any user with access to this home",
    ),
    "cache of any": (CALL + "cache: true}", "8:44", "the call may have effects"),
    "reconcile of any": (
        CALL + "reconcile: {action: x}}",
        "8:48",
        "used only for calls with effect: once",
    ),
}
