"""Oracle of human input: approvals, signals, and resolutions of unknown outcomes.

As `judge`: reads only what an outside observer sees, imports nothing of agenthive but the case, and
returns one line for each violation. To add a promise: a function `_name` listed in
`HUMAN_INPUT_CHECKS`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

from agenthive.simulation.case import COMPENSATION, Event, SimulationCase, true_time
from agenthive.simulation.oracles.flow import authored_task

#: Microseconds.
SECOND: Final = 1_000_000
#: A time after the end of every simulation.
NEVER: Final = 1 << 62
MAX_REFUSALS: Final = 1000


class ApprovalRecord:
    """The state of one approval, built event by event."""

    def __init__(self, spec: Event, event: Event) -> None:
        self.spec = spec
        self.digest: str = event["digest"]
        self.payload = event.get("payload")
        self.requested_at: int = true_time(event)
        self.approvals: set[str] = set()
        self.approved = False
        self.rejected = False

    @property
    def deadline(self) -> float:
        """When the request is decided if no approver responds."""
        after = self.spec.get("deadline")
        return NEVER if after is None else self.requested_at + after * SECOND

    def is_approver(self, actor: str, at: int) -> bool:
        """Whether that person may decide at that time."""
        people = list(self.spec.get("approvers", ()))
        after = self.spec.get("escalate_after")
        if people and after is not None and at >= self.requested_at + after * SECOND:
            people += self.spec.get("escalate_to", ())
        return not people or actor in people

    def apply_event(self, event: Event) -> None:
        """Apply a decision, or a timeout."""
        if event["type"] == "task.approval_given":
            if not event["approved"]:
                self.rejected = True
            else:
                self.approvals.add(event["actor"])
                self.approved = len(self.approvals) >= self.spec.get("quorum", 1)
        elif not self.approved and true_time(event) >= self.deadline:
            self.approved = self.spec.get("on_deadline") == "approve"
            self.rejected = not self.approved


def _approved_before_call(case: SimulationCase) -> Iterator[str]:
    """A call that needs approval starts only after its exact payload was approved on disk."""
    approval_events = {run: _approval_events(case, run) for run in case.journal}
    for i, _, call in case.observations_of("called"):
        run, key = call["run"], call["task"]
        tasks = case.tasks(run)
        spec = tasks[key]
        if "approval" not in spec or key.endswith(COMPENSATION):
            continue
        actual = {
            "agent": call["agent"],
            "action": call["action"],
            "parameters": call["parameters"],
        }
        if tasks.is_model_turn(key):
            key, actual = key.rpartition("~")[0], actual | _model_turn_payload(spec, call)
        approval = _approval_state(spec["approval"], approval_events.get(run, {}).get(key, []), i)
        yield from _check_approval(f"{run}/{key}", approval, actual)


def _approval_events(case: SimulationCase, run: str) -> dict[str, list[tuple[int, Event]]]:
    """Task -> (observations made before it was on disk, event about its approval)."""
    events: dict[str, list[tuple[int, Event]]] = {}
    for event, at in zip(case.journal[run], case.durable_at.get(run, ()), strict=False):
        if event["type"] in ("task.approval_requested", "task.approval_given", "task.woke"):
            events.setdefault(event["task"], []).append((at, event))
    return events


def _approval_state(
    spec: Event, events: list[tuple[int, Event]], until: int
) -> ApprovalRecord | None:
    """The state of an approval by what was on disk at that time."""
    approval: ApprovalRecord | None = None
    for at, event in events:
        if at > until:
            break
        if event["type"] == "task.approval_requested":
            approval = ApprovalRecord(spec, event)
        elif approval is not None:
            approval.apply_event(event)
    return approval


def _check_approval(where: str, approval: ApprovalRecord | None, actual: Any) -> Iterator[str]:
    if approval is None:
        yield f"{where}: called before an approval was requested"
    elif approval.rejected:
        yield f"{where}: called, though it was rejected"
    elif not approval.approved:
        yield f"{where}: called with {len(approval.approvals)} approvals"
    elif approval.payload != actual:
        yield f"{where}: {approval.payload} was approved, {actual} was called"


def _model_turn_payload(spec: Event, call: Event) -> Event:
    """What approvers see where a model has turns: its tools and its fallback agents."""
    tools = [entry["name"] for entry in spec.get("tools", ())]
    fallbacks = [entry["agent"] for entry in spec.get("fallback", ())]
    agent = spec["agent"] if call["agent"] in fallbacks else call["agent"]
    return {"agent": agent, "tools": tools, "fallback": fallbacks}


def _child_inputs_approved(case: SimulationCase) -> Iterator[str]:
    """A child run starts with exactly the inputs that were approved."""
    for run, events in case.journal.items():
        approval_events = _approval_events(case, run)
        for event, at in zip(events, case.durable_at.get(run, ()), strict=False):
            spec = case.tasks(run)[event["task"]] if event["type"] == "task.child_opened" else {}
            child = case.journal.get(event.get("run", ""), [])
            if "approval" not in spec or not child:
                continue
            approval = _approval_state(spec["approval"], approval_events.get(event["task"], []), at)
            actual = {"workflow": spec["workflow"]["name"], "inputs": child[0].get("inputs", {})}
            yield from _check_approval(f"{run}/{event['task']}", approval, actual)


def _only_approvers_count(case: SimulationCase) -> Iterator[str]:
    """Only decisions of approvers count, each once, about the payload of the request."""
    answers = _statements(case, "answer")
    for run, events in case.journal.items():
        tasks = case.tasks(run)
        approvals: dict[str, ApprovalRecord] = {}
        for event in events:
            key = event.get("task", "")
            if event["type"] == "task.approval_requested":
                approvals[key] = ApprovalRecord(tasks[key]["approval"], event)
            elif event["type"] == "task.woke" and key in approvals:
                approvals[key].apply_event(event)
            elif event["type"] == "task.approval_given":
                where, approval = f"{run}/{key}: {event['actor']}", approvals[key]
                if not approval.is_approver(event["actor"], true_time(event)):
                    yield f"{where} counts and is not an approver"
                if event["actor"] in approval.approvals:
                    yield f"{where} counts twice"
                if approval.approved or approval.rejected:
                    yield f"{where} counts after the decision"
                if case.people_answered and not any(
                    _matches_statement(s, run, event, approval.digest) for s in answers
                ):
                    yield f"{where} counts and never responded so"
                approval.apply_event(event)


def _statements(case: SimulationCase, verb: str) -> list[Event]:
    return [data for _, _, data in case.observations_of("said") if data["what"] == verb]


def _matches_statement(statement: Event, run: str, event: Event, digest: str) -> bool:
    """Whether an event records this statement, about its payload or about any."""
    same = all(statement[name] == event[name] for name in ("task", "actor", "approved"))
    return statement["run"] == run and same and digest.startswith(statement["digest"])


def _acknowledged_answers_are_recorded(case: SimulationCase) -> Iterator[str]:
    """An acknowledged response is on disk, and so is the reason of a refused one."""
    statements = {data["token"]: data for _, _, data in case.observations_of("said")}
    for i, _, data in case.observations_of("acknowledged"):
        statement = statements.get(data["token"])
        if statement is None or _is_budget_answer(case, statement):
            continue
        if not any(
            _is_recorded(case, statement, kind, i) for kind in RECORDED_AS[statement["what"]]
        ):
            yield f"{statement['run']}: '{statement}' was acknowledged, and is not on disk"
    for i, _, data in case.observations_of("refused_answer"):
        statement = statements.get(data["token"])
        if statement is None:
            continue
        refusals = sum(
            e["type"] == "task.approval_refused" for e in case.journal.get(statement["run"], ())
        )
        kinds = ("task.approval_refused", "hive.answer_after_end")
        if refusals < MAX_REFUSALS and not any(
            _is_recorded(case, statement, kind, i) for kind in kinds
        ):
            yield f"{statement['run']}: '{statement}' was refused, and that is not on disk"


#: Kind of statement -> the events that record it.
RECORDED_AS: Final = {
    "answer": ("task.approval_given",),
    "signal": ("run.signal_received",),
    "resolve": ("task.resolved",),
    "settle": ("task.hold_settled",),
    "budget": ("hive.budget_set",),
}


def _is_budget_answer(case: SimulationCase, statement: Event) -> bool:
    """Whether the statement answers a request for a higher limit, and took effect."""
    if statement["what"] != "answer":
        return False
    if statement["approved"]:
        reason = f"requested by {statement['run']}/{statement['task']}"
        changes = [e for e in case.hive if e["type"] == "hive.budget_set"]
        return any(e["actor"] == statement["actor"] and e["reason"] == reason for e in changes)
    refused = f"{statement['actor']} did not approve a higher limit"
    events = [e for e in case.journal.get(statement["run"], ()) if e["type"] == "task.faulted"]
    return any(e["task"] == statement["task"] and e["fault"]["message"] == refused for e in events)


def _is_recorded(case: SimulationCase, statement: Event, kind: str, until: int) -> bool:
    """Whether an event of that kind that records the statement was on disk then."""
    if kind.startswith("hive."):
        return any(e["type"] == kind and e.get("run", "") == statement["run"] for e in case.hive)
    run = statement["run"]
    pairs = zip(case.journal.get(run, ()), case.durable_at.get(run, ()), strict=False)
    return any(
        event["type"] == kind and at <= until and _has_same_content(statement, event)
        for event, at in pairs
    )


def _has_same_content(statement: Event, event: Event) -> bool:
    if statement["what"] == "signal" and statement["id"]:
        return bool(event.get("id") == statement["id"])
    names = {
        "answer": ("task", "actor", "approved"),
        "late": ("task", "actor"),
        "signal": ("name", "data"),
        "resolve": ("task", "outcome"),
        "settle": ("task",),
    }[statement["what"]]
    return all(event.get(name) == statement[name] for name in names)


def _signals_count_once(case: SimulationCase) -> Iterator[str]:
    """A repeated signal is recognized by its id, and every recorded signal was sent."""
    data = {statement["data"] for statement in _statements(case, "signal")}
    for run, events in case.journal.items():
        received = [e for e in events if e["type"] == "run.signal_received"]
        for name, count in Counter(e["id"] for e in received if e.get("id")).items():
            if count > 1:
                yield f"{run}: the signal '{name}' counts {count} times"
        for event in received:
            if case.people_answered and event.get("data") not in data:
                yield f"{run}: recorded the signal '{event.get('data')}', which was never sent"


def _signals_in_order(case: SimulationCase) -> Iterator[str]:
    """Each signal is consumed by one task, oldest first, and none is skipped."""
    takers: dict[tuple[str, str], dict[str, Any]] = {}
    for _, _, call in case.observations_of("called"):
        run, name = call["run"], authored_task(call["task"])
        task = case.tasks(run)[call["task"]]
        reads = task.get("parameters", {}).get("signal") == "{{ signal }}"
        lost = task.get("effect") == "none"  # lost in a crash, together with its signal
        if "wait_for" not in task or not reads or lost or call["task"].endswith(COMPENSATION):
            continue
        taken = call["parameters"]["signal"]
        signal = (run, task["wait_for"]["signal"])
        before = takers.setdefault(signal, {}).setdefault(name, taken)
        if before != taken:
            yield f"{run}/{name}: took the signal {before}, and {taken}"
    for (run, name), takes in takers.items():
        waiting = [t for t in case.specs[run]["tasks"] if _waits_for_signal(t, name)]
        received = [
            e.get("data")
            for e in case.journal.get(run, ())
            if e["type"] == "run.signal_received" and e["name"] == name
        ]
        values = [v for n, v in takes.items() if not _is_default_value(case.tasks(run)[n], v)]
        for value, count in Counter(map(str, values)).items():
            if count > 1:
                yield f"{run}: {count} tasks took the signal {value}"
            if value not in map(str, received[: len(waiting)]):
                yield f"{run}: a task took {value}, though others came before: {received}"


def _waits_for_signal(task: Event, signal: str) -> bool:
    return bool(task.get("wait_for", {}).get("signal") == signal)


def _is_default_value(task: Event, value: Any) -> bool:
    wait = task["wait_for"]
    return bool(wait.get("has_default") and wait.get("default") == value)


def _signal_timeouts_are_due(case: SimulationCase) -> Iterator[str]:
    """A task stops waiting for a signal only at its timeout, and only if none has arrived."""
    for run, events in case.journal.items():
        tasks = case.tasks(run)
        count: Counter[str] = Counter()
        timeouts: Counter[str] = Counter()
        for event in events:
            if event["type"] == "run.signal_received":
                count[event["name"]] += 1
            task = tasks.get(event.get("task", ""), {})
            timed = task.keys() & {"delay", "until", "for_each", "approval"}
            if event["type"] != "task.woke" or "wait_for" not in task or timed:
                continue
            if any(e["type"] == "task.started" and e["task"] == event["task"] for e in events):
                continue  # it may have woken for a retry
            signal = task["wait_for"]["signal"]
            waiters = sum(1 for t in case.specs[run]["tasks"] if _waits_for_signal(t, signal))
            timeouts[signal] += 1
            if count[signal] > waiters - timeouts[signal]:
                yield f"{run}/{event['task']}: stopped waiting, though '{signal}' had arrived"


def _resolutions_are_stated(case: SimulationCase) -> Iterator[str]:
    """An unknown outcome is resolved only by a statement, and only once."""
    statements = _statements(case, "resolve")
    for run, events in case.journal.items():
        unknown: dict[str, bool] = {}
        for event in events:
            key = event.get("task", "")
            if event["type"] in ("task.lost", "task.cancelled", "task.failed"):
                unknown[key] = True
            elif event["type"] == "task.started":
                unknown[key] = False
            elif event["type"] == "task.resolved":
                names = ("task", "outcome")
                if case.people_answered and not any(
                    s["run"] == run and all(s[n] == event[n] for n in names) for s in statements
                ):
                    yield f"{run}/{key}: resolved as {event['outcome']}, which was never stated"
                if not unknown.get(key):
                    yield f"{run}/{key}: resolved, though its outcome was known"
                unknown[key] = False


HUMAN_INPUT_CHECKS: Final[tuple[Callable[[SimulationCase], Iterator[str]], ...]] = (
    _approved_before_call,
    _child_inputs_approved,
    _only_approvers_count,
    _acknowledged_answers_are_recorded,
    _signals_count_once,
    _signals_in_order,
    _signal_timeouts_are_due,
    _resolutions_are_stated,
)
