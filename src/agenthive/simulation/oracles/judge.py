"""The judge: rules that every simulated run must satisfy, whatever fails.

Reads only what an outside observer sees: acknowledgements, calls, effects, endings, and the journal
as plain JSON. Imports nothing of agenthive, so a mistake in the engine cannot hide a violation.
Each check returns one line for each violation. To add a promise: a function `_name` listed in
`CHECKS`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

from agenthive.simulation.case import COMPENSATION, Event, SimulationCase, is_call, true_time
from agenthive.simulation.oracles.budget import BUDGET_CHECKS
from agenthive.simulation.oracles.flow import FLOW_CHECKS
from agenthive.simulation.oracles.human_input import HUMAN_INPUT_CHECKS
from agenthive.simulation.oracles.model_turns import TURN_CHECKS
from agenthive.simulation.oracles.rate_limits import RATE_LIMIT_CHECKS

#: The final statuses of a run.
CLOSED: Final = (
    "completed",
    "partially_completed",
    "failed",
    "cancelled",
    "compensated",
    "compensation_failed",
)
#: Events with which an attempt begins, or fails before its call.
ATTEMPT_EVENTS: Final = ("task.started", "task.faulted")
END_EVENTS: Final = (
    *ATTEMPT_EVENTS,
    "task.succeeded",
    "task.failed",
    "task.lost",
    "task.cancelled",
    "task.resolved",
)
#: A parameter that is a result or a member of one: the judge can compute its value.
RESULT_REFERENCE: Final = re.compile(r"\{\{ *tasks\.(\w+)\.result((?:\.\w+)*) *\}\}")


def judge(case: SimulationCase) -> list[str]:
    """One line for each violated promise; empty when all hold."""
    return [line for check in CHECKS for line in check(case)]


def _everything_ends(case: SimulationCase) -> Iterator[str]:
    """Every accepted run ends, or waits for an external decision."""
    if not case.finished:
        yield "the simulation does not come to an end"
    closed = {
        event["run"]: event["status"] for event in case.hive if _is_hive_event(event, "run_closed")
    }
    for run in case.journal:
        if run not in closed and not _awaits_help(case, run):
            yield f"{run}: neither ended nor waiting for a decision"


def _awaits_help(case: SimulationCase, run: str) -> bool:
    """Whether the outcome of a task with effect ``once`` is unknown, or its agent is missing."""
    if case.people_answered:
        return any(
            "task.blocked" in case.find_last_events(member).values()
            for member in case.list_family(run)
        )
    tasks = case.tasks(run)
    return case.may_wait(run) or any(
        kind == "task.blocked"
        or (
            kind in ("task.lost", "task.failed", "task.cancelled")
            and _effect_of(tasks[task]) == "once"
            and "undoes" not in tasks[task]
        )
        for task, kind in case.find_last_events(run).items()
    )


def _acknowledged_is_kept(case: SimulationCase) -> Iterator[str]:
    """A run that was acknowledged is in the journal."""
    for _, _, data in case.observations_of("acknowledged"):
        if data["run"] and data["run"] not in case.journal:
            yield f"{data['run']}: acknowledged and not in the journal"


def _acknowledged_after_commit(case: SimulationCase) -> Iterator[str]:
    """An acknowledgement follows the commit of its run."""
    for i, _, data in case.observations_of("acknowledged"):
        run = data["run"]
        if run and not any(at <= i for at in case.durable_at.get(run, ())[:1]):
            yield f"{run}: acknowledged before it was on disk"


def _single_ending(case: SimulationCase) -> Iterator[str]:
    """A run ends once, with the status that its journal records."""
    endings: dict[str, str] = {}
    for _, _, data in case.observations_of("ended"):
        if endings.setdefault(data["run"], data["status"]) != data["status"]:
            yield f"{data['run']}: ended twice, differently"
    for event in case.hive:
        if _is_hive_event(event, "run_closed"):
            reported = endings.get(event["run"], event["status"])
            if reported != event["status"]:
                yield f"{event['run']}: reported {reported}, recorded {event['status']}"
    counts: dict[str, int] = {}
    for event in case.hive:
        if _is_hive_event(event, "run_closed"):
            counts[event["run"]] = counts.get(event["run"], 0) + 1
            if counts[event["run"]] > 1:
                yield f"{event['run']}: closed twice"


def _hive_knows_its_runs(case: SimulationCase) -> Iterator[str]:
    """The stream of the hive opens every run once, and closes it with its number of events."""
    opened = [event["run"] for event in case.hive if _is_hive_event(event, "run_opened")]
    if sorted(opened) != sorted(case.journal):
        yield f"the hive opened {sorted(opened)}, there are {sorted(case.journal)}"
    for event in case.hive:
        count = len(case.journal.get(event.get("run", ""), ()))
        if _is_hive_event(event, "run_closed") and event["events"] != count:
            yield f"{event['run']}: closed with {event['events']} events, holds {count}"


def _intent_positions(case: SimulationCase, run: str) -> dict[tuple[str, int, str], int]:
    """(task, attempt, key) -> how many observations had been made when the intent was on disk."""
    positions: dict[tuple[str, int, str], int] = {}
    for event, at in zip(case.journal.get(run, ()), case.durable_at.get(run, ()), strict=False):
        if event["type"] == "task.started":
            positions.setdefault((event["task"], event["attempt"], event["key"]), at)
    return positions


def _intent_before_call(case: SimulationCase) -> Iterator[str]:
    """The intent of a call with an effect is on disk before the call is made."""
    intents: dict[str, dict[tuple[str, int, str], int]] = {}
    for i, _, call in case.observations_of("called"):
        run, task = call["run"], call["task"]
        if _effect_of(case.tasks(run)[task]) == "none":
            continue
        if run not in intents:
            intents[run] = _intent_positions(case, run)
        written = intents[run].get((task, call["attempt"], call["key"]))
        if written is None or written > i:
            yield f"{run}/{task}: attempt {call['attempt']} called without a recorded intent"


def _stable_keys(case: SimulationCase) -> Iterator[str]:
    """Attempts of one call share one idempotency key, and no other call has it."""
    keys: dict[tuple[str, str], str] = {}
    owners: dict[str, tuple[str, str]] = {}
    for _, _, call in case.observations_of("called"):
        owner = (call["run"], call["task"])
        if keys.setdefault(owner, call["key"]) != call["key"]:
            yield f"{owner}: the idempotency key changed between attempts"
        if owners.setdefault(call["key"], owner) != owner:
            yield f"{owner}: shares its idempotency key with {owners[call['key']]}"


def _once_means_once(case: SimulationCase) -> Iterator[str]:
    """A call with effect ``once`` is made once, plus once for each decision to retry it.

    Calls that were not sent do not count.
    """
    not_sent = {
        (data["run"], data["task"], data["attempt"])
        for _, _, data in case.observations_of("replied")
        if (data["reply"].get("fault") or {}).get("class") == "not_sent"
    }
    call_counts: dict[tuple[str, str], int] = {}
    for _, _, call in case.observations_of("called"):
        owner = (call["run"], call["task"])
        if _effect_of(case.tasks(owner[0])[owner[1]]) != "once":
            continue
        if (*owner, call["attempt"]) not in not_sent:
            call_counts[owner] = call_counts.get(owner, 0) + 1
            if call_counts[owner] > 1 + case.count_retry_decisions(*owner):
                yield f"{owner}: effect 'once' was called again"


def _results_are_real(case: SimulationCase) -> Iterator[str]:
    """Recorded results are those that the current attempt of the call returned."""
    replies: dict[tuple[str, str, int], list[Any]] = {}
    for _, _, data in case.observations_of("replied"):
        owner = (data["run"], data["task"], data["attempt"])
        replies.setdefault(owner, []).append(data["reply"])
    for run, events in case.journal.items():
        finished: set[str] = set()
        current: dict[str, int] = {}
        for event in events:
            if event["type"] == "task.started":
                current[event["task"]] = event["attempt"]
            if event["type"] not in ("task.succeeded", "task.failed"):
                continue
            task = event["task"]
            if task in finished:
                yield f"{run}/{task}: an ended task changed again"
            if event["attempt"] != current.get(task):
                yield f"{run}/{task}: a response of attempt {event['attempt']} counted"
            if event["type"] == "task.succeeded":
                finished.add(task)
                candidates = replies.get((run, task, event["attempt"]), [])
                if not any(r.get("result") == event.get("result") for r in candidates):
                    yield f"{run}/{task}: recorded a result that no call returned"


def _dependencies_first(case: SimulationCase) -> Iterator[str]:
    """A task starts only after its dependencies have ended."""
    for run, events in case.journal.items():
        tasks = case.tasks(run)
        endings: dict[str, str] = {}
        successes, failures = case.find_successes(run), case.find_failures(run)
        for i, event in enumerate(events):
            if i in failures:
                endings[event["task"]] = "task.failed"
            elif i in successes:
                endings[successes[i]] = "task.succeeded"
            if event["type"] != "task.started":
                continue
            for dep in tasks[event["task"]].get("depends_on", ()):
                end = endings.get(dep)
                if (end is None and tasks.may_be_bypassed(dep)) or not is_call(tasks[dep]):
                    continue
                tolerated = tasks[dep].get("continue_on_failure", False)
                if end is None or (end == "task.failed" and not tolerated):
                    yield f"{run}/{event['task']}: started before '{dep}' had succeeded"


def _handed_on(case: SimulationCase) -> Iterator[str]:
    """A call receives the recorded results of its dependencies."""
    results = {
        run: {e["task"]: e.get("result") for e in events if e["type"] == "task.succeeded"}
        for run, events in case.journal.items()
    }
    for _, _, call in case.observations_of("called"):
        run, recorded = call["run"], results.get(call["run"], {})
        task = case.tasks(run)[call["task"]]
        if _effect_of(task) == "none":
            continue  # a pure read may start on results that are lost with the process
        for dep, value in (call.get("dependencies") or {}).items():
            if dep in recorded and recorded[dep] != value:
                yield f"{run}/{call['task']}: received another result of '{dep}' than is recorded"
        for name, text in (task.get("parameters") or {}).items():
            plain = RESULT_REFERENCE.fullmatch(text) if isinstance(text, str) else None
            if plain is None or plain[1] not in recorded:
                continue
            actual, expected = (
                call["parameters"].get(name),
                _resolve_path(recorded[plain[1]], plain[2]),
            )
            if actual != expected:
                yield (
                    f"{run}/{call['task']}: received {actual} as {name}, the result contains "
                    f"{expected}"
                )


def _resolve_path(result: Any, path: str) -> Any:
    """The value at the path ``.a.b`` in a result."""
    for key in path.split(".")[1:]:
        result = result.get(key) if isinstance(result, dict) else None
    return result


def _attempts_bounded(case: SimulationCase) -> Iterator[str]:
    """A task has at most its allowed attempts, and no attempt is called twice."""
    for run, events in case.journal.items():
        tasks = case.tasks(run)
        starts = Counter(event["task"] for event in events if event["type"] == "task.started")
        lost = Counter(event["task"] for event in events if _is_uncounted(event))
        for task, count in starts.items():
            limit = (tasks[task].get("retry") or {}).get("max_attempts", 3) + lost[task]
            limit *= 1 + case.count_retry_decisions(run, task)
            if count > limit:
                yield f"{run}/{task}: {count} attempts, {limit} allowed"
    numbers: set[tuple[str, str, int]] = set()
    for _, _, call in case.observations_of("called"):
        attempt = (call["run"], call["task"], call["attempt"])
        # A crash may lose the intent of a pure read; its attempt number is then reused.
        if attempt in numbers and _effect_of(case.tasks(attempt[0])[attempt[1]]) != "none":
            yield f"{attempt}: one attempt was called twice"
        numbers.add(attempt)


def _is_uncounted(event: Event) -> bool:
    """Whether the attempt does not count: the call was lost, or refused for a rate limit."""
    refused = (event.get("fault") or {}).get("class") == "refused"
    return event["type"] == "task.lost" or (refused and "pause" in event)


def _retries_are_used_up(case: SimulationCase) -> Iterator[str]:
    """A task fails only after all its attempts. Lost calls are not attempts."""
    for run, events in case.journal.items():
        stop_events = {"run.cancel_requested", "run.timed_out"} & {
            event["type"] for event in events
        }
        stops = case.specs[run].get("failure_strategy", "stop_on_first_failure").startswith("stop")
        tasks = case.tasks(run)
        final = {e["task"]: e for e in events if "task" in e and e["type"] in END_EVENTS}
        losses = Counter(event["task"] for event in events if _is_uncounted(event))
        for task, event in final.items():
            stopped = (stop_events or stops) and not task.endswith(COMPENSATION)
            if event["type"] != "task.failed" or stopped or _closed_status(case, run) is None:
                continue
            lost = losses[task]
            limit = (tasks[task].get("retry") or {}).get("max_attempts", 3)
            may_retry = event["fault"].get("retriable", True) and _may_repeat(tasks[task], event)
            if may_retry and event["attempt"] - lost < limit:
                yield f"{run}/{task}: failed after {event['attempt'] - lost} of {limit} attempts"


def _may_repeat(task: Event, event: Event) -> bool:
    """Whether the class of a fault allows another attempt of the task."""
    fault_class = event["fault"].get("class", "unknown")
    if _effect_of(task) == "once":
        return bool(fault_class == "not_sent")
    return fault_class in (task.get("retry") or {}).get("retry_on", ("not_sent", "unknown"))


def _cancels_take_effect(case: SimulationCase) -> Iterator[str]:
    """A cancel request is recorded in its run, unless the run has ended or is compensating."""
    for i, _, data in case.observations_of("cancel"):
        run = data["run"]
        later = {kind for _, kind, _ in case.observations[i:]}
        kinds = {event["type"] for event in case.journal.get(run, ())}
        compensated = any(
            e.get("task", "").endswith(COMPENSATION) for e in case.journal.get(run, ())
        )
        excused = compensated or {"crashed", "refused"} & later or run not in case.journal
        if not excused and "run.cancel_requested" not in kinds:
            yield f"{run}: cancelled, without effect"


def _waits_its_turn(case: SimulationCase) -> Iterator[str]:
    """A retry starts neither before its back-off nor before the requested ``retry_after``."""
    for run, events in case.journal.items():
        earliest: dict[str, int] = {}
        for event in events:
            if event["type"] == "task.failed":
                after = (event["fault"].get("retry_after") or 0) * 1_000_000
                earliest[event["task"]] = true_time(event) + int(after)
            elif event["type"] == "task.started" and true_time(event) < earliest.get(
                event["task"], 0
            ):
                yield f"{run}/{event['task']}: retried before its time"


def _slots_respected(case: SimulationCase) -> Iterator[str]:
    """At most as many calls at once as the run, the agent and the hive have slots for."""
    under_way: dict[tuple[str, str, int], str] = {}
    agents = {
        (run, agent["name"]): str(sorted(agent.items(), key=str))
        for run, spec in case.specs.items()
        for agent in spec.get("agents", ())
    }
    for _, kind, data in case.observations:
        if kind == "crashed":
            under_way.clear()
        elif kind == "called":
            run = data["run"]
            lane = agents[run, data["agent"]]
            under_way[run, data["task"], data["attempt"]] = lane
            run_calls = sum(1 for entry in under_way if entry[0] == run)
            limit = case.specs[run].get("max_parallel", 1)
            if run_calls > limit:
                yield f"{run}: {run_calls} calls at once, {limit} allowed"
            if len(under_way) > case.max_calls:
                yield f"{len(under_way)} calls at once in all, {case.max_calls} allowed"
            spec = next(a for a in case.specs[run]["agents"] if a["name"] == data["agent"])
            lane_calls = sum(1 for entry in under_way.values() if entry == lane)
            if lane_calls > (spec.get("max_concurrency") or lane_calls):
                yield f"{run}: {lane_calls} calls at once at {data['agent']}"
        elif kind in ("replied", "stopped"):
            under_way.pop((data["run"], data["task"], data["attempt"]), None)


def _time_never_goes_back(case: SimulationCase) -> Iterator[str]:
    """Times in a stream never decrease, and no run times out early."""
    for name, events in (*case.journal.items(), ("hive", case.hive)):
        times = [event["at"] for event in events]
        if times != sorted(times):
            yield f"{name}: times decrease"
    for run, events in case.journal.items():
        started_at = away = 0
        for event, before in zip(events, [events[0], *events], strict=False):
            if event["type"] == "run.started":
                started_at = true_time(event)
            away += _time_away(event, before)
            if event["type"] == "run.timed_out":
                deadline = started_at + away + case.specs[run].get("timeout", 300.0) * 1_000_000
                if true_time(event) < deadline:
                    yield f"{run}: timed out too early"


def _time_away(event: Event, before: Event) -> int:
    """For how long (us) no process owned the run until this event; ``before`` is the last one.

    A process that finds that the clock was set back before it began records that first.
    """
    found_later = event["type"] == "run.clock_stepped" and event.get("after")
    if event["type"] != "run.resumed" and not found_later:
        return 0
    if "true" in event:
        return true_time(event) - true_time(before)
    return int(event.get("away", 0))


def _nothing_starts_after_stop(case: SimulationCase) -> Iterator[str]:
    """No task starts after its run began to stop."""
    for run, events in case.journal.items():
        stop = case.specs[run].get("failure_strategy", "stop_on_first_failure").startswith("stop")
        stopped = False
        for event in events:
            kind = event["type"]
            if kind in ("run.cancel_requested", "run.timed_out"):
                stopped = True
            elif kind == "task.started" and stopped and not event["task"].endswith(COMPENSATION):
                yield f"{run}/{event['task']}: started after the run had stopped"
            elif kind == "task.failed" and stop and _is_final_failure(case, run, event):
                stopped = True


def _is_final_failure(case: SimulationCase, run: str, event: Event) -> bool:
    """Whether a failure is certainly the last one of its task, and not tolerated."""
    tasks = case.tasks(run)
    task = tasks[event["task"]]
    if event["task"] not in tasks or "asks" in task:
        return False  # the task decides what the failure of an item or an iteration means
    if "undoes" in task or task.get("continue_on_failure") or _effect_of(task) == "once":
        return False
    return not event["fault"].get("retriable", True)


def _timeouts_respected(case: SimulationCase) -> Iterator[str]:
    """Nothing starts after the timeout of a run, not counting time without a process."""
    for run, events in case.journal.items():
        # Time spent only waiting for people does not count; the events do not say how long it was.
        timeout = None if case.may_wait(run) else case.specs[run].get("timeout", 300.0)
        deadline = None
        for event, before in zip(events, [events[0], *events], strict=False):
            if deadline is not None:
                deadline += _time_away(event, before)
            if event["type"] == "run.started" and timeout is not None:
                deadline = true_time(event) + timeout * 1_000_000
            elif event["type"] == "task.blocked":
                deadline = None  # nor time spent waiting for a missing agent
            elif deadline is None or event["type"] != "task.started":
                continue
            elif true_time(event) >= deadline and not event["task"].endswith(COMPENSATION):
                yield f"{run}/{event['task']}: started after the timeout of the run"


def _compensations_in_order(case: SimulationCase) -> Iterator[str]:
    """Compensations run in the reverse order of their tasks, and the status says if all did."""
    for run, events in case.journal.items():
        order: list[str] = []
        compensated: list[str] = []
        resolved = {event["task"] for event in events if event["type"] == "task.resolved"}
        successes = case.find_successes(run)
        for i, event in enumerate(events):
            if i in successes and not successes[i].endswith(COMPENSATION):
                order.append(successes[i])
            elif event["type"] in ATTEMPT_EVENTS and event["task"].endswith(COMPENSATION):
                name = event["task"].removesuffix(COMPENSATION)
                if not compensated or compensated[-1] != name:
                    compensated.append(name)
        tasks = case.tasks(run)
        if any("compensate" in task and not is_call(task) for task in tasks.values()):
            continue
        expected = [task for task in reversed(order) if task + COMPENSATION in tasks]
        status = _closed_status(case, run)
        # A task resolved late as succeeded may follow the calls that were active by then.
        strict = [
            [task for task in names if task not in resolved] for names in (compensated, expected)
        ]
        if strict[0] != strict[1][: len(strict[0])]:
            yield f"{run}: compensated in the wrong order: {compensated}, not {expected}"
        if status in ("compensated", "compensation_failed") and sorted(compensated) != sorted(
            expected
        ):
            yield f"{run}: {status}, but not everything was compensated"
        if status == "failed" and expected:
            yield f"{run}: failed without compensating {expected}"


def _status_matches_tasks(case: SimulationCase) -> Iterator[str]:
    """The status of a run follows from the outcomes of its tasks."""
    for run in case.journal:
        status = _closed_status(case, run)
        if status is None:
            continue
        last = {
            task: kind
            for task, kind in case.find_last_events(run).items()
            if not task.endswith(COMPENSATION)
        }
        tasks = case.tasks(run)
        all_names = [task["name"] for task in case.specs[run].get("tasks", ())]
        names = [n for n in all_names if is_call(tasks[n]) and not tasks.may_be_bypassed(n)]
        partial = len(names) < len(all_names)
        succeeded = [name for name in names if last.get(name) == "task.succeeded"]
        all_fine = all(
            last.get(name) == "task.succeeded"
            or (last.get(name) == "task.failed" and tasks[name].get("continue_on_failure"))
            for name in names
        )
        event_types = {event["type"] for event in case.journal[run]}
        if status == "completed" and not all_fine:
            yield f"{run}: completed, though not every task succeeded"
        if status == "partially_completed" and (not succeeded or all_fine) and not partial:
            yield f"{run}: partially completed with {len(succeeded)} of {len(names)}"
        if status == "cancelled" and "run.cancel_requested" not in event_types:
            yield f"{run}: cancelled without a request"
        stopped = {"run.cancel_requested", "run.timed_out"} & event_types
        if (
            status in ("failed", "compensated", "compensation_failed")
            and all_fine
            and not stopped
            and not partial
        ):
            yield f"{run}: {status}, though every task succeeded"


def _closed_status(case: SimulationCase, run: str) -> str | None:
    return next(
        (e["status"] for e in case.hive if _is_hive_event(e, "run_closed") and e["run"] == run),
        None,
    )


def _effect_of(task: Event) -> str:
    return str(task.get("effect", "any"))


def _is_hive_event(event: Event, name: str) -> bool:
    return bool(event["type"] == f"hive.{name}")


#: All checks of this file and of the other oracles.
CHECKS: Final[tuple[Callable[[SimulationCase], Iterator[str]], ...]] = (
    _everything_ends,
    _acknowledged_is_kept,
    _acknowledged_after_commit,
    _single_ending,
    _hive_knows_its_runs,
    _intent_before_call,
    _stable_keys,
    _once_means_once,
    _results_are_real,
    _dependencies_first,
    _handed_on,
    _attempts_bounded,
    _retries_are_used_up,
    _cancels_take_effect,
    _waits_its_turn,
    _slots_respected,
    _time_never_goes_back,
    _nothing_starts_after_stop,
    _timeouts_respected,
    _compensations_in_order,
    _status_matches_tasks,
    *FLOW_CHECKS,
    *HUMAN_INPUT_CHECKS,
    *BUDGET_CHECKS,
    *RATE_LIMIT_CHECKS,
    *TURN_CHECKS,
)
