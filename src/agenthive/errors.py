"""Every error that agenthive raises, in one tree.

                                        meaning                              HTTP  exit code
    AgentHiveError                      base; also named LeanVibeError        500    1
    ├── DefinitionError                 the workflow or command is invalid    422    2
    │   ├── ConfigurationError          a definition was refused
    │   │   ├── InvalidValue            a value passed by a program was refused (a ValueError)
    │   │   └── SecretMissing           a secret cannot be read; it may be there later
    │   └── ExpressionError             a {{ }} cannot be parsed or evaluated
    ├── NotFound                        nothing has that name or id           404    3
    │   ├── RunNotFound                 no run has that id (a LookupError)
    │   └── WorkflowNotFound            no workflow has that id (a ValueError)
    ├── Conflict                        it exists, or its state forbids this  409    2
    ├── RunError                        a run ended without its goal          500    1
    │   ├── RunFailed                   it failed, or was compensated
    │   ├── RunCancelled                it was cancelled                      409  130
    │   ├── RunTimedOut                 it exceeded its time-out              504    9
    │   └── BudgetExceeded              it exceeded its budget                402    6
    ├── AgentError                      an agent could not perform a call     502    1
    │   ├── APIError                    an API sent an unusable response
    │   │   └── ResultTooLarge          a call succeeded, and its result exceeds the bound
    │   ├── AgentUnavailable            not registered, or unreachable        503    5
    │   ├── RateLimitTimeout            not admitted in time (a TimeoutError) 429    1
    │   └── EgressRefused               the destination is not allowed        403    1
    ├── CoordinationError               no agent could be assigned            409    1
    ├── ResourceError                   a resource is exhausted               503    1
    ├── ScalingError                    a scaling step failed                 503    1
    ├── MLError                         a learner cannot use its input        422    1
    ├── StoreError                      the journal cannot be used            503   10
    │   ├── StoreUnavailable            disk full, read-only or busy: try again later
    │   ├── StoreFailed                 the outcome of a write is unknown: reopen the hive
    │   ├── StoreCorrupt                the hash chain is broken
    │   │   └── RunUnusable             one run is set apart; the others are not affected
    │   └── JournalTooNew               a newer agenthive wrote the journal
    ├── HomeBusy                        another process owns the home         409    5
    │   └── OwnerGone                   the owner ended before it replied: try again
    └── InternalError                   a bug of agenthive: please report it  500    1
        └── InvalidTransition           a move that no table of the machine has

A class without numbers has those of its parent. DefinitionError, NotFound and Conflict are for the
caller to correct; AgentError comes from the outside world, StoreError from the disk, InternalError
from agenthive itself. RunError and its children are raised only by `RunReport.raise_for_status`.
CoordinationError, ResourceError, ScalingError and MLError are names of the documents' interfaces.

Every error has a ``message`` (what, where and why) and a ``hint`` (what to do). ``http_status`` and
``exit_code`` are class attributes, so that the command line and the server never decide them. Never
put a secret into a message or a hint.

To add an error: a class below and a line in the tree above, with both numbers if they differ from
the parent's, and code that raises it. Then generate the reference page: `python3 x.py docs`.
"""

from __future__ import annotations

from typing import ClassVar


class AgentHiveError(Exception):
    """Base of all errors of agenthive.

    ``message`` says what is wrong, where and why; ``hint`` says what to do (may be empty).
    """

    #: The status of the server's response.
    http_status: ClassVar[int] = 500
    #: The exit code of the command line.
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


LeanVibeError = AgentHiveError


def describe_defect(error: BaseException) -> str:
    """An unexpected exception in one line: its class and its message, cut to 300 characters.

    Never its ``repr``, which for some exceptions holds the whole value that was refused.
    """
    message = " ".join(str(getattr(error, "message", "") or error).split())
    if len(message) > 300:
        message = f"{message[:300]}..."
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


class DefinitionError(AgentHiveError):
    """The workflow, its inputs or the command line cannot be accepted as written."""

    http_status = 422
    exit_code = 2


class ConfigurationError(DefinitionError):
    """A definition was refused. ``problems`` holds one line for each problem in it."""

    def __init__(
        self, message: str = "", *, hint: str = "", problems: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, hint=hint)
        self.problems = problems or ((message,) if message else ())


class InvalidValue(ConfigurationError, ValueError):
    """A value that a program passed cannot be accepted."""


class SecretMissing(ConfigurationError):
    """A secret is not set or cannot be read. A later attempt may find it."""


class ExpressionError(DefinitionError):
    """An expression could not be parsed or evaluated; the message names the place."""


class NotFound(AgentHiveError):
    """Nothing has that name or id."""

    http_status = 404
    exit_code = 3


class RunNotFound(NotFound, LookupError):
    """No run has that id."""


class WorkflowNotFound(NotFound, ValueError):
    """No workflow has that id."""


class Conflict(AgentHiveError):
    """The run, task or name exists already, or its state does not allow the operation."""

    http_status = 409
    exit_code = 2


class RunError(AgentHiveError):
    """A run ended without reaching its goal."""


class RunFailed(RunError):
    """A run ended ``failed``, ``compensated`` or ``compensation_failed``."""


class RunCancelled(RunError):
    """A run was cancelled."""

    http_status = 409
    exit_code = 130


class RunTimedOut(RunError):
    """A run took longer than its time-out."""

    http_status = 504
    exit_code = 9


class BudgetExceeded(RunError):
    """A run ended because a call did not fit into its budget."""

    http_status = 402
    exit_code = 6


class AgentError(AgentHiveError):
    """An agent could not perform a call."""

    http_status = 502


class APIError(AgentError):
    """An HTTP or model API sent a response that cannot be used."""


class ResultTooLarge(APIError):
    """A call succeeded, and its result is larger than what is kept."""


class AgentUnavailable(AgentError):
    """The agent is not registered or not installed, its breaker is open, or it is unreachable."""

    http_status = 503
    exit_code = 5


class RateLimitTimeout(AgentError, TimeoutError):
    """A rate limit did not admit the call in time."""

    http_status = 429


class EgressRefused(AgentError):
    """Calls to this destination are not allowed."""

    http_status = 403


class CoordinationError(AgentHiveError):
    """No agent could be assigned to a task."""

    http_status = 409


class ResourceError(AgentHiveError):
    """A resource is exhausted."""

    http_status = 503


class ScalingError(AgentHiveError):
    """A scaling step failed."""

    http_status = 503


class MLError(AgentHiveError):
    """A learner cannot use its input."""

    http_status = 422


class StoreError(AgentHiveError):
    """The journal cannot be used."""

    http_status = 503
    exit_code = 10


class StoreUnavailable(StoreError):
    """The disk is full, read-only or busy. Nothing was written; acknowledged work is safe."""


class StoreFailed(StoreError):
    """The outcome of a failed write, fsync or commit is unknown. Reopen the hive to recover."""


class StoreCorrupt(StoreError):
    """The hash chain of the journal is broken, or a record cannot be read."""


class RunUnusable(StoreCorrupt):
    """One run cannot be read or continued. All other runs of the home are not affected."""


class JournalTooNew(StoreError):
    """A newer version of agenthive wrote the journal."""


class HomeBusy(AgentHiveError):
    """Another process owns the home and does not respond."""

    http_status = 409
    exit_code = 5


class OwnerGone(HomeBusy):
    """The owner of the home ended before it replied to a request. Repeat the request."""


class InternalError(AgentHiveError):
    """A bug of agenthive: please report it."""


class InvalidTransition(InternalError):
    """A move that no table of the machine has; the message holds the events that led to it."""
