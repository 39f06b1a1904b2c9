"""Who there is: kinds by type, custom agents by the names that the operator gave them."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from agenthive.agents import registry
from agenthive.agents.base import KIND_FUNCTIONS, AgentResponse, BaseAgent
from agenthive.agents.http import HttpAgent
from agenthive.agents.mcp import agent as mcp
from agenthive.agents.python import FunctionAgent
from agenthive.agents.registry import AgentRegistry
from agenthive.core.model.workflow import AgentSpec, Effect
from agenthive.errors import AgentUnavailable, ConfigurationError
from agenthive.testing import ScriptedAgent


def custom(name: str = "greet") -> AgentSpec:
    return AgentSpec(name="a", type="custom", endpoint=f"custom://{name}")


def greet() -> str:
    return "hello"


KIND = '''"""A kind that says its name."""
from agenthive.agents.base import AgentResponse, BaseAgent
class Sayer(BaseAgent):
    async def execute(self, action, parameters):
        return AgentResponse(success=True, result=self.name)
def make(spec, services): return Sayer(spec) if spec.endpoint != "no agent" else 5
def action_problem(spec, action): return None if action == "say" else f"cannot {action}"
def parameters(spec, action): return {"type": "object"}
def effect_of(spec, action): return "none"
'''


def of_kind(kind: str, endpoint: str = "x") -> AgentSpec:
    return AgentSpec(name="a", type=kind, endpoint=endpoint)


class Greeter:
    def __call__(self) -> str:
        return "a class says hello"


class Whole(BaseAgent):
    async def execute(self, action: str, parameters: dict[str, Any]) -> AgentResponse:
        return AgentResponse(success=True, result=self.name)


async def said(agents: AgentRegistry, spec: AgentSpec | None = None) -> Any:
    return (await agents.find_agent(spec or custom()).execute("x", {})).result


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(
        "RUNS = []\nRUNS.append(1)\ndef greet(): return len(RUNS)\nAGENTS = {'greet': greet}\n"
    )
    return tmp_path


# Names.


@pytest.mark.parametrize(
    ("agent", "result"), [(greet, "hello"), (Greeter, "a class says hello"), (Whole, "a")]
)
async def test_registered(agent: Any, result: str) -> None:
    agents = AgentRegistry()
    agents.register("greet", agent)
    assert await said(agents) == result
    assert agents.find_agent(custom()) is agents.find_agent(custom())
    assert "greet" in agents.names


def test_what_cannot_be_called_is_no_agent() -> None:
    with pytest.raises(ConfigurationError, match="'x' cannot be called: it is of the type"):
        AgentRegistry().register("x", "text")  # type: ignore[arg-type]


def test_nobody() -> None:
    with pytest.raises(
        AgentUnavailable, match="no agent is registered for custom://greet"
    ) as caught:
        AgentRegistry().find_agent(custom())
    assert "--agents FILE.py" in caught.value.hint
    with pytest.raises(AgentUnavailable, match="there is no kind 'oracle'") as caught:
        AgentRegistry().find_agent(AgentSpec(name="a", type="oracle", endpoint="x"))
    assert "ai_agent, mcp_server, http_api, custom" in caught.value.hint


async def test_a_file(folder: Path) -> None:
    agents = AgentRegistry()
    assert agents.load_file(folder / "mine.py") == ["greet"]
    assert agents.load_file(str(folder / "mine.py")) == ["greet"]
    assert await said(agents) == 1  # loaded twice, run once


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1", "defines no agents"),
        ("AGENTS = {}", "defines no agents"),
        ("AGENTS = [1]", "defines no agents"),
        ("AGENTS = {'a': 1}", "cannot be called"),
        ("raise SystemError('broken')", "when it was loaded: SystemError: broken"),
        ("def broken(:", "when it was loaded: SyntaxError"),
    ],
)
def test_files_that_bring_nothing(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "odd.py"
    file.write_text(text)
    for _ in range(2):  # a file that failed is tried again, not remembered
        with pytest.raises(ConfigurationError, match=words):
            AgentRegistry().load_file(file)


def test_files_that_are_none(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.py", tmp_path, tmp_path / "text.txt"):
        with pytest.raises(ConfigurationError, match="there is no Python file"):
            AgentRegistry().load_file(path)


async def test_lazily(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(folder))
    agents = AgentRegistry()
    agents.register_lazily("greet", f"{folder / 'mine.py'}:greet")
    agents.register_lazily("module", "mine:greet")
    assert "mine" not in sys.modules
    assert await said(agents) == 1
    assert await said(agents, custom("module")) == 1
    assert {"greet", "module"} <= set(agents.names)
    monkeypatch.delitem(sys.modules, "mine")


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("no_such_module:x", "ModuleNotFoundError"),
        ("json:no_such", "AttributeError"),
        ("nothing", "ValueError"),
        ("nowhere.py:x", "there is no Python file"),
        ("broken:x", "ZeroDivisionError"),
    ],
)
def test_lazily_in_vain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, words: str
) -> None:
    (tmp_path / "broken.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(str(tmp_path))
    agents = AgentRegistry()
    agents.register_lazily("greet", where)
    with pytest.raises(ConfigurationError, match=words):
        agents.find_agent(custom())


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package that brings two agents, one of them broken."""
    about = tmp_path / "brings_agents-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: brings-agents\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        f"[{registry.GROUP}]\nbrought = brings_agents:brought\nbroken = brings_agents:no_such\n"
        "whole = brings_kind\nhalf = brings_half\nabsent = brings_nothing\n"
    )
    (tmp_path / "brings_agents.py").write_text("def brought(): return 'from a package'\n")
    (tmp_path / "brings_kind.py").write_text(KIND)
    (tmp_path / "brings_half.py").write_text(KIND.partition("def effect_of")[0])
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


