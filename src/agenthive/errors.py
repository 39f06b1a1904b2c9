"""Every error agenthive raises, in one tree.

    AgentHiveError                      base; also known as LeanVibeError
    ├── DefinitionError                 the workflow or the command is wrong       422  exit 2
    │   ├── ConfigurationError          a definition that cannot be accepted       422  exit 2
    │   │   └── InvalidValue            the same of a value in code (also a ValueError)
    │   └── ExpressionError             a {{ }} that cannot be read or evaluated   422  exit 2
    ├── NotFound                        nothing has that name                      404  exit 3
    │   ├── RunNotFound                 (also a LookupError)
    │   └── WorkflowNotFound            (also a ValueError)
    ├── Conflict                        it exists already, or is in another state  409  exit 2
    ├── RunError                        the run did not reach its goal             500  exit 1
    │   ├── RunFailed
    │   ├── RunCancelled                                                                exit 130
    │   ├── RunTimedOut                                                            504  exit 9
    │   └── BudgetExceeded                                                         402  exit 6
    ├── AgentError                      an agent could not do what was asked       502  exit 1
    │   ├── APIError                    an HTTP or model API refused or broke
    │   ├── AgentUnavailable            not registered, breaker open, unreachable  503  exit 5
    │   ├── RateLimitTimeout            waited too long (also TimeoutError)  429
    │   └── EgressRefused               a destination that is not allowed          403
    ├── CoordinationError               no assignment could be made                409  exit 1
    ├── ResourceError                   not enough of a resource                   503  exit 1
    ├── ScalingError                    a scaling step could not be taken          503  exit 1
    ├── MLError                         a learner was given what it cannot use     422  exit 1
    ├── StoreError                      the journal                                503  exit 10
    │   ├── StoreUnavailable            full, read-only or busy: try again later
    │   ├── StoreFailed                 outcome unknown: reopen the hive
    │   ├── StoreCorrupt                the hash chain does not hold
    │   └── JournalTooNew               written by a newer agenthive
    ├── HomeBusy                        another process owns the home              409  exit 5
    │   └── OwnerGone                   it went away while it was being asked
    └── InternalError                   our bug: please report it                  500  exit 1
        └── InvalidTransition           a move without a row, told with its story

Whose fault: DefinitionError, NotFound and Conflict are the caller's; AgentError is the outside
world's; StoreError is the disk's; InternalError is ours. Every error carries ``hint``, one sentence
on what to do. ``http_status`` and ``exit_code`` are class attributes, so a face never guesses.

To add one: put it in the tree above and below, with both numbers. Never put a secret in a message.
"""

from __future__ import annotations

from typing import ClassVar


class AgentHiveError(Exception):
    """Base of all errors of agenthive.

    ``message`` says what and where; ``hint`` says what to do about it (may be empty).
    """

    http_status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


LeanVibeError = AgentHiveError


class DefinitionError(AgentHiveError):
    """The workflow, its inputs or the command line cannot be accepted as written."""

    http_status = 422
    exit_code = 2


class ConfigurationError(DefinitionError):
    """A definition was refused. ``problems`` holds one line for each thing that is wrong."""

    def __init__(
        self, message: str = "", *, hint: str = "", problems: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, hint=hint)
        self.problems = problems or ((message,) if message else ())


class InvalidValue(ConfigurationError, ValueError):
    """A value that a program gave cannot be accepted."""


class ExpressionError(DefinitionError):
    """An expression could not be parsed or evaluated; the message names the place."""


class NotFound(AgentHiveError):
    """Nothing has that name."""

    http_status = 404
    exit_code = 3


class RunNotFound(NotFound, LookupError):
    """No run has that id."""


class WorkflowNotFound(NotFound, ValueError):
    """No workflow has that id."""


class Conflict(AgentHiveError):
    """The thing exists already, or is in a state that does not allow this."""

    http_status = 409
    exit_code = 2


class RunError(AgentHiveError):
    """A run did not reach its goal."""


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
    """A hold did not fit into a budget."""

    http_status = 402
    exit_code = 6


class AgentError(AgentHiveError):
    """An agent could not do what was asked of it."""

    http_status = 502


class APIError(AgentError):
    """An HTTP or model API refused the call or answered nonsense."""


class AgentUnavailable(AgentError):
    """The agent is not registered, its breaker is open, or nothing answers at its endpoint."""

    http_status = 503
    exit_code = 5


class RateLimitTimeout(AgentError, TimeoutError):
    """A rate limit did not let the call through in time."""

    http_status = 429


class EgressRefused(AgentError):
    """The destination is not one that calls may reach."""

    http_status = 403


class CoordinationError(AgentHiveError):
    """No assignment could be made."""

    http_status = 409


class ResourceError(AgentHiveError):
    """Not enough of a resource."""

    http_status = 503


class ScalingError(AgentHiveError):
    """A scaling step could not be taken."""

    http_status = 503


class MLError(AgentHiveError):
    """A learner was given something it cannot learn from."""

    http_status = 422


class StoreError(AgentHiveError):
    """The journal could not do its work."""

    http_status = 503
    exit_code = 10


class StoreUnavailable(StoreError):
    """The disk is full, read-only or busy. Nothing was written; acknowledged work is safe."""


class StoreFailed(StoreError):
    """A write, fsync or commit failed with its outcome unknown. Reopen the hive to recover."""


class StoreCorrupt(StoreError):
    """The hash chain of the journal does not hold."""


class JournalTooNew(StoreError):
    """The journal was written by a newer agenthive than this one."""


class HomeBusy(AgentHiveError):
    """Another process owns the home and does not answer."""

    http_status = 409
    exit_code = 5


class OwnerGone(HomeBusy):
    """The process that owned the home ended while it was being asked. Ask again."""


class InternalError(AgentHiveError):
    """This should never happen. It is a bug of agenthive: please report it."""


class InvalidTransition(InternalError):
    """The machine was asked for a move that is not in its tables; the message tells the story."""
