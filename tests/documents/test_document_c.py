"""Document C: every code block runs as written, under its own import names."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from agenthive import authoring
from agenthive.errors import ConfigurationError
from tests.agents.aimock import serving
from tests.documents.code_blocks import block, blocks
from tests.requires import require
from tests.wheels import clean_environment

pytestmark = pytest.mark.slow
"""Many of its tests start processes or wait."""

Python = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def python(site: Path, folder: Path) -> Python:
    """Run Python with the document's import names, in a folder with the document's files."""

    def run_python(*words: str) -> subprocess.CompletedProcess[str]:
        environment = clean_environment(site, AGENTHIVE_HOME=str(folder / "home"))
        return subprocess.run(
            [sys.executable, *words],
            cwd=folder, env=environment, capture_output=True, text=True, timeout=100,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    return run_python


def test_verify_installation(python: Python) -> None:
    line = re.search(
        r'python -c "(from lead_agent .*?)"$',
        block("bash", "from lead_agent import LeadAgent; print"),
        re.M,
    )
    assert line is not None
    done = python("-c", line[1])
    assert done.stdout.strip() == "Lead Agent installed successfully!", done.stderr


SAMPLE = "examples/simple_workflow.yaml"
"""The four-task sample, by the name that the document calls it."""
TASKS = ["fetch_raw_data", "process_with_ai", "analyze_with_mcp", "generate_report"]


def check_output(process: subprocess.CompletedProcess[str]) -> None:
    """C10, C11: the lines that the document shows, for its four tasks."""
    assert process.returncode == 0, process.stderr
    lines = process.stdout.splitlines()
    assert lines[0] == "Workflow completed with status: completed"
    assert lines[1] == "Completed tasks: 4/4"
    assert re.fullmatch(r"Execution time: \d+\.\d\ds", lines[2])
    assert lines[4] == "Results:"
    assert [line.split(":")[0].strip() for line in lines[5:9]] == TASKS


def test_command_line_and_its_output(python: Python) -> None:
    """C9: the command as the document prints it; its MCP task calls mcp-server-time."""
    assert f"python -m lead_agent.lead_agent {SAMPLE}\n" in block("bash", "Run a workflow from a")
    process = python("-m", "lead_agent.lead_agent", SAMPLE)
    check_output(process)
    assert "Asia/Tokyo" in process.stdout
    assert "analyze_with_mcp         succeeded" in process.stderr


def test_agenthive_runs_the_sample_too(python: Python) -> None:
    process = python("-m", "agenthive", "run", SAMPLE, "--json")
    assert process.returncode == 0, process.stderr
    results = json.loads(process.stdout)["results"]
    assert list(results) == TASKS
    assert results["fetch_raw_data"]["count"] == 12
    assert json.loads(results["analyze_with_mcp"]["content"])["time_difference"] == "+9.0h"
    assert results["generate_report"]["report"].startswith("# Report: sales\n\nVisits grew")


def test_command_line_through_main(python: Python) -> None:
    """The second form: importing main and running it; argv holds the file."""
    printed = block("bash", "asyncio.run(main())").split('python -c "')[1]
    code, arguments = printed.rsplit('" ', 1)
    check_output(python("-c", code, *arguments.split()))


BROKEN = json.dumps({
    "name": "broken",
    "agents": [{
        "name": "h", "type": "http_api", "endpoint": "http://127.0.0.1:9",
        "retry_config": {"max_attempts": 1},
    }],
    "tasks": [{"name": "t", "agent_name": "h", "action": "fetch"}],
})  # fmt: skip
PARTIAL = json.dumps({
    "name": "partial",
    "failure_strategy": "partial_completion_allowed",
    "agents": [
        {"name": "m", "type": "ai_agent", "endpoint": "offline://extractive"},
        *json.loads(BROKEN)["agents"],
    ],
    "tasks": [
        {"name": "good", "agent_name": "m", "action": "say"},
        *json.loads(BROKEN)["tasks"],
    ],
})  # fmt: skip


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([], 2),
        (["--help"], 0),
        (["-h"], 0),
        (["--nonsense"], 2),
        (["missing.yaml"], 2),
        (["--json", "missing.yaml"], 2),
        (["invalid.json"], 2),
        (["broken.json", "-q"], 1),
        (["partial.json", "-q"], 7),
        ([SAMPLE, "--home", ""], 2),
    ],
    ids=lambda words: " ".join(words) or "nothing" if isinstance(words, list) else str(words),
)
def test_entry_point_behaves_as_the_command_line(
    words: list[str], code: int, python: Python, folder: Path
) -> None:
    """The same exit code and the same texts as `agenthive run`, in both forms."""
    for name, text in {"broken": BROKEN, "partial": PARTIAL, "invalid": '{"name": "w"}'}.items():
        (folder / f"{name}.json").write_text(text)
    main = "import asyncio; from lead_agent.lead_agent import main; asyncio.run(main())"
    ways = (
        python("-m", "agenthive", "run", *words),
        python("-m", "lead_agent.lead_agent", *words),
        python("-c", main, *words),
    )
    texts = [
        re.sub(r"python -m agenthive run|python -m lead_agent\.lead_agent", "COMMAND", text)
        for process in ways
        for text in (process.stdout, process.stderr)
    ]
    texts = [re.sub(r"\d+\.\d\ds|\s+", " ", text) for text in texts]
    assert [process.returncode for process in ways] == [code] * 3, texts
    assert texts[0::2] == [texts[0]] * 3
    assert texts[1::2] == [texts[1]] * 3
    assert "Traceback" not in texts[1]


SLOW = json.dumps({
    "name": "slow",
    "agents": [{"name": "s", "type": "custom", "endpoint": "custom://slow"}],
    "tasks": [
        {"name": "first", "agent_name": "s", "action": "go"},
        {"name": "second", "agent_name": "s", "action": "go", "depends_on": ["first"]},
    ],
})  # fmt: skip
SLOW_AGENT = """
import asyncio, pathlib

