"""Who there is: finds the agent for a spec, and the operator's custom functions by name.

A kind's module is imported when the first agent of that kind is needed, so that vendors' packages
cost nothing before. Custom names come from `register`, from an ``--agents`` file, from the settings
or from entry points in the group `agenthive.agents`; never from a workflow.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from agenthive.agents.base import AgentType, BaseAgent
from agenthive.agents.llm.prices import Prices
from agenthive.agents.python import FunctionAgent
from agenthive.core.model.calls import Call
from agenthive.core.model.workflow import AgentSpec, Effect
from agenthive.core.values import NanoUSD
from agenthive.errors import AgentUnavailable, ConfigurationError
from agenthive.infra.secrets import Secrets

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

CUSTOM: Final = "custom://"
GROUP: Final = "agenthive.agents"

KINDS: Final[Mapping[str, str]] = {
    AgentType.AI_AGENT: "llm.router",
    AgentType.MCP_SERVER: "mcp.agent",
    AgentType.HTTP_API: "http",
}
"""Type -> module of this room with a function ``make(spec, secrets, egress, prices)``."""


class AgentRegistry:
    """Implements `core.ports.Agents` and `Quoter`. ``secrets`` resolves references.

    ``guarded`` (server mode) lets calls reach public addresses only, and those in ``allow``
    (``host:port``). ``prices`` say what models cost.
    """

    def __init__(
        self,
        secrets: Secrets | None = None,
        *,
        guarded: bool = False,
        allow: Iterable[str] = (),
        prices: Prices | None = None,
    ) -> None:
        self.secrets = secrets or Secrets()
        self.prices = prices or Prices()
        self.guarded = guarded
        self.allow = tuple(allow)
        self._custom: dict[str, Any] = {}
        self._lazy: dict[str, str] = {}
        self._kinds: dict[str, Callable[[AgentSpec], BaseAgent]] = {}
        self._agents: dict[bytes, BaseAgent] = {}

    # What the operator supplies.

    def register(self, name: str, agent: Callable[..., Any] | type[BaseAgent]) -> None:
        """Register a function or a `BaseAgent` class as ``custom://NAME``."""
        if not callable(agent):
            raise ConfigurationError(f"custom agent '{name}' is not callable")
        self._custom[name] = agent

    def register_lazily(self, name: str, target: str) -> None:
        """Register ``module:attribute`` or ``FILE.py:attribute``, imported when first needed."""
        self._lazy[name] = target

    def register_kind(self, kind: str, agent: Callable[[AgentSpec], BaseAgent]) -> None:
        """Set the class for a kind; for ``custom``, the class for names without an agent."""
        self._kinds[kind] = agent

    def find_kind(self, kind: str) -> Callable[[AgentSpec], BaseAgent] | None:
        """The class that `register_kind` set for a kind; None if there is none."""
        return self._kinds.get(kind)

    def load_file(self, path: str | Path) -> list[str]:
        """Register what a Python file names in its ``AGENTS`` mapping; gives the names.

        Raises ConfigurationError if the file cannot be loaded or names nothing.
        """
        agents = getattr(_load_module(Path(path)), "AGENTS", None)
        if not isinstance(agents, Mapping) or not agents:
            raise ConfigurationError(
                f"{path} does not say which agents it brings",
                hint='Write AGENTS = {"name": function} at its end.',
            )
        for name, agent in agents.items():
            self.register(str(name), agent)
        return [str(name) for name in agents]

    @property
    def names(self) -> list[str]:
        """The names of all custom agents that are registered or packaged, sorted."""
        return sorted(self.sources)

    @property
    def sources(self) -> dict[str, str]:
        """Each custom name, and where its agent comes from."""
        sources = {entry.name: f"package: {entry.value}" for entry in _entry_points()}
        sources |= {name: f"settings: {target}" for name, target in self._lazy.items()}
        for name, agent in self._custom.items():
            sources.setdefault(name, f"code: {getattr(agent, '__qualname__', repr(agent))}")
        return dict(sorted(sources.items()))

    def load_custom(self, name: str) -> Any:
        """The custom agent of that name; None if there is none.

        Raises ConfigurationError if it cannot be loaded.
        """
        if name not in self._custom:
            if name in self._lazy:
                target = self._lazy[name]
                self._custom[name] = _load_target(name, target, lambda: _import_target(target))
            else:
                for entry in _entry_points().select(name=name):
                    self._custom[name] = _load_target(name, entry.value, entry.load)
        return self._custom.get(name)

    # What a runtime asks.

    def find_agent(self, spec: AgentSpec) -> BaseAgent:
        """The agent for ``spec``, created at the first call. Raises AgentUnavailable."""
        key = msgspec.json.encode(spec)
        agent = self._agents.get(key)
        if agent is None:
            agent = self._agents[key] = self._make_agent(spec)
        return agent

    def action_problem(self, spec: AgentSpec, action: str) -> str | None:
        """Why an agent like ``spec`` cannot perform ``action``; None if it can."""
        if spec.type not in KINDS:
            return None
        problem = _kind_module(spec.type).action_problem(spec, action)
        return None if problem is None else str(problem)

    def effect_of(self, spec: AgentSpec, action: str) -> Effect | None:
        """The effect that is known of an action; None if nothing is known."""
        effect = _kind_module(spec.type).effect_of(spec, action) if spec.type in KINDS else None
        return None if effect is None else Effect(effect)

    # What calls cost: `core.ports.Quoter`.

    def is_priced(self, spec: AgentSpec) -> bool:
        """Whether calls of this agent have prices: those of a model that is not offline.

        And those of a kind that was registered, if it says so.
        """
        if spec.type in self._kinds and spec.type not in KINDS:
            return self.find_agent(spec).is_priced
        return spec.type == AgentType.AI_AGENT and not spec.endpoint.startswith("offline:")

    def estimate_max_cost(self, spec: AgentSpec, call: Call) -> NanoUSD | None:
        """The most that a call can cost, in nano-dollars; None if its price is unknown."""
        return self.find_agent(spec).estimate_max_cost(call)

    def estimate_tokens(self, spec: AgentSpec, call: Call) -> int:
        """About how many tokens a call uses, for a rate limit."""
        return self.find_agent(spec).estimate_tokens(call)

    def fit_max_tokens(
        self, spec: AgentSpec, call: Call, max_cost: NanoUSD
    ) -> tuple[int, NanoUSD] | None:
        """The longest reply (tokens) that keeps a call within ``max_cost``, and its cost."""
        return self.find_agent(spec).fit_max_tokens(call, max_cost)

    async def close(self) -> None:
        """Close every agent that was created. May be called twice."""
        agents, self._agents = list(self._agents.values()), {}
        for agent in agents:
            await agent.close()

    # Inside.

    def _make_agent(self, spec: AgentSpec) -> BaseAgent:
        if spec.type != AgentType.CUSTOM and spec.type in self._kinds:
            return self._kinds[spec.type](spec)
        if spec.type in KINDS:
            # Imported here: the HTTP client takes a tenth of a second, and not every run needs it.
            from agenthive.infra.egress import Egress

            egress = Egress(guarded=self.guarded, allow=self.allow)
            agent = _kind_module(spec.type).make(spec, self.secrets, egress, self.prices)
            assert isinstance(agent, BaseAgent)
            return agent
        if spec.type == AgentType.CUSTOM:
            return self._make_custom(spec)
        raise AgentUnavailable(
            f"agent '{spec.name}': there is no kind '{spec.type}'",
            hint=f"Known kinds: {', '.join([*KINDS, AgentType.CUSTOM])}.",
        )

    def _make_custom(self, spec: AgentSpec) -> BaseAgent:
        name = spec.endpoint.removeprefix(CUSTOM)
        agent: Any = self.load_custom(name) or self._kinds.get(spec.type)
        if agent is None:
            raise AgentUnavailable(
                f"agent '{spec.name}': nobody has registered custom://{name}",
                hint=f"Supply it: --agents FILE.py with AGENTS = {{'{name}': ...}}, or a line "
                f"under [agents] in the settings, or hive.agents.register('{name}', function).",
            )
        if inspect.isclass(agent) and issubclass(agent, BaseAgent):
            return agent(spec)
        if inspect.isclass(agent):
            agent = agent()
        return FunctionAgent(spec, agent)


