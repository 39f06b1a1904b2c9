"""The verbs of the control socket: what an owner can be asked, and how answers are written."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from agenthive.core.history.retention import Retention
from agenthive.core.journal import run_events as ev
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.core.values import JSONValue, NanoUSD
from agenthive.errors import AgentHiveError
from agenthive.queries.export_import import ImportResult
from agenthive.queries.journal_reader import EventView
from agenthive.queries.retention import PruneProgress

LONGEST_PATH: Final = 100
"""Bytes a socket's path may have everywhere."""
PATIENCE: Final = 10.0
"""Seconds a caller may take to say what it wants, and the owner to say that it is there."""
ANSWER: Final = 60.0
"""Seconds the owner may take to do what was asked."""
VERB_ARGUMENTS: Final[dict[str, tuple[str, ...]]] = {
    "approve": ("run", "task", "approved", "actor", "digest", "comment"),
    "signal": ("run", "name", "data", "id", "actor"),
    "resolve": ("run", "task", "outcome", "result", "actor", "reason"),
    "set_budget": ("scope", "amount", "add", "actor", "reason"),
    "settle": ("run", "task", "cost", "attempt", "actor", "reason"),
    "migrate": ("run", "workflow", "renamed", "actor"),
    "fork": ("run", "task", "workflow", "id", "again"),
}
"""What people say about runs, and with what: methods of `HomeOwner` of these names."""


class HomeOwner(Protocol):
    """What the owner can be asked for; `Hive` is one."""

    @property
    def store_error(self) -> str:
        """Why the journal takes no writes now."""
        ...

    def submit(
        self,
        workflow: WorkflowSpec,
        inputs: Mapping[str, Any] | None = None,
        *,
        run_id: str | None = None,
    ) -> Awaitable[str]:
        """Accept a run."""
        ...

    def cancel(self, run: str, *, reason: str = "", actor: str = "local") -> Awaitable[None]:
        """Cancel a run."""
        ...

    def resume(self, runs: list[str] | None = None) -> Awaitable[list[str]]:
        """Go on with unfinished runs."""
        ...

    def approve(
        self,
        run: str,
        task: str,
        *,
        approved: bool = True,
        actor: str = "local",
        digest: str = "",
        comment: str = "",
    ) -> Awaitable[None]:
        """Answer an approval."""
        ...

    def signal(
        self, run: str, name: str, data: JSONValue = None, *, id: str = "", actor: str = "local"
    ) -> Awaitable[None]:
        """Send a signal to a run."""
        ...

    def resolve(
        self,
        run: str,
        task: str,
        outcome: str,
        result: JSONValue = None,
        *,
        actor: str = "local",
        reason: str = "",
    ) -> Awaitable[None]:
        """Say what came of a call of unknown outcome."""
        ...

    def set_budget(
        self,
        scope: str,
        amount: NanoUSD | None,
        *,
        add: bool = False,
        actor: str = "local",
        reason: str = "",
    ) -> Awaitable[None]:
        """Set the limit of a scope."""
        ...

    def settle(
        self,
        run: str,
        task: str,
        cost: NanoUSD,
        *,
        attempt: int | None = None,
        actor: str = "local",
        reason: str = "",
    ) -> Awaitable[None]:
        """Say what a call cost."""
        ...

    def migrate(
        self,
        run: str,
        workflow: WorkflowSpec,
        *,
        renamed: Mapping[str, str] | None = None,
        actor: str = "local",
    ) -> Awaitable[object]:
        """Let an open run go on under a changed workflow."""
        ...

    def fork(
        self,
        run: str,
        task: str,
        workflow: WorkflowSpec | None = None,
        *,
        id: str | None = None,
        again: bool = False,
    ) -> Awaitable[str]:
        """Do a run again from a task on."""
        ...

    def change_schedule(self, change: ev.ScheduleChange, body: bytes = b"") -> Awaitable[None]:
        """Set, pause, resume, remove or trigger a schedule."""
        ...

    def watch(self, run: str, after: int = 0) -> AsyncIterator[EventView]:
        """The facts of a run."""
        ...

    def prune(self, policy: Retention) -> AsyncIterator[PruneProgress]:
        """Drop what is kept no longer."""
        ...

    def import_run(self, file: str | Path, *, open_too: bool = False) -> Awaitable[ImportResult]:
        """Take in a run from a file."""
        ...


def encode_error(error: AgentHiveError) -> dict[str, Any]:
    """An error as it crosses the door."""
    payload = {"type": type(error).__name__, "message": error.message, "hint": error.hint}
    return payload | {"problems": getattr(error, "problems", ())}
