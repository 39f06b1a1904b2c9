"""The registry of agents: finds the kind of a spec, and the operator's custom agents by name.

A kind is a module in this folder, in an installed package (entry points in the group
`agenthive.agents`) or in an ``--agents`` file; `infra.discovery` lists the modules without
importing them. A kind is imported when its first agent is needed, so that vendors' packages cost
nothing before that. Custom names come from `AgentRegistry.register`, an ``--agents`` file, the
settings or entry points; never from a workflow.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from agenthive.agents.base import (
    KIND_FUNCTIONS,
    AgentKind,
    AgentServices,
    AgentType,
    BaseAgent,
)
from agenthive.agents.llm.prices import Prices
from agenthive.core.model.calls import Call
from agenthive.core.model.workflow import AgentSpec, Effect
from agenthive.core.values import JSONObject, NanoUSD
from agenthive.errors import AgentUnavailable, ConfigurationError
from agenthive.infra.discovery import (
    AGENTS,
    NAMED_OTHERWISE,
    list_agent_kinds,
    list_packaged_agents,
    list_packaged_kinds,
)
from agenthive.infra.secrets import Secrets

GROUP: Final = AGENTS
HOW_TO: Final = "docs/howto/add-an-agent-kind.md"
#: Specs whose agents are remembered by identity.
MAX_FOUND: Final = 10_000


class AgentRegistry:
    """Finds and creates agents. Implements `core.ports.Agents` and `core.ports.Quoter`.

    ``secrets`` resolves references. With ``guarded`` (server mode) calls reach only public
    addresses, and those in ``allow`` (``host:port``). ``prices`` are the prices of models.
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
        #: Custom name -> function or class that is registered or was imported.
        self._custom: dict[str, Any] = {}
        #: Custom name -> ``module:attribute`` that is imported when first needed.
        self._lazy: dict[str, str] = {}
        #: Kind -> class that `register_kind` set.
        self._kinds: dict[str, Callable[[AgentSpec], BaseAgent]] = {}
        #: Kind -> its imported module.
        self._loaded_kinds: dict[str, AgentKind] = {}
        #: Kind -> why its module cannot be used.
        self._unusable_kinds: dict[str, AgentUnavailable] = {}
        #: Kind -> the ``--agents`` file that brought it.
        self._files: dict[str, Path] = {}
        #: By the JSON of the spec: equal specs share an agent.
        self._agents: dict[bytes, BaseAgent] = {}
        #: By the id() of a spec; the spec is kept too, so that its id is not reused. Encoding a
        #: spec costs more than the rest of a lookup, and a run looks up each agent twice.
        self._found: dict[int, tuple[AgentSpec, BaseAgent]] = {}

    # What the operator supplies: custom agents and kinds.

    def register(self, name: str, agent: Callable[..., Any] | type[BaseAgent]) -> None:
        """Register a function or a `BaseAgent` class as ``custom://NAME``."""
        if not callable(agent):
            raise ConfigurationError(
                f"custom agent '{name}' cannot be called: it is of the type {type(agent).__name__}",
                hint="Register a function, a callable object or a class.",
            )
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
        """Register the custom agents in the ``AGENTS`` of a Python file, or the kind that it is.

        A file without ``AGENTS`` that has functions of `AgentKind` is a kind, with the name of the
        file. Returns the registered names. Raises ConfigurationError if the file cannot be loaded
        or contains neither.
        """
        module = _load_module(Path(path))
        agents = getattr(module, "AGENTS", None)
        if agents is None and any(callable(getattr(module, name, None)) for name in KIND_FUNCTIONS):
            return [self._add_kind(Path(path), module)]
        if not isinstance(agents, Mapping) or not agents:
            raise ConfigurationError(
                f"{path} defines no agents: it has neither AGENTS nor the functions of a kind",
                hint='Write AGENTS = {"name": function} at its end, or the functions of a kind: '
                f"see {HOW_TO}.",
            )
        for name, agent in agents.items():
            self.register(str(name), agent)
        return [str(name) for name in agents]

    def _add_kind(self, path: Path, module: Any) -> str:
        name = path.stem
        if name in list_agent_kinds():
            raise ConfigurationError(f"{path}: there is an agent kind '{name}' already; rename it")
        if problem := _find_kind_problem(name, module):
            raise ConfigurationError(f"{path}: {problem}", hint=f"See {HOW_TO}.")
        self._loaded_kinds[name] = module
        self._files[name] = path
        return name

    @property
    def names(self) -> list[str]:
        """The names of all custom agents that are registered or packaged, sorted."""
        return sorted(self.sources)

    @property
    def sources(self) -> dict[str, str]:
        """Each custom name, and where its agent comes from."""
        sources = {
            name: f"package: {entry.value}" for name, entry in list_packaged_agents().items()
        }
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
                entry = list_packaged_agents().get(name)
                if entry is not None:
                    self._custom[name] = _load_target(name, entry.value, entry.load)
        return self._custom.get(name)

    # Agents, for a runtime: `core.ports.Agents`.

    def find_agent(self, spec: AgentSpec) -> BaseAgent:
        """The agent for ``spec``, created at the first call.

        Raises AgentUnavailable if its kind or its custom agent is missing, and ConfigurationError
        if its endpoint is invalid.
        """
        entry = self._found.get(id(spec))
        if entry is not None and entry[0] is spec:
            return entry[1]
        key = msgspec.json.encode(spec)
        agent = self._agents.get(key)
        if agent is None:
            agent = self._agents[key] = self._make_agent(spec)
        if len(self._found) >= MAX_FOUND:
            self._found.clear()
        self._found[id(spec)] = spec, agent
        return agent

    # Kinds, for the checks of `authoring`.

    @property
    def kinds(self) -> Sequence[str]:
        """The names of all kinds: of this package, of installed ones, from files and from code."""
        names = [*list_agent_kinds(), *list_packaged_kinds(), *self._loaded_kinds, *self._kinds]
        return list(dict.fromkeys(names))

    def describe_kinds(self) -> dict[str, str]:
        """Each kind and the first line of its module's docstring, or why it cannot be used."""
        return {name: self._describe_kind(name) for name in self.kinds}

    def _describe_kind(self, name: str) -> str:
        if self._is_replaced(name):
            return f"from code: {getattr(self._kinds[name], '__qualname__', '?')}"
        problem = self.kind_problem(name)
        if problem is not None:
            return problem
        first_line = (inspect.getdoc(self.load_kind(name)) or "").partition("\n")[0].rstrip(".")
        return f"{first_line} ({self._files[name]})" if name in self._files else first_line

    def kind_problem(self, kind: str) -> str | None:
        """Why agents of this kind cannot be created, and what to do; None if they can."""
        if self._is_replaced(kind):
            return None
        try:
            self.load_kind(kind)
        except AgentUnavailable as error:
            return f"{error.message}. {error.hint}".strip()
        return None

    def load_kind(self, kind: str) -> AgentKind:
        """The module of a kind, imported once. Raises AgentUnavailable if it cannot be used."""
        if kind in self._unusable_kinds:
            raise self._unusable_kinds[kind]
        if kind not in self._loaded_kinds:
            try:
                self._loaded_kinds[kind] = _import_kind(kind, self)
            except AgentUnavailable as error:
                self._unusable_kinds[kind] = error
                raise
        return self._loaded_kinds[kind]

    def _is_replaced(self, kind: str) -> bool:
        """Whether a class from `register_kind` is used instead of a module."""
        return kind in self._kinds and kind not in list_agent_kinds()

    def action_problem(self, spec: AgentSpec, action: str) -> str | None:
        """Why an agent like ``spec`` cannot perform ``action``; None if it can."""
        kind = self._find_kind(spec)
        problem = None if kind is None else kind.action_problem(spec, action)
        return None if problem is None else str(problem)

    def effect_of(self, spec: AgentSpec, action: str) -> Effect | None:
        """The effect that an action is known to have; None if it is unknown."""
        kind = self._find_kind(spec)
        effect = None if kind is None else kind.effect_of(spec, action)
        return None if effect is None else Effect(effect)

    def parameters(self, spec: AgentSpec, action: str) -> JSONObject | None:
        """A JSON Schema of the parameters that an action takes; None if it takes any."""
        kind = self._find_kind(spec)
        return None if kind is None else kind.parameters(spec, action)

    def _find_kind(self, spec: AgentSpec) -> AgentKind | None:
        """The module of an agent's kind; None if a class replaces it, or it cannot be used."""
        unknown = self._is_replaced(spec.type) or self.kind_problem(spec.type) is not None
        return None if unknown else self.load_kind(spec.type)

    # What calls cost: `core.ports.Quoter`.

    def is_priced(self, spec: AgentSpec) -> bool:
        """Whether calls of this agent can cost money.

        Of the shipped kinds only models do, except the offline one; an added kind declares it in
        `BaseAgent.is_priced`.
        """
        if spec.type in NAMED_OTHERWISE:
            return spec.type == AgentType.AI_AGENT and not spec.endpoint.startswith("offline:")
        # Look at `_kinds` first: a run calls this for each agent, and `kind_problem` is slow.
        usable = spec.type in self._kinds or self.kind_problem(spec.type) is None
        return usable and self.find_agent(spec).is_priced

    def estimate_max_cost(self, spec: AgentSpec, call: Call) -> NanoUSD | None:
        """The most that a call can cost, in nano-dollars; None if its price is unknown."""
        return self.find_agent(spec).estimate_max_cost(call)

    def explain_unpriced(self, spec: AgentSpec, call: Call) -> str:
        """Why the cost of a call cannot be bounded, and what to do; empty if it can."""
        return self.find_agent(spec).explain_unpriced(call)

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
        self._found.clear()
        for agent in agents:
            await agent.close()

    def _make_agent(self, spec: AgentSpec) -> BaseAgent:
        if spec.type != AgentType.CUSTOM and spec.type in self._kinds:
            return self._kinds[spec.type](spec)
        try:
            kind = self.load_kind(spec.type)
        except AgentUnavailable as error:
            message = f"agent '{spec.name}': {error.message}"
            raise AgentUnavailable(message, hint=error.hint) from error
        # Imported here: the HTTP client takes a tenth of a second to import, and not every run
        # needs it.
        from agenthive.infra.egress import Egress

        egress = Egress(guarded=self.guarded, allow=self.allow)
        services = AgentServices(self.secrets, egress, self.prices, self._load_custom)
        agent = kind.make(spec, services)
        if not isinstance(agent, BaseAgent):
            raise AgentUnavailable(
                f"agent kind '{spec.type}': make returned {type(agent).__name__}, not a BaseAgent",
                hint=f"Return a subclass of BaseAgent from make; see {HOW_TO}.",
            )
        return agent

    def _load_custom(self, name: str) -> Any:
        return self.load_custom(name) or self._kinds.get(AgentType.CUSTOM)


