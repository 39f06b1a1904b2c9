"""What may stand around a task's call: conditions, waits, approvals, repetition, sub-workflows.

Plain frozen values, made by `authoring` and checked there. Durations are seconds. Texts that are
expressions are named so; others may hold ``{{ expressions }}`` only where it says so.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from agenthive.core.values import JSONObject, JSONValue


class OnDeadline(StrEnum):
    """What an approval that nobody answers in time comes to."""

    REJECT = "reject"
    APPROVE = "approve"


class OnReject(StrEnum):
    """What a rejection means for its task."""

    FAIL = "fail"
    """The task fails."""
    SKIP = "skip"
    """The task is bypassed; one that only asks succeeds with ``approved: false``."""


class ApprovalSpec(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """People who must agree before a task goes on.

    ``message`` and ``payload`` may hold expressions. ``approvers`` empty means anybody; ``quorum``
    different people must agree, one rejection is enough to reject. ``deadline`` counts from the
    request; after ``escalate_after`` those of ``escalate_to`` may answer too.
    """

    message: str = ""
    payload: JSONValue = None
    approvers: tuple[str, ...] = ()
    quorum: int = 1
    deadline: float | None = None
    on_deadline: OnDeadline = OnDeadline.REJECT
    on_reject: OnReject = OnReject.FAIL
    escalate_after: float | None = None
    escalate_to: tuple[str, ...] = ()


class WaitSpec(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """A signal to wait for.

    ``keep``: one that comes before its task waits is kept for it, else refused. Without a signal
    after ``timeout`` the task fails, or goes on with ``default`` if it ``has_default``.
    """

    signal: str
    timeout: float | None = None
    default: JSONValue = None
    has_default: bool = False
    keep: bool = True


class EachSpec(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """One task for every item of a list. ``items`` is the list, or an expression that gives it.

    ``label`` is an expression over ``item`` and ``index`` that names an item for people.
    """

    items: JSONValue
    max_items: int = 1000
    max_parallel: int | None = None
    label: str = ""


class RepeatSpec(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """A task done again until the expression ``until`` holds, at most ``max_rounds`` times.

    ``until`` and the parameters may read ``round`` (from 1) and ``previous`` (the result before);
    ``until`` may read ``result`` too.
    """

    until: str
    max_rounds: int = 10


class CacheSpec(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """A result is used again for equal inputs, for ``ttl`` seconds (None: as long as it is kept).

    ``version`` tells apart what equal inputs alone do not.
    """

    ttl: float | None = None
    version: str = ""


class ReconcileSpec(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """A pure read that finds out whether a call of unknown outcome has acted.

    Its result is true, false, null (cannot tell), or ``{"happened": ..., "result": ...}``.
    """

    agent: str
    action: str
    parameters: JSONObject = {}
    timeout: float | None = None
