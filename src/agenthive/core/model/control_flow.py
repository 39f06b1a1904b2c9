"""Specifications of control flow around the call of a task: waits, approvals, repetition, caching.

Plain frozen values, built and checked by `authoring`; nothing here checks or evaluates. Durations
are seconds, as users write them. A field that is an expression says so; other texts may contain
``{{ expressions }}`` only where a comment says so. To add a kind: a spec here, a field of
`TaskSpec` with a default, a step in `core.graph.nodes`.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from agenthive.core.values import JSONObject, JSONValue


class OnDeadline(StrEnum):
    """The decision of an approval that has no answer at its deadline."""

    REJECT = "reject"
    APPROVE = "approve"


class OnReject(StrEnum):
    """What a rejection means for its task."""

    FAIL = "fail"
    """The task fails."""
    SKIP = "skip"
    """The task is bypassed; a task that is only an approval succeeds with ``approved: false``."""


class ApprovalSpec(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """An approval that a task needs. One rejection rejects it."""

    #: What approvers see; may contain expressions.
    message: str = ""
    #: What they decide about; may contain expressions. Its digest binds the call to the decision.
    payload: JSONValue = None
    #: Who may answer; empty means every user.
    approvers: tuple[str, ...] = ()
    #: So many different approvers must approve.
    quorum: int = 1
    #: Seconds from the request to a decision without an answer; None: wait without bound.
    deadline: float | None = None
    on_deadline: OnDeadline = OnDeadline.REJECT
    on_reject: OnReject = OnReject.FAIL
    #: Seconds from the request until ``escalate_to`` may answer too.
    escalate_after: float | None = None
    #: Additional approvers after ``escalate_after``.
    escalate_to: tuple[str, ...] = ()


class WaitSpec(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """A signal that a task waits for."""

    #: Name of the signal.
    signal: str
    #: Seconds; None: wait without bound. Without a signal by then the task fails, unless it
    #: ``has_default``.
    timeout: float | None = None
    #: Used as the data of the signal after the ``timeout``.
    default: JSONValue = None
    #: Whether ``default`` was declared; null is a valid default.
    has_default: bool = False
    #: Keep a signal that arrives before its task waits; else it is refused.
    keep: bool = True


class EachSpec(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """One task for every item of a list."""

    #: The list, or an expression that evaluates to it.
    items: JSONValue
    #: A longer list fails the task.
    max_items: int = 1000
    #: Items at once; None: as many as the run allows.
    max_parallel: int | None = None
    #: An expression over ``item`` and ``index`` that names an item for users.
    label: str = ""


class RepeatSpec(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """A task that is repeated until a condition holds.

    The condition and the parameters may read ``round`` (the number of the iteration, from 1) and
    ``previous`` (the result of the iteration before); the condition may read ``result`` too.
    """

    #: The condition, an expression; evaluated after each iteration that succeeded.
    until: str
    #: Iterations, at most; the task fails if the condition does not hold after the last one.
    max_rounds: int = 10


class CacheSpec(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """A result that may be used again for an equal call (see `engine.call_builder.cache_key`)."""

    #: Seconds for which it may be used; None: as long as the home keeps it.
    ttl: float | None = None
    #: Part of the cache key: a new version makes results of the old one unused.
    version: str = ""


class ReconcileSpec(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """A pure read that finds out whether a call of unknown outcome acted.

    Its result must be true, false, null (it cannot tell), or ``{"happened": ..., "result": ...}``
    with one of these three as ``happened``.
    """

    agent: str
    action: str
    parameters: JSONObject = {}
    #: Seconds; None: the time-out of the agent.
    timeout: float | None = None