async def slow(parameters):
    pathlib.Path("started").touch()
    await asyncio.sleep(1)

AGENTS = {"slow": slow}
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_entry_point_drains(number: signal.Signals, site: Path, folder: Path) -> None:
    """The call under way ends, the next one is left for `agenthive resume`; exit code 130."""
    (folder / "slow.json").write_text(SLOW)
    (folder / "agents.py").write_text(SLOW_AGENT)
    words = ["-m", "lead_agent.lead_agent", "slow.json", "--agents", "agents.py"]
    process = subprocess.Popen(
        [sys.executable, *words], cwd=folder,
        env=clean_environment(site, AGENTHIVE_HOME=str(folder / "home")),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        end = time.monotonic() + 60
        while not (folder / "started").exists():
            assert time.monotonic() < end, "the first task does not start"
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, errors
    assert output.startswith("Workflow not finished, status: "), errors
    assert "Completed tasks: 1/2" in output
    assert "Traceback" not in errors


def test_programmatic_usage(python: Python) -> None:
    """The elided lists of the block are filled in; nothing else is changed."""
    code = block("python", "Option B: Run from dictionary")
    agents = '[{"name": "m", "type": "ai_agent", "endpoint": "offline://extractive"}]'
    tasks = '[{"name": "t", "agent_name": "m", "action": "say"}]'
    code = code.replace('"agents": [...]', f'"agents": {agents}')
    code = code.replace('"tasks": [...]', f'"tasks": {tasks}')
    done = python("-c", code)
    assert "✅ Workflow completed successfully!" in done.stdout, done.stderr


@pytest.mark.parametrize(
    "holds",
    ["structlog.stdlib.add_log_level,\n        structlog.processors.T", "logging.basicConfig"],
)
def test_logging_blocks(python: Python, holds: str) -> None:
    code = block("python", holds) + "\nstructlog.get_logger().info('hello', run='r1')\n"
    done = python("-c", code)
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


def test_observers(python: Python) -> None:
    code = block("python", "class WorkflowMonitor")
    done = python("-c", OBSERVED.format(code=code, attach="", config=CONFIG, after=""))
    assert "Task good completed successfully" in done.stdout, done.stderr
    assert "Task bad failed: " in done.stdout


def test_custom_observer(python: Python) -> None:
    code = block("python", "class MetricsCollector")
    attach = "collector = MetricsCollector()\nworkflow_engine.state_machine.attach(collector)"
    after = "print(collector.metrics)"
    done = python("-c", OBSERVED.format(code=code, attach=attach, config=CONFIG, after=after))
    assert re.search(r"\{'good': \d+\.\d+\}", done.stdout), done.stderr


def test_custom_agent(python: Python) -> None:
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
    done = python("-c", code)
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
def test_demos(python: Python, file: str) -> None:
    """C15, C16, as the document calls them."""
    assert f"python examples/{file}\n" in block("bash", "comprehensive demo")
    process = python(f"examples/{file}")
    assert process.returncode == 0, process.stderr
    assert "completed" in process.stdout


def test_basic_usage_example(python: Python, folder: Path) -> None:
    """my_workflow.yaml and the program that runs it, against a server that plays OpenAI."""
    require("node")
    fixtures = {"fixtures": [{"match": {"userMessage": "creative story"},
                              "response": {"content": "Once upon a time."}}]}  # fmt: skip
    (folder / "fixtures.json").write_text(json.dumps(fixtures))
    text = block("yaml", "my_first_workflow")
    with serving(folder / "fixtures.json") as mock:
        endpoint = f"{mock.url}/v1/chat/completions"
        text = text.replace("https://api.openai.com/v1/chat/completions", endpoint)
        assert mock.url in text
        (folder / "my_workflow.yaml").write_text(text)
        process = python("-c", block("python", 'execute_workflow_from_file("my_workflow.yaml")'))
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith("Status: completed\nResults: {'generate_content': ")
    assert "Once upon a time." in process.stdout


@pytest.mark.parametrize("words", [["-m", "lead_agent.api.server"], ["run_api_server.py"]])
def test_server_is_not_there_yet(python: Python, words: list[str]) -> None:
    process = python(*words)
    assert process.returncode != 0
    assert "No module named" in process.stderr or "No such file" in process.stderr


def test_result_shape_is_json(python: Python) -> None:
    """What LeadAgent gives has the document's fields."""
    code = f"""
import asyncio, json
from lead_agent import LeadAgent
result = asyncio.run(LeadAgent().execute_workflow_from_dict({CONFIG!r}))
print(json.dumps([result.status, result.results["good"]["model"], list(result.errors)]))
"""
    done = python("-c", code)
    assert json.loads(done.stdout) == ["failed", "offline-extractive", ["bad"]], done.stderr
