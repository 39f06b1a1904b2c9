"""What a run knows beyond plain tasks: steps, items, rounds, approvals, signals, children.

Made when the first task that needs it begins, so that plain runs carry none of it. Plain data and
the questions about it; what changes it is in `entries` and `notes`.
"""

from __future__ import annotations

import msgspec

from agenthive.core.model.calls import ToolCall
from agenthive.core.model.control_flow import ApprovalSpec
from agenthive.core.policies.loop_detection import Trajectory
from agenthive.core.values import JSONValue, Micros

MAX_KEPT_SIGNALS = 1000
"""Signals of one name that are kept until a task waits for them."""


class MappedItems(msgspec.Struct, kw_only=True):
    """The items of one task: nodes ``first`` to before ``first + len(items)``.

    ``released`` of them may have begun; ``left`` have not ended, of which ``unknown`` have an
    unknown outcome; ``failed`` ended badly where that counts.
    """

    first: int
    items: list[JSONValue]
    labels: list[str]
    released: int = 0
    left: int = 0
    unknown: int = 0
    failed: int = 0


class Iterations(msgspec.Struct, kw_only=True):
    """The rounds of one task, by their nodes. ``done``: the last has ended as it should."""

    members: list[int]
    done: bool = False
    exhausted: bool = False


class TurnState(msgspec.Struct, kw_only=True):
    """One turn of a model, by its node: what it asked for, and the nodes of that.

    None stands for what nobody is called for. ``note`` is what the model is told besides.
    """

    node: int
    asks: tuple[ToolCall, ...] = ()
    calls: list[int | None] = []
    note: str = ""


class ModelTurns(msgspec.Struct, kw_only=True):
    """The turns of one task. ``voice`` is which of its models speaks.

    ``left`` of what the last turn asked for has not ended; ``stale`` turns in a row have brought
    nothing new. ``done``: the last one asks for nothing. ``stopped``: there is to be no other.
    """

    had: list[TurnState] = []
    voice: int = 0
    left: int = 0
    stale: int = 0
    done: bool = False
    stopped: bool = False

    def find_tool_call(self, node: int) -> ToolCall | None:
        """What a tool's node is to do."""
        for turn in reversed(self.had):
            if node in turn.calls:
                return turn.asks[turn.calls.index(node)]
        return None


class Approval(msgspec.Struct, kw_only=True):
    """What is asked of people: about which payload, since when, and who has agreed so far."""

    spec: ApprovalSpec
    digest: str
    payload: JSONValue
    message: str
    asked: Micros
    deadline: Micros | None = None
    escalates: Micros | None = None
    agreed: list[str] = []
    rejected: str = ""
    comments: dict[str, str] = {}

    @property
    def next_wake(self) -> Micros | None:
        """When time changes something about it."""
        times = [at for at in (self.escalates, self.deadline) if at is not None]
        return min(times, default=None)

    def can_decide(self, actor: str) -> bool:
        """Whether this person is asked (by now)."""
        return not self.approvers or actor in self.approvers

    @property
    def approvers(self) -> tuple[str, ...]:
        """Who is asked (by now); nobody named is anybody."""
        spec = self.spec
        if not spec.approvers or spec.escalate_after is None or self.escalates is not None:
            return spec.approvers
        return spec.approvers + spec.escalate_to


class FlowState:
    """``position[i]`` is the step that task i has come to; the rest is by task index or by name.

    ``received`` is the signal a task took, ``passed`` what its last gate gave, ``approved`` the
    digest of what was approved. ``kept`` are signals nobody has taken, ``listening`` who waits.
    ``reconciling`` is the task that asks what came of a call, ``questions`` how often it was asked.
    ``repaired`` are tasks whose model had a second try at its answer. ``timed`` counts the tasks
    that wait for a time alone, ``moving`` the children that need nobody. ``path`` is what models
    have asked for so far.
    """

    __slots__ = (
        "approvals",
        "approved",
        "children",
        "each",
        "kept",
        "listening",
        "moving",
        "passed",
        "path",
        "position",
        "questions",
        "received",
        "reconciling",
        "repaired",
        "rounds",
        "seen",
        "timed",
        "turns",
        "waiting_children",
    )

    def __init__(self) -> None:
        self.position: dict[int, int] = {}
        self.each: dict[int, MappedItems] = {}
        self.rounds: dict[int, Iterations] = {}
        self.turns: dict[int, ModelTurns] = {}
        self.path = Trajectory()
        self.approvals: dict[int, Approval] = {}
        self.approved: dict[int, str] = {}
        self.received: dict[int, JSONValue] = {}
        self.passed: dict[int, JSONValue] = {}
        self.kept: dict[str, list[JSONValue]] = {}
        self.listening: dict[str, dict[int, None]] = {}
        self.seen: dict[str, None] = {}
        self.repaired: set[int] = set()
        self.children: dict[int, str] = {}
        self.waiting_children: dict[int, str] = {}
        self.questions: dict[int, int] = {}
        self.reconciling: dict[int, int] = {}
        self.timed = 0
        self.moving = 0