def _entry_points() -> EntryPoints:
    """What installed packages bring; looking costs more than most commands do."""
    from importlib.metadata import entry_points

    return entry_points(group=GROUP)


def _kind_module(kind: str) -> Any:
    return importlib.import_module(f"agenthive.agents.{KINDS[kind]}")


def _load_target(name: str, target: str, loader: Callable[[], Any]) -> Any:
    """The result of ``loader``. An exception of the operator's code is a ConfigurationError."""
    try:
        return loader()
    except ConfigurationError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigurationError(
            f"custom agent '{name}' cannot be loaded from '{target}': "
            f"{type(error).__name__}: {error}",
            hint="Write module:attribute or FILE.py:attribute.",
        ) from error


def _import_target(target: str) -> Any:
    source, _, attribute = target.rpartition(":")
    is_file = source.endswith(".py")
    module = _load_module(Path(source)) if is_file else importlib.import_module(source)
    return getattr(module, attribute)


def _load_module(path: Path) -> Any:
    """Run an operator's Python file as a module, once."""
    resolved = path.resolve()
    name = f"agenthive_agents_{resolved.stem}_{abs(hash(str(resolved)))}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, resolved)
    if spec is None or spec.loader is None or not resolved.is_file():
        raise ConfigurationError(f"there is no Python file {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ConfigurationError(f"{path} failed: {type(error).__name__}: {error}") from error
    return module
