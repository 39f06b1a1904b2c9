"""Workflows within workflows: found, bounded, and told apart from what they are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agenthive import authoring
from agenthive.authoring import SizeLimits, Workflow, load, placeholder
from agenthive.errors import ConfigurationError

PARENT = """\
agenthive: 1
name: parent
tasks:
  - {name: t, workflow: sub/child.yaml, parameters: {x: 1}}
"""
CHILD = """\
name: child
inputs: {x: {type: integer, required: true}}
agents:
  - {name: a, type: custom, endpoint: "custom://${env:WHERE}"}
tasks:
  - {name: i, agent_name: a, action: go}
"""


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def written(**files: str) -> Path:
        for name, text in files.items():
            path = tmp_path / (name.replace("__", "/") + ".yaml")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return tmp_path / "parent.yaml"

    return written


def refused(path: Path, **options: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(path, **options)
    return list(caught.value.problems)


def test_a_file_is_found_from_the_file_that_names_it(write: Any) -> None:
    inner = CHILD + "  - {name: j, workflow: deeper.yaml}\n"
    deeper = "name: deeper\ntasks:\n  - {name: k, delay: 1}\n"
    loaded = load(write(parent=PARENT, sub__child=inner, sub__deeper=deeper))
    child = loaded.spec.tasks[0].workflow
    assert child is not None
    assert (child.name, child.dialect, child.timeout) == ("child", 0, 300.0)
    assert child.tasks[1].workflow is not None
    assert child.tasks[1].workflow.name == "deeper"
    assert [one.name for one in authoring.embedded_workflows(loaded.spec)] == ["child", "deeper"]
    assert authoring.parse_spec(authoring.dump(loaded.spec)) == loaded.spec
    assert (loaded.tasks, loaded.depth) == (4, 2)
    (reference,) = loaded.references
    assert reference.target == "WHERE"
    assert "sub/child.yaml:4:39: agents[0].endpoint" in reference.place
    (same,) = authoring.references_of(loaded.spec)
    assert same.place == "tasks.t.workflow.agents.a.endpoint"
    with pytest.raises(ConfigurationError, match="variable WHERE is not set"):
        authoring.check_environment(loaded.spec, {})


def test_problems_of_a_child_are_told_at_their_place_in_it(write: Any) -> None:
    path = write(parent=PARENT, sub__child=CHILD.replace("agent_name: a", "agent_name: b"))
    first, second = refused(path)
    assert "sub/child.yaml:6:27: tasks[0].agent_name: Task 'i' references undefined" in first
    assert "parent.yaml:4:25: tasks[0].workflow: " in second
    assert "is invalid; see its problems" in second


def test_no_file(write: Any) -> None:
    first, second = refused(write(parent=PARENT))
    assert "sub/child.yaml: no such file" in first
    assert "parent.yaml:4:25" in second


def test_a_bad_child_that_is_named_twice_is_told_once(write: Any) -> None:
    parent = PARENT + "  - {name: u, workflow: sub/child.yaml}\n"
    lines = refused(write(parent=parent, sub__child="name: child\n"))
    assert len(lines) == 3
    assert "child.yaml is invalid; see its problems" in lines[2]


@pytest.mark.parametrize("shape", ["itself", "each other", "through another folder"])
def test_cycles_are_refused_with_their_chain(write: Any, shape: str) -> None:
    def flow(child: str) -> str:
        return f"name: f\ntasks:\n  - {{name: t, workflow: {child}}}\n"

    if shape == "itself":
        path, chain = write(parent=flow("parent.yaml")), ["parent", "parent"]
    elif shape == "each other":
        path = write(parent=flow("b.yaml"), b=flow("c.yaml"), c=flow("b.yaml"))
        chain = ["b", "c", "b"]
    else:
        path = write(parent=flow("sub/b.yaml"), sub__b=flow("../sub/../parent.yaml"))
        chain = ["parent", "b", "parent"]
    line = refused(path)[0]
    told = line.split("circular sub-workflows: ")[1].split(" -> ")
    assert [Path(name).stem for name in told] == chain


def test_five_levels_and_no_more(write: Any) -> None:
    def nested(levels: int) -> dict[str, Any]:
        task: dict[str, Any] = {"name": "t", "delay": 1}
        for _ in range(levels):
            task = {"name": "t", "workflow": {"tasks": [task]}}
        return {"name": "w", "tasks": [task]}

    assert authoring.from_mapping(nested(5)).depth == 5
    with pytest.raises(ConfigurationError, match="at most 5 levels deep"):
        authoring.from_mapping(nested(6))
    files = {f"f{i}": f"name: f\ntasks: [{{name: t, workflow: f{i + 1}.yaml}}]" for i in range(6)}
    last = {"f6": "name: f\ntasks: [{name: t, delay: 1}]"}
    path = write(**files, **last)
    assert load(path.with_name("f1.yaml")).depth == 5
    assert "at most 5 levels deep" in refused(path.with_name("f0.yaml"))[0]
    # What was read before, further up, is not let in where it reaches too deep.
    parent = "name: p\ntasks: [{name: a, workflow: f1.yaml}, {name: b, workflow: f2.yaml}]"
    assert "at most 5 levels deep" in " ".join(refused(write(parent=parent)))
    parent = "name: p\ntasks: [{name: a, workflow: f2.yaml}, {name: b, workflow: g.yaml}]"
    path = write(parent=parent, g="name: g\ntasks: [{name: t, workflow: f2.yaml}]")
    assert "at most 5 levels deep" in " ".join(refused(path))


def test_embedded_tasks_and_bytes_count_as_often_as_they_are_embedded(write: Any) -> None:
    tasks = "".join(f"  - {{name: t{i}, workflow: sub/child.yaml}}\n" for i in range(10))
    child = "name: c\ntasks:\n" + "".join(f"  - {{name: i{i}, delay: 1}}\n" for i in range(10))
    path = write(parent="name: p\ntasks:\n" + tasks, sub__child=child)
    assert load(path, limits=SizeLimits(max_bytes=10_000, max_tasks=110)).tasks == 110
    (line,) = refused(path, limits=SizeLimits(max_bytes=10_000, max_tasks=109))
    assert "parent.yaml:12:26: tasks[9].workflow: makes the tasks exceed the 109" in line
    (line,) = refused(path, limits=SizeLimits(max_bytes=1_000, max_tasks=110))
    assert "exceed 1,000 bytes" in line


def test_growth_by_embedding_is_stopped_early(write: Any) -> None:
    def wide(child: str) -> str:
        rows = "".join(f"  - {{name: t{i}, {child}}}\n" for i in range(100))
        return f"name: f\ntasks:\n{rows}"

    files = {f"f{i}": wide(f"workflow: f{i + 1}.yaml") for i in range(4)}
    path = write(**files, f4=wide("delay: 1"))
    assert "makes the tasks exceed the 1,000,000 tasks" in refused(path.with_name("f0.yaml"))[0]


def test_an_inner_workflow_speaks_the_dialect_around_it() -> None:
    tasks = [{"name": "i", "agent": "m", "action": "go"}]
    inner = {"agents": [{"name": "m", "type": "ai_agent", "endpoint": "e"}], "tasks": tasks}
    data = {"agenthive": 1, "name": "w", "tasks": [{"name": "t", "workflow": inner}]}
    child = authoring.from_mapping(data).spec.tasks[0].workflow
    assert child is not None
    assert (child.name, child.dialect, child.max_parallel) == ("t", 1, 16)
    assert child.agents[0].timeout == 120.0
    del data["agenthive"]
    with pytest.raises(ConfigurationError) as caught:
        authoring.from_mapping(data, "here")
    assert caught.value.problems[0].startswith("here: tasks[0].workflow.tasks[0]: unknown key")


def test_secrets_in_and_for_a_child() -> None:
    kept: dict[str, str] = {}

    def keep(label: str, value: str) -> str:
        kept[label] = value
        return f"${{secret:{label}}}"

    agent = {
        "name": "a",
        "type": "http_api",
        "endpoint": "https://x",
        "authentication": {"type": "bearer", "token": "hunter2"},
    }
    inner = {
        "inputs": {"k": {"type": "secret"}},
        "agents": [agent],
        "tasks": [{"name": "i", "delay": 1}],
    }
    tasks = [
        {"name": "t", "workflow": inner, "parameters": {"k": "hunter3"}},
        {"name": "u", "workflow": inner, "parameters": {"k": "${env:KEY}"}},
        {"name": "v", "workflow": inner, "parameters": {"k": "{{ inputs.k }}"}},
        {"name": "x", "workflow": inner, "parameters": {"k": None}},
    ]
    data = {"name": "w", "tasks": tasks}
    loaded = authoring.from_mapping(data, keep_secret=keep)
    assert "hunter" not in authoring.dump(loaded.spec).decode() + "".join(loaded.warnings)
    assert kept["w.t.inputs.k"] == "hunter3"
    assert sorted(kept) == [
        "w.t.agents.a.token",
        "w.t.inputs.k",
        "w.u.agents.a.token",
        "w.v.agents.a.token",
        "w.x.agents.a.token",
    ]
    assert loaded.spec.tasks[0].parameters == {"k": "${secret:w.t.inputs.k}"}
    assert [one.target for one in loaded.references if one.kind == "env"] == ["KEY"]
    found = {one.place for one in authoring.references_of(loaded.spec)}
    assert "tasks.u.parameters.k" in found
    assert not any("is sent unchanged" in one for one in loaded.warnings)
    checked = authoring.from_mapping(data, keep_secret=placeholder)
    assert any("a run moves it" in one for one in checked.warnings)


def test_references_of_everything_a_task_may_call() -> None:
    headers = {"headers": {"X-API-Key": "${env:KEY}"}}
    call = {"action": "x", "parameters": headers}
    task = {
        "name": "t",
        "agent_name": "a",
        "action": "x",
        "effect": "once",
        "compensate": call,
        "reconcile": call,
    }
    agents = [{"name": "a", "type": "custom", "endpoint": "e"}]
    loaded = authoring.from_mapping({"name": "w", "agents": agents, "tasks": [task]})
    assert [one.place for one in authoring.references_of(loaded.spec)] == [
        "tasks.t.compensate.parameters.headers.X-API-Key",
        "tasks.t.reconcile.parameters.headers.X-API-Key",
    ]


def test_agents_of_children_whose_place_is_known(write: Any) -> None:
    child = CHILD.replace("custom://${env:WHERE}", "{{ inputs.x }}").replace("integer", "string")
    child += "  - {name: j, workflow: deeper.yaml}\n"
    deeper = CHILD.replace("${env:WHERE}", "here").replace(", required: true", "")
    parent = PARENT.replace("x: 1", "x: a")
    loaded = load(write(parent=parent, sub__child=child, sub__deeper=deeper))
    assert [one.endpoint for one in authoring.agents_of(loaded.spec)] == ["custom://here"]


def test_in_python() -> None:
    inner = Workflow("inner", outputs={"r": "{{ tasks.wait.result }}"})
    inner.input("x", "integer", required=True)
    inner.task("wait", delay="{{ inputs.x }}")
    outer = Workflow("outer")
    api = outer.agent("api", "http_api", "https://api.example.com")
    items = outer.task("list", api, "fetch", effect="none")
    each = outer.task(
        "each",
        workflow=inner,
        depends_on=[items],
        parameters={"x": "{{ item }}"},
        for_each=f"{items.expression}.result",
    )
    asked = outer.task("ask", depends_on=[each], approval={"approvers": ["x"]})
    outer.task("send", api, "request", depends_on=[asked], when=f"{asked.expression}.result.ok")
    spec = outer.build()
    assert [task.agent for task in spec.tasks] == ["api", "", "", "api"]
    assert spec.tasks[1].workflow == inner.build()
    assert spec.tasks[1].for_each is not None
    assert spec.tasks[1].for_each.items == 'tasks["list"].result'
    outer.task("more", workflow={"tasks": [{"name": "i", "delay": 1}]})
    assert outer.build().tasks[-1].workflow is not None
