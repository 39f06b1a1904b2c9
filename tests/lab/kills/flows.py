"""What the killed processes work at, as plain data: the subject runs it, the oracle judges by it.

Imports nothing, so that the oracle owes nothing to what it judges. To add a flow: an entry in
`FLOWS`, and in a scenario.
"""

from __future__ import annotations

from typing import NamedTuple


class Task(NamedTuple):
    """One task. ``action`` is what its agent does (see `subject.py`).

    ``wrapper`` is what stands around its call: people are asked (`ASK`), it is done for `ITEMS`
    items (`EACH`), or there is no call and it only waits, for a signal of its name or for a time.
    """

    name: str
    depends_on: tuple[str, ...] = ()
    action: str = "work"
    effect: str = "any"
    max_attempts: int = 2
    agent: str = "a"
    timeout: float | None = None
    has_compensation: bool = False
    wrapper: str = ""


class Flow(NamedTuple):
    """One workflow, and how it must end whatever happens to the process."""

    final_status: str
    tasks: tuple[Task, ...]
    max_parallel: int = 4
    strategy: str = "stop_on_first_failure"


class Scenario(NamedTuple):
    """Runs of one hive. ``rough``: its disk is slow and takes nothing now and then. ``patience``:
    seconds in which all of them must end or wait.
    """

    runs: tuple[str, ...]
    max_runs: int = 50
    rough: bool = False
    patience: float = 8.0


AGENTS = {"a": None, "narrow": 1}
"""Name -> how many calls it takes at once."""
COMPENSATION = "#undo"
ASK, SIGNAL, NAP, EACH = "ask", "signal", "nap", "each"
ITEMS = 5
NARROW_FLOW = Flow(
    "completed", tuple(Task(f"n{n}", action="slow", agent="narrow") for n in range(3))
)

FLOWS = {
    # Those that every crash point is tried in.
    "chain": Flow(
        "completed",
        (
            Task("a", effect="keyed"),
            Task("b", ("a",)),
            Task("c", ("b",), effect="none"),
            Task("d", ("c",), action="slow"),
            Task("e", ("d",), effect="keyed"),
        ),
    ),
    "fan": Flow(
        "completed",
        (
            Task("split"),
            *(Task(f"part{n}", ("split",), action="slow") for n in range(7)),
            Task("join", tuple(f"part{n}" for n in range(7))),
        ),
        max_parallel=3,
    ),
    "both": Flow(
        "completed",
        (
            Task("top", effect="keyed"),
            Task("left", ("top",), action="flaky"),
            Task("right", ("top",), action="slow", effect="once"),
            Task("bottom", ("left", "right"), effect="once"),
            Task("then", ("bottom",)),
        ),
    ),
    "undo": Flow(
        "compensated",
        (
            Task("book", has_compensation=True),
            Task("pay", ("book",), effect="keyed", has_compensation=True),
            Task("side", ("book",), action="slow"),
            Task("send", ("pay", "side"), has_compensation=True),
            Task("bad", ("send",), action="refuse"),
            Task("never", ("bad",)),
        ),
    ),
    "part": Flow(
        "partially_completed",
        (
            Task("one"),
            Task("hopeless", action="hopeless"),
            Task("after", ("hopeless",)),
            Task("two", ("one",), action="flaky"),
            Task("three", ("two",)),
        ),
        strategy="partial_completion_allowed",
    ),
    "people": Flow(
        "completed",
        (
            Task("draft"),
            *(Task(f"pay{n}", ("draft",), effect="once", wrapper=ASK) for n in range(3)),
            Task("look", ("draft",), effect="none", wrapper=ASK),
            Task("hear", ("draft",), wrapper=SIGNAL),
            Task("nap", ("draft",), wrapper=NAP),
            Task("end", ("pay0", "pay1", "pay2", "look", "hear", "nap")),
        ),
    ),
    "items": Flow(
        "completed",
        (
            Task("list"),
            Task("every", ("list",), action="slow", effect="keyed", wrapper=EACH),
            Task("sum", ("every",)),
        ),
        max_parallel=3,
    ),
    # What else can happen, a little of each.
    "diamond": Flow(
        "completed",
        (
            Task("top", effect="keyed"),
            Task("left", ("top",)),
            Task("right", ("top",), action="slow"),
            Task("bottom", ("left", "right")),
            Task("read", ("bottom",), effect="none"),
        ),
    ),
    "flaky": Flow("completed", (Task("fails", action="flaky"), Task("then", ("fails",)))),
    "asked": Flow("completed", (Task("limited", action="limited"),)),
    "never": Flow("failed", (Task("hopeless", action="hopeless"),)),
    "slots": Flow(
        "completed", tuple(Task(f"s{n}", action="slow") for n in range(4)), max_parallel=2
    ),
    "narrow": NARROW_FLOW,
    "saga": Flow(
        "compensated",
        (
            Task("one", has_compensation=True),
            Task("two", ("one",), has_compensation=True),
            Task("bad", ("two",), "refuse"),
        ),
    ),
    "stop": Flow(
        "failed",
        (
            Task("long", action="slow"),
            Task("after", ("long",)),
            Task("bad", action="refuse"),
            Task("z", ("after",)),
        ),
    ),
    "cancel": Flow("cancelled", (Task("forever", action="forever"), Task("after", ("forever",)))),
    "once": Flow(
        "completed", (Task("acts", action="slow", effect="once"), Task("then", ("acts",)))
    ),
    "hangs": Flow("", (Task("acts", action="forever", effect="once", timeout=0.05),)),
    "last": Flow("completed", (Task("only"),)),
}
"""An empty ``final_status``: its outcome is never known, it ends up waiting for somebody."""

REFERENCE = ("chain", "fan", "both", "undo", "part", "people", "items")
MIXED = (
    "diamond",
    "flaky",
    "asked",
    "never",
    "slots",
    "narrow",
    "saga",
    "stop",
    "cancel",
    "once",
    "hangs",
    "people",
    "items",
    "last",
)
CROWD = 50
_KINDS = (*REFERENCE, "cancel", "diamond", "flaky", "stop", "once")

SCENARIOS = {
    **{name: Scenario((name,)) for name in REFERENCE},
    "mixed": Scenario(MIXED, max_runs=5, rough=True),
    "crowd": Scenario(tuple(f"{_KINDS[n % len(_KINDS)]}.{n}" for n in range(CROWD)), patience=30.0),
}


def find_flow(run: str) -> Flow:
    """Runs are named after their flow, with a number where there are several."""
    return FLOWS[run.partition(".")[0]]
