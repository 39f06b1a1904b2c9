"""How many calls our journal has and how many the other side got, by scenario and vendor.

    .venv/bin/python -m tests.agents.show_models

Each scenario is a run of a hive on disk; the other side is aimock, whose journal counts by itself.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from agenthive import Hive, RetryPolicy, RunReport
from agenthive.core.journal import run_events as ev
from agenthive.core.model.workflow import FailureStrategy, TaskSpec, WorkflowSpec
from tests.agents.aimock import Aimock, serving
from tests.requires import THINGS

RETRY: Final = RetryPolicy(max_attempts=3, initial_delay=0.01, jitter=False)
TOOLS: Final = [{"name": "get_weather", "input_schema": {"type": "object"}}]


def task(name: str, says: str, *after: str, **parameters: Any) -> TaskSpec:
    """A task that says one thing to the model."""
    given = {"messages": [{"role": "user", "content": says}], **parameters}
    return TaskSpec(
        name=name, agent="model", action="chat_completion", depends_on=after, parameters=given
    )


HELLO: Final = task("hello", "say hello", system="You are kind.")
WEATHER: Final = task("weather", "weather in Köln?", tools=TOOLS)
BUSY: Final = task("busy", "are you busy?")
OVERLOADED: Final = task("overloaded", "overloaded?")
GARBLED: Final = task("garbled", "something garbled")
DROPPED: Final = task("dropped", "hang up on me")
REFUSED: Final = task("refused", "no entry")
WHOLE: Final = (
    HELLO,
    WEATHER,
    *(msgspec.structs.replace(t, depends_on=("hello",)) for t in (BUSY, OVERLOADED)),
    *(msgspec.structs.replace(t, depends_on=("weather",)) for t in (GARBLED, DROPPED)),
    TaskSpec(
        name="last",
        agent="model",
        action="summarize",
        description="say hello to all of them",
        depends_on=("busy", "overloaded", "garbled", "dropped"),
    ),
)

SCENARIOS: Final[Mapping[str, tuple[TaskSpec, ...]]] = {
    "completion": (HELLO,),
    "tool call": (WEATHER,),
    "429 with Retry-After: 1": (BUSY,),
    "529 overloaded": (OVERLOADED,),
    "malformed reply": (GARBLED,),
    "dropped connection": (DROPPED,),
    "401": (REFUSED,),
    "all in one workflow": WHOLE,
}


class Told(msgspec.Struct):
    """One scenario: its report, the attempts in our journal, the calls in theirs."""

    report: RunReport
    started: list[ev.TaskStarted]
    failed: list[ev.TaskFailed]
    calls: list[dict[str, Any]]


async def tell(mock: Aimock, vendor: str, tasks: tuple[TaskSpec, ...], home: Path) -> Told:
    """Run it in a home of its own, and read both journals."""
    test = f"{vendor}-{home.name}"
    workflow = WorkflowSpec(
        name="w",
        agents=(mock.spec(vendor, test, retry=RETRY),),
        tasks=tasks,
        max_parallel=4,
        failure_strategy=FailureStrategy.CONTINUE,
    )
    async with Hive.open(home) as hive:
        report = await hive.run(workflow)
        facts = [fact async for fact in hive.watch(report.run_id)]
    started = [fact.data for fact in facts if fact.type == "task.started"]
    failed = [fact.data for fact in facts if fact.type == "task.failed"]
    return Told(
        report,
        [msgspec.json.decode(data, type=ev.TaskStarted) for data in started],
        [msgspec.json.decode(data, type=ev.TaskFailed) for data in failed],
        mock.journal(test),
    )


async def main() -> int:
    """Print the table; 1 if a count differs."""
    there, how = THINGS["node"]
    if not there():
        print(f"this needs node: {how}", file=sys.stderr)
        return 1
    wrong = 0
    with serving() as mock, tempfile.TemporaryDirectory() as folder:
        print(f"{'vendor':10} {'scenario':24} {'our attempts':>12} {'their calls':>12}  outcome")
        for vendor in ("openai", "anthropic"):
            for number, (name, tasks) in enumerate(SCENARIOS.items()):
                told = await tell(mock, vendor, tasks, Path(folder) / f"{vendor}{number}")
                ours, theirs = len(told.started), len(told.calls)
                wrong += ours != theirs
                faults = ", ".join(sorted({one.fault.kind for one in told.failed})) or "-"
                outcome = f"{told.report.status}; faults: {faults}"
                print(f"{vendor:10} {name:24} {ours:12} {theirs:12}  {outcome}")
    print("the counts agree" if not wrong else f"{wrong} counts differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
