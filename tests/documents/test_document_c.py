"""Document C: every code block runs as written, under its own import names."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from agenthive import authoring
from agenthive.errors import ConfigurationError

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE))
from code_blocks import block, blocks  # noqa: E402

SHIMS = str(HERE / "shims")


def run(
    code: str, folder: Path, *arguments: str, module: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run Python with the document's import names, in a folder of its own."""
    environment = os.environ | {
        "PYTHONPATH": f"{SHIMS}{os.pathsep}{ROOT / 'src'}",
        "AGENTHIVE_HOME": str(folder / "home"),
        "AGENTHIVE_AGENTS": f"analysis={ROOT}/examples/example_agents.py:analysis",
    }
    command = ["-m", module] if module else ["-c", code]
    return subprocess.run(
        [sys.executable, *command, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the examples in it, as the document has them."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    return tmp_path


def test_verify_installation(folder: Path) -> None:
    line = re.search(
        r'python -c "(from lead_agent .*?)"$',
        block("bash", "from lead_agent import LeadAgent; print"),
        re.M,
    )
    assert line is not None
    done = run(line[1], folder)
    assert done.stdout.strip() == "Lead Agent installed successfully!", done.stderr


def test_command_line_and_its_output(folder: Path) -> None:
    """C9, C10, C11: `python -m lead_agent.lead_agent FILE` prints the result lines."""
    done = run("", folder, "examples/simple_workflow.yaml", module="lead_agent.lead_agent")
    lines = done.stdout.splitlines()
    assert lines[0] == "Workflow completed with status: completed", done.stderr
    assert lines[1] == "Completed tasks: 4/4"
    assert re.fullmatch(r"Execution time: \d+\.\d\ds", lines[2])
    assert lines[4] == "Results:"
    names = [line.split(":")[0].strip() for line in lines[5:9]]
    assert names == ["fetch_raw_data", "process_with_ai", "analyze_with_mcp", "generate_report"]


def test_command_line_through_main(folder: Path) -> None:
    """The second form: importing main and running it; argv holds the file."""
    code = "import asyncio\nfrom lead_agent.lead_agent import main\nasyncio.run(main())\n"
    assert code.strip() in block("bash", "asyncio.run(main())").replace("\n\n", "\n")
    done = run(code, folder, "examples/simple_workflow.yaml")
    assert "Completed tasks: 4/4" in done.stdout, done.stderr


def test_programmatic_usage(folder: Path) -> None:
    """The elided lists of the block are filled in; nothing else is changed."""
    code = block("python", "Option B: Run from dictionary")
    agents = '[{"name": "m", "type": "ai_agent", "endpoint": "offline://extractive"}]'
    tasks = '[{"name": "t", "agent_name": "m", "action": "say"}]'
    code = code.replace('"agents": [...]', f'"agents": {agents}')
    code = code.replace('"tasks": [...]', f'"tasks": {tasks}')
    done = run(code, folder)
    assert "✅ Workflow completed successfully!" in done.stdout, done.stderr


@pytest.mark.parametrize(
    "holds",
    ["structlog.stdlib.add_log_level,\n        structlog.processors.T", "logging.basicConfig"],
)
def test_logging_blocks(folder: Path, holds: str) -> None:
    code = block("python", holds) + "\nstructlog.get_logger().info('hello', run='r1')\n"
    done = run(code, folder)
    assert done.returncode == 0, done.stderr
    assert "hello" in done.stdout + done.stderr


OBSERVED = """
import asyncio
from lead_agent import LeadAgent
lead = LeadAgent()
workflow_engine = lead.engine
{code}
{attach}
asyncio.run(lead.execute_workflow_from_dict({config!r}))
{after}
"""
CONFIG = {
    "name": "watched",
    "failure_strategy": "continue_on_failure",
    "agents": [
        {"name": "m", "type": "ai_agent", "endpoint": "offline://extractive"},
        {
            "name": "h",
            "type": "http_api",
            "endpoint": "http://127.0.0.1:9",
            "retry_config": {"max_attempts": 1},
        },
    ],
    "tasks": [
        {"name": "good", "agent_name": "m", "action": "say"},
        {"name": "bad", "agent_name": "h", "action": "fetch"},
    ],
}


def test_observers(folder: Path) -> None:
    code = block("python", "class WorkflowMonitor")
    done = run(OBSERVED.format(code=code, attach="", config=CONFIG, after=""), folder)
    assert "Task good completed successfully" in done.stdout, done.stderr
    assert "Task bad failed: " in done.stdout


def test_custom_observer(folder: Path) -> None:
    code = block("python", "class MetricsCollector")
    attach = "collector = MetricsCollector()\nworkflow_engine.state_machine.attach(collector)"
    after = "print(collector.metrics)"
    done = run(OBSERVED.format(code=code, attach=attach, config=CONFIG, after=after), folder)
    assert re.search(r"\{'good': \d+\.\d+\}", done.stdout), done.stderr


def test_custom_agent(folder: Path) -> None:
    """The class, its registration, and the YAML that uses it."""
    code = block("python", "class CustomAgent(BaseAgent)")
    agents = yaml.safe_load(block("yaml", "my_custom_agent"))["agents"]
    config = {
        "name": "custom",
        "agents": agents,
        "tasks": [
            {"name": "t", "agent_name": "my_custom_agent", "action": "go", "parameters": {"x": 1}}
        ],
    }
    code += f"""
import asyncio
async def custom_logic(self, action, parameters):
    return [action, parameters["x"], self.config.custom_params["special_config"]]
CustomAgent.custom_logic = custom_logic
from lead_agent import LeadAgent
result = asyncio.run(LeadAgent().execute_workflow_from_dict({config!r}))
print(result.status, result.results)
"""
    done = run(code, folder)
    assert done.stdout.strip() == "completed {'t': ['go', 1, 'value']}", done.stderr


AGENT = {"name": "agent_name", "type": "ai_agent", "endpoint": "offline://extractive"}


@pytest.mark.parametrize("number", range(11))
def test_yaml_blocks_are_accepted(number: int) -> None:
    """Each YAML block loads once what it leaves out is filled in."""
    given: dict[str, Any] = yaml.safe_load(blocks("yaml")[number])
    for agent in given.get("agents", []):
        agent.setdefault("endpoint", "https://api.example.com")
        if len(agent.get("authentication", {})) > 4:
            agent["authentication"] = {"type": "bearer", "token": "${env:TOKEN}"}
    given.setdefault("name", "w")
    given.setdefault("agents", [])
    given.setdefault("tasks", [])
    known = {agent["name"] for agent in given["agents"]}
    used = {task["agent_name"] for task in given["tasks"]}
    given["agents"] += [AGENT | {"name": name} for name in sorted(used - known)]
    names = {task["name"] for task in given["tasks"]}
    missing = {dep for task in given["tasks"] for dep in task.get("depends_on", [])} - names
    given["tasks"] += [
        {"name": name, "agent_name": sorted(used)[0], "action": "x"} for name in sorted(missing)
    ]
    if not given["tasks"]:
        given["agents"] = given["agents"] or [AGENT]
        first = given["agents"][0]["name"]
        given["tasks"] = [{"name": "t", "agent_name": first, "action": "fetch"}]
    loaded = authoring.from_mapping(given, keep_secret=lambda label, value: "${env:KEPT}")
    assert loaded.spec.tasks
    assert "your-api-key" not in authoring.dump(loaded.spec).decode()


def test_the_documented_errors() -> None:
    """C42: the exact wordings."""
    base: dict[str, Any] = {"name": "w", "agents": [AGENT]}
    task = {"name": "process_data", "agent_name": "missing_agent", "action": "x"}
    wanted = (
        block("bash", "references undefined agent").strip().removeprefix("ConfigurationError: ")
    )
    with pytest.raises(ConfigurationError) as caught:
        authoring.from_mapping(base | {"tasks": [task]})
    assert wanted in str(caught.value)
    circle = [
        {"name": "a", "agent_name": "agent_name", "action": "x", "depends_on": ["b"]},
        {"name": "b", "agent_name": "agent_name", "action": "x", "depends_on": ["a"]},
    ]
    wanted = block("bash", "Circular dependency").strip().removeprefix("ConfigurationError: ")
    with pytest.raises(ConfigurationError) as caught:
        authoring.from_mapping(base | {"tasks": circle})
    assert wanted in str(caught.value)


def test_circuit_breaker_says_so() -> None:
    """C43: "Circuit breaker is open", and CLOSED -> OPEN -> HALF_OPEN -> CLOSED."""
    from agenthive.errors import AgentUnavailable
    from agenthive.facades.patterns import CircuitBreaker

    now = [0]
    breaker = CircuitBreaker(2, 30.0, clock=lambda: now[0])

    async def bad() -> None:
        raise ConnectionError

    async def good() -> int:
        return 1

    async def scenario() -> None:
        assert breaker.state == "closed"
        for _ in range(2):
            with pytest.raises(ConnectionError):
                await breaker.call(bad)
        assert breaker.state == "open"
        with pytest.raises(AgentUnavailable, match="Circuit breaker is open"):
            await breaker.call(good)
        now[0] += 30_000_000
        assert breaker.state == "half_open"
        assert await breaker.protect(good)() == 1
        assert breaker.state == "closed"

    asyncio.run(scenario())


@pytest.mark.parametrize("file", ["demo.py", "simple_demo.py"])
def test_demos(folder: Path, file: str) -> None:
    """C15, C16."""
    code = f"import runpy; runpy.run_path('examples/{file}', run_name='__main__')"
    done = run(code, folder)
    assert done.returncode == 0, done.stderr
    assert "completed" in done.stdout


def test_result_shape_is_json(folder: Path) -> None:
    """What LeadAgent gives has the document's fields."""
    code = f"""
import asyncio, json
from lead_agent import LeadAgent
result = asyncio.run(LeadAgent().execute_workflow_from_dict({CONFIG!r}))
print(json.dumps([result.status, result.results["good"]["model"], list(result.errors)]))
"""
    done = run(code, folder)
    assert json.loads(done.stdout) == ["failed", "offline-extractive", ["bad"]], done.stderr
