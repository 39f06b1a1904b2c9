"""The judge of what people say: approvals, signals, what came of a call nobody knows about.

As `oracle`: sees only what an outsider sees, imports nothing of agenthive but the case, gives one
line for each thing that is wrong. To add a promise: a function `_name` listed in `PEOPLE_CHECKS`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

from agenthive.simulation.case import UNDO, Case, Event
from agenthive.simulation.oracles.flow import author_of

SECOND: Final = 1_000_000
NEVER: Final = 1 << 62
MOST_REFUSALS: Final = 1000


class Asked:
    """What is known about one approval, fact by fact."""

    def __init__(self, spec: Event, event: Event) -> None:
        self.spec = spec
        self.digest: str = event["digest"]
        self.payload = event.get("payload")
        self.at: int = event["at"]
        self.agreed: set[str] = set()
        self.approved = False
        self.rejected = False

    @property
    def deadline(self) -> float:
        """When it is decided if nobody has."""
        after = self.spec.get("deadline")
        return NEVER if after is None else self.at + after * SECOND

    def may_answer(self, actor: str, at: int) -> bool:
        """Whether that person is asked at that time."""
        people = list(self.spec.get("approvers", ()))
        after = self.spec.get("escalate_after")
        if people and after is not None and at >= self.at + after * SECOND:
            people += self.spec.get("escalate_to", ())
        return not people or actor in people

    def take(self, event: Event) -> None:
        """Take in an answer, or that time has passed."""
        if event["type"] == "task.approval_given":
            if not event["approved"]:
                self.rejected = True
            else:
                self.agreed.add(event["actor"])
                self.approved = len(self.agreed) >= self.spec.get("quorum", 1)
        elif not self.approved and event["at"] >= self.deadline:
            self.approved = self.spec.get("on_deadline") == "approve"
            self.rejected = not self.approved


def _approved_first(case: Case) -> Iterator[str]:
    """What needs an approval is done only once that is on disk, and exactly what was approved."""
    marked = {run: _about_approvals(case, run) for run in case.journal}
    for i, _, call in case.observations("called"):
        run, key = call["run"], call["task"]
        tasks = case.tasks(run)
        spec = tasks[key]
        if "approval" not in spec or key.endswith(UNDO):
            continue
        done = {"agent": call["agent"], "action": call["action"], "parameters": call["parameters"]}
        if tasks.is_turn(key):
            key, done = key.rpartition("~")[0], done | _of_turns(spec, call)
        asked = _standing(spec["approval"], marked.get(run, {}).get(key, []), i)
        yield from _wrong(f"{run}/{key}", asked, done)


def _about_approvals(case: Case, run: str) -> dict[str, list[tuple[int, Event]]]:
    """Task -> (how much had been seen when it was on disk, fact about its approval)."""
    found: dict[str, list[tuple[int, Event]]] = {}
    for event, at in zip(case.journal[run], case.durable.get(run, ()), strict=False):
        if event["type"] in ("task.approval_requested", "task.approval_given", "task.woke"):
            found.setdefault(event["task"], []).append((at, event))
    return found


def _standing(spec: Event, facts: list[tuple[int, Event]], until: int) -> Asked | None:
    """How an approval stands by what was on disk at that time."""
    asked: Asked | None = None
    for at, event in facts:
        if at > until:
            break
        if event["type"] == "task.approval_requested":
            asked = Asked(spec, event)
        elif asked is not None:
            asked.take(event)
    return asked


def _wrong(where: str, asked: Asked | None, done: Any) -> Iterator[str]:
    if asked is None:
        yield f"{where}: done before anybody was asked"
    elif asked.rejected:
        yield f"{where}: done, though it was rejected"
    elif not asked.approved:
        yield f"{where}: done with {len(asked.agreed)} approvals"
    elif asked.payload != done:
        yield f"{where}: {asked.payload} was approved, {done} was done"


def _of_turns(spec: Event, call: Event) -> Event:
    """What people agree to where a model has turns: its tools, and who may go on with it."""
    tools = [one["name"] for one in spec.get("tools", ())]
    others = [one["agent"] for one in spec.get("fallback", ())]
    named = spec["agent"] if call["agent"] in others else call["agent"]
    return {"agent": named, "tools": tools, "fallback": others}


def _children_approved(case: Case) -> Iterator[str]:
    """A run within a run is begun with the inputs that were approved, and no others."""
    for run, events in case.journal.items():
        facts = _about_approvals(case, run)
        for event, at in zip(events, case.durable.get(run, ()), strict=False):
            spec = case.tasks(run)[event["task"]] if event["type"] == "task.child_opened" else {}
            child = case.journal.get(event.get("run", ""), [])
            if "approval" not in spec or not child:
                continue
            asked = _standing(spec["approval"], facts.get(event["task"], []), at)
            done = {"workflow": spec["workflow"]["name"], "inputs": child[0].get("inputs", {})}
            yield from _wrong(f"{run}/{event['task']}", asked, done)


def _answers_count_rightly(case: Case) -> Iterator[str]:
    """Only those who are asked count, each once, about what they are asked."""
    said = _said(case, "answer")
    for run, events in case.journal.items():
        tasks = case.tasks(run)
        asked: dict[str, Asked] = {}
        for event in events:
            key = event.get("task", "")
            if event["type"] == "task.approval_requested":
                asked[key] = Asked(tasks[key]["approval"], event)
            elif event["type"] == "task.woke" and key in asked:
                asked[key].take(event)
            elif event["type"] == "task.approval_given":
                where, one = f"{run}/{key}: {event['actor']}", asked[key]
                if not one.may_answer(event["actor"], event["at"]):
                    yield f"{where} counts and was not asked"
                if event["actor"] in one.agreed:
                    yield f"{where} counts twice"
                if one.approved or one.rejected:
                    yield f"{where} counts after all was decided"
                if case.answered and not any(_is_that(s, run, event, one.digest) for s in said):
                    yield f"{where} counts and never said that"
                one.take(event)


def _said(case: Case, what: str) -> list[Event]:
    return [data for _, _, data in case.observations("said") if data["what"] == what]


def _is_that(said: Event, run: str, event: Event, digest: str) -> bool:
    """Whether somebody said just what a fact says, about that payload or about any."""
    same = all(said[name] == event[name] for name in ("task", "actor", "approved"))
    return said["run"] == run and same and digest.startswith(said["digest"])


def _answers_are_kept(case: Case) -> Iterator[str]:
    """Who is told that an answer counts finds it on disk; who is not finds that recorded."""
    said = {data["token"]: data for _, _, data in case.observations("said")}
    for i, _, data in case.observations("acknowledged"):
        one = said.get(data["token"])
        if one is None or _about_money(case, one):
            continue
        if not any(_records(case, one, kind, i) for kind in KEPT[one["what"]]):
            yield f"{one['run']}: told that '{one}' counts, and it is not on disk"
    for i, _, data in case.observations("refused_answer"):
        one = said.get(data["token"])
        if one is None:
            continue
        many = sum(e["type"] == "task.approval_refused" for e in case.journal.get(one["run"], ()))
        kinds = ("task.approval_refused", "hive.answer_after_end")
        if many < MOST_REFUSALS and not any(_records(case, one, kind, i) for kind in kinds):
            yield f"{one['run']}: '{one}' was refused, and that is not on disk"


KEPT: Final = {
    "answer": ("task.approval_given",),
    "signal": ("run.signal_received",),
    "resolve": ("task.resolved",),
    "settle": ("task.hold_settled",),
    "budget": ("hive.budget_set",),
}
"""What somebody says -> the fact that it is."""


def _about_money(case: Case, said: Event) -> bool:
    """Whether it is an answer to who asked for more money, and that was done."""
    if said["what"] != "answer":
        return False
    if said["approved"]:
        why = f"asked by {said['run']}/{said['task']}"
        sets = [e for e in case.hive if e["type"] == "hive.budget_set"]
        return any(e["actor"] == said["actor"] and e["reason"] == why for e in sets)
    refused = f"{said['actor']} agreed to no more money"
    events = [e for e in case.journal.get(said["run"], ()) if e["type"] == "task.faulted"]
    return any(e["task"] == said["task"] and e["fault"]["message"] == refused for e in events)


def _records(case: Case, said: Event, kind: str, until: int) -> bool:
    """Whether a fact of that kind about what was said was on disk then."""
    if kind.startswith("hive."):
        return any(e["type"] == kind and e.get("run", "") == said["run"] for e in case.hive)
    run = said["run"]
    pairs = zip(case.journal.get(run, ()), case.durable.get(run, ()), strict=False)
    return any(event["type"] == kind and at <= until and _same(said, event) for event, at in pairs)


def _same(said: Event, event: Event) -> bool:
    if said["what"] == "signal" and said["id"]:
        return bool(event.get("id") == said["id"])
    names = {
        "answer": ("task", "actor", "approved"),
        "late": ("task", "actor"),
        "signal": ("name", "data"),
        "resolve": ("task", "outcome"),
        "settle": ("task",),
    }[said["what"]]
    return all(event.get(name) == said[name] for name in names)


def _signals_count_once(case: Case) -> Iterator[str]:
    """A repeated signal is known by its id, and nobody makes up signals."""
    data = {one["data"] for one in _said(case, "signal")}
    for run, events in case.journal.items():
        received = [e for e in events if e["type"] == "run.signal_received"]
        for name, count in Counter(e["id"] for e in received if e.get("id")).items():
            if count > 1:
                yield f"{run}: the signal '{name}' counts {count} times"
        for event in received:
            if case.answered and event.get("data") not in data:
                yield f"{run}: recorded the signal '{event.get('data')}', which nobody sent"


def _signals_in_order(case: Case) -> Iterator[str]:
    """Each signal is taken by one task, the oldest first, and none is passed over."""
    takers: dict[tuple[str, str], dict[str, Any]] = {}
    for _, _, call in case.observations("called"):
        run, name = call["run"], author_of(call["task"])
        task = case.tasks(run)[call["task"]]
        reads = task.get("parameters", {}).get("signal") == "{{ signal }}"
        lost = task.get("effect") == "none"  # with the process, signal and all
        if "wait_for" not in task or not reads or lost or call["task"].endswith(UNDO):
            continue
        taken = call["parameters"]["signal"]
        signal = (run, task["wait_for"]["signal"])
        before = takers.setdefault(signal, {}).setdefault(name, taken)
        if before != taken:
            yield f"{run}/{name}: took the signal {before}, and {taken}"
    for (run, name), given in takers.items():
        waiting = [t for t in case.specs[run]["tasks"] if _waits_for(t, name)]
        received = [
            e.get("data")
            for e in case.journal.get(run, ())
            if e["type"] == "run.signal_received" and e["name"] == name
        ]
        values = [v for n, v in given.items() if not _is_default(case.tasks(run)[n], v)]
        for value, count in Counter(map(str, values)).items():
            if count > 1:
                yield f"{run}: {count} tasks took the signal {value}"
            if value not in map(str, received[: len(waiting)]):
                yield f"{run}: a task took {value}, though others came before: {received}"


def _waits_for(task: Event, signal: str) -> bool:
    return bool(task.get("wait_for", {}).get("signal") == signal)


def _is_default(task: Event, value: Any) -> bool:
    wait = task["wait_for"]
    return bool(wait.get("has_default") and wait.get("default") == value)


def _signals_waited_for(case: Case) -> Iterator[str]:
    """A task that takes no signal gives up no earlier than it says, and only if none is there."""
    for run, events in case.journal.items():
        tasks = case.tasks(run)
        count: Counter[str] = Counter()
        gone: Counter[str] = Counter()
        for event in events:
            if event["type"] == "run.signal_received":
                count[event["name"]] += 1
            task = tasks.get(event.get("task", ""), {})
            timed = task.keys() & {"delay", "until", "for_each", "approval"}
            if event["type"] != "task.woke" or "wait_for" not in task or timed:
                continue
            if any(e["type"] == "task.started" and e["task"] == event["task"] for e in events):
                continue  # it may have woken for another try
            signal = task["wait_for"]["signal"]
            others = sum(1 for t in case.specs[run]["tasks"] if _waits_for(t, signal))
            gone[signal] += 1
            if count[signal] > others - gone[signal]:
                yield f"{run}/{event['task']}: gave up waiting, though '{signal}' had come"


def _decisions_are_recorded(case: Case) -> Iterator[str]:
    """What came of a call of unknown outcome is decided by what somebody said, and once."""
    said = _said(case, "resolve")
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
                if case.answered and not any(
                    s["run"] == run and all(s[n] == event[n] for n in names) for s in said
                ):
                    yield f"{run}/{key}: resolved as {event['outcome']}, which nobody said"
                if not unknown.get(key):
                    yield f"{run}/{key}: resolved, though its outcome was known"
                unknown[key] = False


PEOPLE_CHECKS: Final[tuple[Callable[[Case], Iterator[str]], ...]] = (
    _approved_first,
    _children_approved,
    _answers_count_rightly,
    _answers_are_kept,
    _signals_count_once,
    _signals_in_order,
    _signals_waited_for,
    _decisions_are_recorded,
)