async def test_packages(package: Path) -> None:
    agents = AgentRegistry()
    assert {"brought", "broken"} <= set(agents.names)
    assert agents.sources["brought"] == "package: brings_agents:brought"
    assert await said(agents, custom("brought")) == "from a package"
    with pytest.raises(ConfigurationError, match="'broken' cannot be loaded from 'brings_agents"):
        agents.find_agent(custom("broken"))
    sys.modules.pop("brings_agents")


def test_sources(folder: Path) -> None:
    agents = AgentRegistry()
    agents.register("greet", greet)
    agents.register("instance", ScriptedAgent())
    agents.register_lazily("lazy", "mine:greet")
    assert agents.sources["greet"] == "code: greet"
    assert agents.sources["instance"].startswith("code: <")
    assert agents.sources["lazy"] == "settings: mine:greet"


# Kinds.


@pytest.mark.parametrize(
    ("type", "endpoint", "kind"),
    [
        ("http_api", "http://x.invalid", HttpAgent),
        ("mcp_server", "stdio:x", mcp.McpAgent),
        ("ai_agent", "offline://extractive", BaseAgent),
    ],
)
def test_kinds(type: str, endpoint: str, kind: Any) -> None:
    assert isinstance(
        AgentRegistry().find_agent(AgentSpec(name="a", type=type, endpoint=endpoint)), kind
    )


def test_agents_are_told_apart_by_their_whole_spec() -> None:
    agents = AgentRegistry()
    first = AgentSpec(name="a", type="http_api", endpoint="http://x.invalid")
    second = AgentSpec(name="a", type="http_api", endpoint="http://x.invalid", timeout=1)
    assert agents.find_agent(first) is not agents.find_agent(second)


async def test_kind_of_a_package(package: Path) -> None:
    agents = AgentRegistry()
    assert {"whole", "half", "absent"} <= set(agents.kinds)
    assert "whole" not in agents.sources
    assert await said(agents, of_kind("whole")) == "a"
    assert agents.effect_of(of_kind("whole"), "x") is Effect.NONE
    assert agents.action_problem(of_kind("whole"), "fly") == "cannot fly"
    assert agents.parameters(of_kind("whole"), "x") == {"type": "object"}
    assert not agents.is_priced(of_kind("whole"))
    descriptions = agents.describe_kinds()
    assert descriptions["whole"] == "A kind that says its name"
    assert descriptions["http_api"] == "An HTTP API: fetch, request, ping"
    assert "lacks the function effect_of(spec, action)" in descriptions["half"]


