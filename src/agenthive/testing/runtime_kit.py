"""For runtimes: the kit that says when a new one is done.

    await check_runtime(live(lambda name: SqliteStore.open(folder / name), MyRuntime))
    await check_runtime(my_stage)      # a runtime that is driven in another way

Plays every scenario on the runtime and, on virtual time, on the simulated one: the journals must
say the same, and what reached the world must be what they say. Never compares times, but that
nothing comes too early. A new scenario is a line in `scenarios`, a new rule one in `CHECKS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, Final

import msgspec

from agenthive.core.engine.invariants import violations
from agenthive.core.graph.graph import Graph
from agenthive.core.history.replay import facts, replay
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.hash_chain import check
from agenthive.core.journal.records import Record
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.calls import Call
from agenthive.core.values import SECOND
from agenthive.errors import AgentHiveError
from agenthive.testing.agent_kit import NotConforming, require
from agenthive.testing.runtime_scenarios import SCENARIOS, Scenario
from agenthive.testing.runtime_stages import Played, Stage, simulated

Log = dict[str, list[dict[str, Any]]]

VARIES: Final = frozenset({"at", "draw", "away", "until", "by", "pause"})
"""What differs between runtimes: times and dice."""


async def check_runtime(stage: Stage, scenarios: Iterable[Scenario] = SCENARIOS) -> None:
    """Check a runtime against the contract. Raises NotConforming, which is an AssertionError."""
    reference = simulated()
    for scenario in scenarios:
        wanted = await reference(scenario)
        try:
            played = await stage(scenario)
            for one in CHECKS:
                one(scenario, played, wanted)
        except (AssertionError, AgentHiveError) as error:
            raise NotConforming(f"{scenario.name}: {error}") from error


def canonical(records: Iterable[Record], *, ordered: bool) -> Log:
    """What a journal says, without what varies: facts by task, or in one list if ``ordered``."""
    log: Log = {}
    for record in records:
        for event in msgspec.json.decode(record.payload):
            fact = {key: value for key, value in event.items() if key not in VARIES}
            log.setdefault("" if ordered else fact.get("task", ""), []).append(fact)
    return log


def _comes_to_the_right_end(scenario: Scenario, played: Played, wanted: Played) -> None:
    state = _state(scenario, played)
    require(state.status == scenario.status, f"it ended {state.status}, not {scenario.status}")
    keys = state.graph.keys[: state.graph.tasks]
    found = {key: str(kind) for key, kind in zip(keys, state.state, strict=False)}
    require(found == scenario.tasks, f"its tasks came to {found}, not {scenario.tasks}")


def _state(scenario: Scenario, played: Played) -> RunState:
    """The state that the journal leads to, which must be sound."""
    state = replay(Graph(scenario.spec), list(check(played.run)))
    require(not violations(state), f"the state is not sound: {violations(state)}")
    list(check(played.hive))
    return state


def _says_the_same(scenario: Scenario, played: Played, wanted: Played) -> None:
    for name, ours, theirs in (
        ("run", played.run, wanted.run),
        ("hive", played.hive, wanted.hive),
    ):
        ordered = scenario.ordered or name == "hive"
        found, right = canonical(ours, ordered=ordered), canonical(theirs, ordered=ordered)
        require(found == right, f"the journal of the {name} differs: {_first(found, right)}")


def _first(found: Log, right: Log) -> str:
    """The first fact that differs."""
    for key in {**right, **found}:
        ours, theirs = found.get(key, []), right.get(key, [])
        for number in range(max(len(ours), len(theirs))):
            pair = [log[number] if number < len(log) else None for log in (ours, theirs)]
            if pair[0] != pair[1]:
                return f"{key or 'fact'} {number + 1} is {pair[0]}, not {pair[1]}"
    return ""


def _calls_what_it_says(scenario: Scenario, played: Played, wanted: Played) -> None:
    require(not played.unwritten, f"called before the intent was on disk: {played.unwritten}")
    ours, theirs = sorted(played.calls, key=_number), sorted(wanted.calls, key=_number)
    require(ours == theirs, f"the calls differ: {_differ(ours, theirs)}")
    require(
        played.given_up == scenario.hangs,
        f"{played.given_up} calls were given up, not {scenario.hangs}",
    )


def _number(call: Call) -> tuple[str, int]:
    return call.task, call.attempt


def _differ(ours: Sequence[object], theirs: Sequence[object]) -> str:
    more = [one for one in ours if one not in theirs]
    return f"{len(ours)} instead of {len(theirs)}, {more} among them"


def _waits_long_enough(scenario: Scenario, played: Played, wanted: Played) -> None:
    for task, pause in scenario.pauses.items():
        times = [
            event.at
            for _, event in facts(played.run)
            if isinstance(event, ev.TaskStarted | ev.TaskFailed) and event.task == task
        ]
        longest = max(later - sooner for sooner, later in pairwise(times))
        require(longest >= pause * SECOND, f"'{task}' did not wait {pause} s")


def _times_only_grow(scenario: Scenario, played: Played, wanted: Played) -> None:
    times = [event.at for _, event in facts(played.run)]
    require(times == sorted(times), "times go back")


CHECKS: Final[tuple[Callable[[Scenario, Played, Played], None], ...]] = (
    _calls_what_it_says,
    _comes_to_the_right_end,
    _says_the_same,
    _waits_long_enough,
    _times_only_grow,
)