def _import_kind(kind: str, registry: AgentRegistry) -> AgentKind:
    """Import the module of a kind. Raises AgentUnavailable if there is none, or it is unusable."""
    if kind in list_agent_kinds():
        source = f"{AGENTS}.{list_agent_kinds()[kind]}"
    else:
        entry = list_packaged_kinds().get(kind)
        if entry is None:
            raise AgentUnavailable(
                f"there is no kind '{kind}'", hint=f"Known kinds: {', '.join(registry.kinds)}."
            )
        source = entry.value
    try:
        module = importlib.import_module(source)
    except (Exception, SystemExit) as error:
        raise AgentUnavailable(
            f"agent kind '{kind}' cannot be loaded from '{source}': "
            f"{type(error).__name__}: {error}",
            hint=f"See {HOW_TO}.",
        ) from error
    if problem := _find_kind_problem(kind, module):
        raise AgentUnavailable(problem, hint=f"See {HOW_TO}.")
    return cast("AgentKind", module)


def _find_kind_problem(kind: str, module: Any) -> str | None:
    """Which functions of `AgentKind` a module lacks, as a message; None if it has all of them."""
    missing = [
        text for name, text in KIND_FUNCTIONS.items() if not callable(getattr(module, name, None))
    ]
    if not missing:
        return None
    return f"agent kind '{kind}' lacks the function {', '.join(missing)}"


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
    """Run an operator's Python file as a module, once in a process. Raises ConfigurationError."""
    resolved = path.resolve()
    name = f"agenthive_agents_{resolved.stem}_{abs(hash(str(resolved)))}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, resolved)
    if spec is None or spec.loader is None or not resolved.is_file():
        raise ConfigurationError(f"there is no Python file {path}", hint="Check its path.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ConfigurationError(
            f"{path} raised an error when it was loaded: {type(error).__name__}: {error}",
            hint=f"Run it alone to see where: python {path}",
        ) from error
    return module