async def test_kind_of_a_file(tmp_path: Path) -> None:
    agents, file = AgentRegistry(), tmp_path / "sayer.py"
    file.write_text(KIND)
    assert agents.load_file(file) == ["sayer"]
    assert await said(agents, of_kind("sayer")) == "a"
    assert agents.describe_kinds()["sayer"] == f"A kind that says its name ({file})"
    assert AgentRegistry().kind_problem("sayer") is not None


@pytest.mark.parametrize("function", sorted(KIND_FUNCTIONS))
def test_kind_that_lacks_a_function(function: str, tmp_path: Path) -> None:
    file = tmp_path / "lame.py"
    file.write_text(KIND.replace(f"def {function}(", "def other("))
    with pytest.raises(ConfigurationError, match="agent kind 'lame' lacks the function") as caught:
        AgentRegistry().load_file(file)
    assert KIND_FUNCTIONS[function] in caught.value.message
    assert caught.value.hint == "See docs/howto/add-an-agent-kind.md."
    assert (Path(__file__).parents[2] / registry.HOW_TO).is_file()


def test_file_that_has_the_name_of_a_kind(tmp_path: Path) -> None:
    (tmp_path / "http_api.py").write_text(KIND)
    with pytest.raises(ConfigurationError, match="there is an agent kind 'http_api' already"):
        AgentRegistry().load_file(tmp_path / "http_api.py")


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        ("half", "agent kind 'half' lacks the function effect_of(spec, action)"),
        ("absent", "agent kind 'absent' cannot be loaded from 'brings_nothing': ModuleNotFound"),
    ],
)
def test_kind_of_a_package_that_cannot_be_used(package: Path, kind: str, problem: str) -> None:
    agents = AgentRegistry()
    for _ in range(2):
        with pytest.raises(AgentUnavailable, match=re.escape(f"agent 'a': {problem}")) as caught:
            agents.find_agent(of_kind(kind))
        assert "add-an-agent-kind.md" in caught.value.hint
    assert problem in str(agents.kind_problem(kind))
    assert agents.action_problem(of_kind(kind), "x") is None
    assert agents.effect_of(of_kind(kind), "x") is None
    assert agents.parameters(of_kind(kind), "x") is None
    assert not agents.is_priced(of_kind(kind))


def test_kind_that_makes_no_agent(package: Path) -> None:
    with pytest.raises(AgentUnavailable, match="make returned int, not a BaseAgent"):
        AgentRegistry().find_agent(of_kind("whole", "no agent"))


@pytest.mark.parametrize("kind", ["ai_agent", "mcp_server", "http_api", "custom"])
def test_shipped_kinds_have_every_function(kind: str) -> None:
    assert AgentRegistry().kind_problem(kind) is None


def test_kind_that_code_stands_in_for() -> None:
    agents = AgentRegistry()
    agents.register_kind("acme", Whole)
    assert "acme" in agents.kinds
    assert agents.kind_problem("acme") is None
    assert agents.describe_kinds()["acme"] == "from code: Whole"
    assert agents.parameters(of_kind("acme"), "x") is None


async def test_a_kind_of_ones_own() -> None:
    agents, stand_in = AgentRegistry(), ScriptedAgent("scripted")
    agents.register_kind("http_api", stand_in.named)
    agents.register_kind("custom", Whole)
    http = AgentSpec(name="h", type="http_api", endpoint="http://x.invalid")
    assert await said(agents, http) == "scripted"
    assert await said(agents, custom("anything")) == "a"
    agents.register("greet", greet)
    assert isinstance(agents.find_agent(custom("greet")), FunctionAgent)


def test_what_is_known_of_actions() -> None:
    agents = AgentRegistry()
    http = AgentSpec(name="h", type="http_api", endpoint="http://x.invalid")
    assert agents.effect_of(http, "ping") is Effect.NONE
    assert agents.effect_of(http, "fetch") is None
    assert agents.effect_of(custom(), "ping") is None
    assert "no action 'brew'" in str(agents.action_problem(http, "brew"))
    assert agents.action_problem(http, "ping") is None
    assert agents.action_problem(custom(), "brew") is None


async def test_closing_twice() -> None:
    agents, stand_in = AgentRegistry(), ScriptedAgent()
    agents.register_kind("http_api", stand_in.named)
    agents.find_agent(AgentSpec(name="h", type="http_api", endpoint="http://x.invalid"))
    await agents.close()
    await agents.close()
    assert stand_in.closed == 1
