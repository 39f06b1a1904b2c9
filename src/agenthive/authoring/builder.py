"""Writes a workflow in Python: the same definition as a file, through the same checks.

    flow = Workflow("release notes")
    api = flow.agent("api", "http_api", "https://api.example.com")
    data = flow.task("fetch", api, "fetch", parameters={"endpoint": "/data"}, effect="none")
    flow.task("publish", api, "request", depends_on=[data], parameters={"json": data.result})
    spec = flow.build()

Nothing is checked before ``build``, which reports every problem at once. The definition has the
native dialect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agenthive.authoring.assembler import LoadOptions, assemble
from agenthive.authoring.checks.secret_references import KeepSecret
from agenthive.authoring.checks.subworkflows import Loaded
from agenthive.authoring.dialect.dialect import NATIVE
from agenthive.authoring.readers.problems import Problems
from agenthive.authoring.readers.sources import from_python
from agenthive.core.model.workflow import WorkflowSpec


class AgentHandle:
    """An agent of a workflow under construction."""

    def __init__(self, name: str) -> None:
        self.name = name


class TaskHandle:
    """A task of a workflow under construction, for ``depends_on`` of other tasks."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def result(self) -> str:
        """The expression for this task's result, for parameters of tasks that depend on it."""
        return f"{{{{ {self.expression}.result }}}}"

    @property
    def expression(self) -> str:
        """The name of this task in expressions: ``f"{{{{ size({task.expression}.result) }}}}"``."""
        quoted = self.name.replace("\\", "\\\\").replace('"', '\\"')
        return f'tasks["{quoted}"]'


class Workflow:
    """A workflow under construction. ``options`` are the keys of a file: ``max_parallel=4``, ..."""

    def __init__(self, name: str, **options: object) -> None:
        self._name = name
        self._options = options
        self._inputs: dict[str, object] = {}
        self._agents: list[dict[str, object]] = []
        self._tasks: list[dict[str, object]] = []

    def input(self, name: str, type: str = "any", **options: object) -> str:
        """Declare an input; return the expression that reads it."""
        self._inputs[name] = {"type": type, **options}
        return f'{{{{ inputs["{name}"] }}}}'

    def agent(self, name: str, type: str, endpoint: str, **options: object) -> AgentHandle:
        """Add an agent. ``options`` are the keys of an entry of ``agents``: ``timeout=10``, ..."""
        self._agents.append({"name": name, "type": type, "endpoint": endpoint, **options})
        return AgentHandle(name)

    def task(
        self,
        name: str,
        agent: AgentHandle | str | None = None,
        action: str | None = None,
        *,
        depends_on: Sequence[TaskHandle | str] = (),
        parameters: Mapping[str, object] | None = None,
        workflow: Workflow | Mapping[str, object] | None = None,
        **options: object,
    ) -> TaskHandle:
        """Add a task that calls an agent, runs a ``workflow``, or only waits.

        ``options`` are the keys of an entry of ``tasks``: ``effect="none"``, ``when=...``,
        ``for_each=...``, ``approval={"approvers": [...]}``, ...
        """
        entry: dict[str, object] = {"name": name}
        if agent is not None:
            entry["agent_name"] = _name_of(agent)
        if action is not None:
            entry["action"] = action
        if workflow is not None:
            entry["workflow"] = workflow.mapping() if isinstance(workflow, Workflow) else workflow
        if depends_on:
            entry["depends_on"] = [_name_of(dependency) for dependency in depends_on]
        if parameters:
            entry["parameters"] = parameters
        self._tasks.append({**entry, **options})
        return TaskHandle(name)

    def mapping(self) -> dict[str, object]:
        """The definition so far, as the map that a file would contain."""
        inputs = {"inputs": self._inputs} if self._inputs else {}
        return {
            "agenthive": NATIVE,
            "name": self._name,
            **self._options,
            **inputs,
            "agents": list(self._agents),
            "tasks": list(self._tasks),
        }

    def load(self, *, keep_secret: KeepSecret | None = None) -> Loaded:
        """Check the definition; as `agenthive.authoring.load`. Raises ConfigurationError."""
        problems = Problems(f"workflow {self._name!r}")
        return assemble(
            from_python(self.mapping(), problems), problems, LoadOptions(keep_secret=keep_secret)
        )

    def build(self) -> WorkflowSpec:
        """Check the definition and return its spec. Raises ConfigurationError."""
        return self.load().spec


def _name_of(handle: AgentHandle | TaskHandle | str) -> str:
    return handle if isinstance(handle, str) else handle.name
