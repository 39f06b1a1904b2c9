"""For runtimes: the kit that checks a new runtime against its contract.

    await check_runtime(embedded_stage(lambda name: SqliteStore.open(folder / name), MyRuntime))
    await check_runtime(my_stage)      # a runtime that is driven in another way

Runs every scenario on the runtime and, on virtual time, on the simulated one: both journals must
contain the same events, and the calls that reached the world must match them. Compares no times,
except that nothing may happen too early. To add a scenario: a line in `SCENARIOS`. To add a rule: a
function listed in `CHECKS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, Final

import msgspec

from agenthive.core.engine.invariants import find_violations
from agenthive.core.graph.graph import Graph
from agenthive.core.history.replay import decode_events, replay
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.hash_chain import verify_chain
from agenthive.core.journal.records import Record
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.calls import Call
from agenthive.core.values import SECOND
from agenthive.errors import AgentHiveError
from agenthive.testing.agent_kit import NotConforming, require
from agenthive.testing.runtime_scenarios import SCENARIOS, Scenario
from agenthive.testing.runtime_stages import ScenarioOutcome, Stage, simulated_stage

Log = dict[str, list[dict[str, Any]]]

#: Event fields that differ between runtimes: times and random draws.
VARYING_FIELDS: Final = frozenset({"at", "draw", "away", "until", "by", "pause"})


async def check_runtime(stage: Stage, scenarios: Iterable[Scenario] = SCENARIOS) -> None:
    """Check a runtime against its contract. Raises NotConforming, which is an AssertionError."""
    reference = simulated_stage()
    for scenario in scenarios:
        expected = await reference(scenario)
        try:
            outcome = await stage(scenario)
            for rule in CHECKS:
                rule(scenario, outcome, expected)
        except (AssertionError, AgentHiveError) as error:
            raise NotConforming(f"{scenario.name}: {error}") from error


def canonical_log(records: Iterable[Record], *, ordered: bool) -> Log:
    """The events of a journal without varying fields: by task, or in one list if ``ordered``."""
    log: Log = {}
    for record in records:
        for event in msgspec.json.decode(record.payload):
            entry = {key: value for key, value in event.items() if key not in VARYING_FIELDS}
            log.setdefault("" if ordered else entry.get("task", ""), []).append(entry)
    return log


def _check_final_state(
    scenario: Scenario, outcome: ScenarioOutcome, reference: ScenarioOutcome
) -> None:
    state = _replay_outcome(scenario, outcome)
    require(state.status == scenario.status, f"the run ended {state.status}, not {scenario.status}")
    keys = state.graph.keys[: state.graph.tasks]
    actual = {key: str(kind) for key, kind in zip(keys, state.state, strict=False)}
    require(actual == scenario.tasks, f"its tasks ended as {actual}, not {scenario.tasks}")


def _replay_outcome(scenario: Scenario, outcome: ScenarioOutcome) -> RunState:
    """The state that replay gives, which must satisfy the invariants."""
    state = replay(Graph(scenario.spec), list(verify_chain(outcome.run)))
    require(not find_violations(state), f"the state violates invariants: {find_violations(state)}")
    list(verify_chain(outcome.hive))
    return state


def _check_journals(
    scenario: Scenario, outcome: ScenarioOutcome, reference: ScenarioOutcome
) -> None:
    for name, own_records, reference_records in (
        ("run", outcome.run, reference.run),
        ("hive", outcome.hive, reference.hive),
    ):
        ordered = scenario.ordered or name == "hive"
        actual, expected = (
            canonical_log(own_records, ordered=ordered),
            canonical_log(reference_records, ordered=ordered),
        )
        require(
            actual == expected,
            f"the journal of the {name} differs: {_first_difference(actual, expected)}",
        )


def _first_difference(actual: Log, expected: Log) -> str:
    """The first event that differs."""
    for key in {**expected, **actual}:
        own_entries, expected_entries = actual.get(key, []), expected.get(key, [])
        for number in range(max(len(own_entries), len(expected_entries))):
            pair = [
                log[number] if number < len(log) else None
                for log in (own_entries, expected_entries)
            ]
            if pair[0] != pair[1]:
                return f"{key or 'event'} {number + 1} is {pair[0]}, not {pair[1]}"
    return ""


def _check_calls(scenario: Scenario, outcome: ScenarioOutcome, reference: ScenarioOutcome) -> None:
    require(
        not outcome.calls_without_intent,
        f"called before the intent was on disk: {outcome.calls_without_intent}",
    )
    actual, expected = (
        sorted(outcome.calls, key=_call_position),
        sorted(reference.calls, key=_call_position),
    )
    require(actual == expected, f"the calls differ: {_describe_difference(actual, expected)}")
    require(
        outcome.cancelled_calls == scenario.hangs,
        f"{outcome.cancelled_calls} calls were cancelled, not {scenario.hangs}",
    )


def _call_position(call: Call) -> tuple[str, int]:
    return call.task, call.attempt


def _describe_difference(actual: Sequence[object], expected: Sequence[object]) -> str:
    extra = [call for call in actual if call not in expected]
    return f"{len(actual)} instead of {len(expected)}, {extra} among them"


def _check_pauses(scenario: Scenario, outcome: ScenarioOutcome, reference: ScenarioOutcome) -> None:
    for task, pause in scenario.pauses.items():
        times = [
            event.at
            for _, event in decode_events(outcome.run)
            if isinstance(event, ev.TaskStarted | ev.TaskFailed) and event.task == task
        ]
        longest = max(later - sooner for sooner, later in pairwise(times))
        require(longest >= pause * SECOND, f"'{task}' did not wait {pause} s")


def _check_time_order(
    scenario: Scenario, outcome: ScenarioOutcome, reference: ScenarioOutcome
) -> None:
    times = [event.at for _, event in decode_events(outcome.run)]
    require(times == sorted(times), "times decrease")


CHECKS: Final[tuple[Callable[[Scenario, ScenarioOutcome, ScenarioOutcome], None], ...]] = (
    _check_calls,
    _check_final_state,
    _check_journals,
    _check_pauses,
    _check_time_order,
)
