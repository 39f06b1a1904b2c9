"""The state of control flow: steps, mapped items, iterations, model turns, approvals, signals.

Created when the first task needs it, so that a run of plain calls carries none of it. Plain data
and questions about it. Nothing here changes anything: `event_handlers`, `state_actions` and
`model_turns` do. To add a field of `FlowState`: as for `RunState`, with its place in the snapshot.
"""

from __future__ import annotations

import msgspec

from agenthive.core.model.calls import ToolCall
from agenthive.core.model.control_flow import ApprovalSpec
from agenthive.core.policies.loop_detection import Trajectory
from agenthive.core.values import JSONValue, Micros

MAX_KEPT_SIGNALS = 1000
"""At most so many signals of one name are kept until a task waits for them."""


class MappedItems(msgspec.Struct, kw_only=True):
    """The mapped items of one task. The tasks generated for them have consecutive indexes."""

    #: Index of the task of the first item.
    first: int
    #: The value of each item.
    items: list[JSONValue]
    #: What users see as the name of each item; empty if the task declares no label.
    labels: list[str]
    #: Items that may begin, from the first on; the others are held back by ``max_parallel``.
    released: int = 0
    #: Items that have not ended.
    left: int = 0
    #: Those of ``left`` with an unknown outcome.
    unknown: int = 0
    #: Items that ended badly where that is not tolerated.
    failed: int = 0


class Iterations(msgspec.Struct, kw_only=True):
    """The iterations of one repeated task."""

    #: Index of the task of each iteration, in order.
    members: list[int]
    #: The condition held after the last iteration.
    done: bool = False


class TurnState(msgspec.Struct, kw_only=True):
    """One turn of a model, and the tools that it requested."""

    #: Index of the task of the turn.
    node: int
    #: Tool calls that the model requested, in order; empty for a final answer.
    asks: tuple[ToolCall, ...] = ()
    #: For each of ``asks`` the index of its task; None for a request that cannot be called.
    calls: list[int | None] = []
    #: A warning that the model gets with the results (see `policies.loop_detection`).
    note: str = ""


class ModelTurns(msgspec.Struct, kw_only=True):
    """The model turns of one task."""

    #: All turns so far, failed ones too.
    had: list[TurnState] = []
    #: Index in `Node.voices` of the model in use: 0, or that of a fallback.
    voice: int = 0
    #: Tool calls of the last turn that have not ended.
    left: int = 0
    #: Turns in a row that brought nothing new.
    stale: int = 0
    #: The last turn succeeded and requested no tools: it is the answer.
    done: bool = False
    #: No further turn begins: the model is in a loop or has used up its turns.
    stopped: bool = False
    #: Tool calls of these turns, for the detection of loops; empty under rules 1 and 2.
    path: Trajectory = msgspec.field(default_factory=Trajectory)

    def find_tool_call(self, node: int) -> ToolCall | None:
        """The request that the task ``node`` carries out; None if it is not a tool call."""
        for turn in reversed(self.had):
            if node in turn.calls:
                return turn.asks[turn.calls.index(node)]
        return None


class Approval(msgspec.Struct, kw_only=True):
    """An approval that is pending: its payload, its times, and the answers so far."""

    spec: ApprovalSpec
    #: SHA-256 of ``payload``; an answer must name it.
    digest: str
    #: What approvers decide about: exactly this is called if they approve.
    payload: JSONValue
    #: The text that approvers see.
    message: str
    #: When the approval was requested.
    asked: Micros
    #: When it is decided without an answer; None: never.
    deadline: Micros | None = None
    #: When the approvers of ``escalate_to`` may answer too; None once they may, or if there are
    #: none.
    escalates: Micros | None = None
    #: Approvers that approved, in order; ``spec.quorum`` different ones are needed.
    agreed: list[str] = []
    #: The approver that rejected, or ``the deadline``.
    rejected: str = ""
    #: Comment of each approver that gave one.
    comments: dict[str, str] = {}

    @property
    def next_wake(self) -> Micros | None:
        """The earlier of escalation and deadline; None if neither is to come."""
        times = [at for at in (self.escalates, self.deadline) if at is not None]
        return min(times, default=None)

    def can_decide(self, actor: str) -> bool:
        """Whether ``actor`` may answer now."""
        return not self.approvers or actor in self.approvers

    @property
    def approvers(self) -> tuple[str, ...]:
        """The approvers that may answer now; empty means that every user may."""
        spec = self.spec
        if not spec.approvers or spec.escalate_after is None or self.escalates is not None:
            return spec.approvers
        return spec.approvers + spec.escalate_to


class FlowState:
    """What a run knows about control flow, by task index unless a comment says otherwise."""

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
        #: Index in `Node.steps` of the step that a task is at.
        self.position: dict[int, int] = {}
        #: Items of tasks with ``for_each``.
        self.each: dict[int, MappedItems] = {}
        #: Iterations of tasks with ``repeat_until``.
        self.rounds: dict[int, Iterations] = {}
        #: Turns of tasks with tools or fallbacks.
        self.turns: dict[int, ModelTurns] = {}
        #: Tool calls of all models of the run, for the detection of loops under rules 1 and 2.
        self.path = Trajectory()
        #: Approvals that are pending.
        self.approvals: dict[int, Approval] = {}
        #: Digest of the payload that was approved; the call must match it.
        self.approved: dict[int, str] = {}
        #: Data of the signal that a task received.
        self.received: dict[int, JSONValue] = {}
        #: Value of the last wait that a task passed: signal data, decision, or time. It is the
        #: result of a task that calls no agent.
        self.passed: dict[int, JSONValue] = {}
        #: By name: data of signals that no task has received yet, oldest first.
        self.kept: dict[str, list[JSONValue]] = {}
        #: By name: tasks that wait for the signal, the one that waits longest first (a dict used
        #: as an ordered set).
        self.listening: dict[str, dict[int, None]] = {}
        #: Ids of signals that were received, so that a repeated one is recognised.
        self.seen: dict[str, None] = {}
        #: Tasks that have used their one repair of an invalid answer.
        self.repaired: set[int] = set()
        #: Id of the child run of a task.
        self.children: dict[int, str] = {}
        #: How the child run of a task waits: ``moving``, ``timed`` or ``helpless``; a child that
        #: is absent here is ``moving``.
        self.waiting_children: dict[int, str] = {}
        #: Reconcile calls made so far for a task of unknown outcome.
        self.questions: dict[int, int] = {}
        #: Index of the reconcile call of a task of unknown outcome.
        self.reconciling: dict[int, int] = {}
        #: Tasks that wait for a time alone, and children that do: the run needs no help.
        self.timed = 0
        #: Tasks that will continue by themselves though no task of this run is ready or running:
        #: child runs at work, and iterations with a condition that is being evaluated.
        self.moving = 0
