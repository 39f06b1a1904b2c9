"""What the killed processes work at, as plain data: the subject runs it, the oracle judges by it.

Imports nothing, so that the oracle owes nothing to what it judges. To add a flow: an entry in
`FLOWS`, and in a scenario.
"""

from __future__ import annotations

from typing import NamedTuple


class Task(NamedTuple):
    """One task. ``do`` is what its agent does: see `subject.py`. ``undo``: it can be undone.

    ``around`` is what stands around its call: people are asked (`ASK`), it is done for `ITEMS`
    items (`EACH`), or there is no call and it only waits, for a signal of its name or for a time.
    """

    name: str
    after: tuple[str, ...] = ()
    do: str = "work"
    effect: str = "any"
    tries: int = 2
    agent: str = "a"
    timeout: float | None = None
    undo: bool = False
    around: str = ""


class Flow(NamedTuple):
    """One workflow, and how it must end whatever happens to the process."""

    ends: str
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
UNDO = "#undo"
ASK, SIGNAL, NAP, EACH = "ask", "signal", "nap", "each"
ITEMS = 5
NARROW_FLOW = Flow("completed", tuple(Task(f"n{n}", do="slow", agent="narrow") for n in range(3)))

FLOWS = {
    # Those that every crash point is tried in.
    "chain": Flow(
        "completed",
        (
            Task("a", effect="keyed"),
            Task("b", ("a",)),
            Task("c", ("b",), effect="none"),
            Task("d", ("c",), do="slow"),
            Task("e", ("d",), effect="keyed"),
        ),
    ),
    "fan": Flow(
        "completed",
        (
            Task("split"),
            *(Task(f"part{n}", ("split",), do="slow") for n in range(7)),
            Task("join", tuple(f"part{n}" for n in range(7))),
        ),
        max_parallel=3,
    ),
    "both": Flow(
        "completed",
        (
            Task("top", effect="keyed"),
            Task("left", ("top",), do="flaky"),
            Task("right", ("top",), do="slow", effect="once"),
            Task("bottom", ("left", "right"), effect="once"),
            Task("then", ("bottom",)),
        ),
    ),
    "undo": Flow(
        "compensated",
        (
            Task("book", undo=True),
            Task("pay", ("book",), effect="keyed", undo=True),
            Task("side", ("book",), do="slow"),
            Task("send", ("pay", "side"), undo=True),
            Task("bad", ("send",), do="refuse"),
            Task("never", ("bad",)),
        ),
    ),
    "part": Flow(
        "partially_completed",
        (
            Task("one"),
            Task("hopeless", do="hopeless"),
            Task("after", ("hopeless",)),
            Task("two", ("one",), do="flaky"),
            Task("three", ("two",)),
        ),
        strategy="partial_completion_allowed",
    ),
    "people": Flow(
        "completed",
        (
            Task("draft"),
            *(Task(f"pay{n}", ("draft",), effect="once", around=ASK) for n in range(3)),
            Task("look", ("draft",), effect="none", around=ASK),
            Task("hear", ("draft",), around=SIGNAL),
            Task("nap", ("draft",), around=NAP),
            Task("end", ("pay0", "pay1", "pay2", "look", "hear", "nap")),
        ),
    ),
    "items": Flow(
        "completed",
        (
            Task("list"),
            Task("every", ("list",), do="slow", effect="keyed", around=EACH),
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
            Task("right", ("top",), do="slow"),
            Task("bottom", ("left", "right")),
            Task("read", ("bottom",), effect="none"),
        ),
    ),
    "flaky": Flow("completed", (Task("fails", do="flaky"), Task("then", ("fails",)))),
    "asked": Flow("completed", (Task("limited", do="limited"),)),
    "never": Flow("failed", (Task("hopeless", do="hopeless"),)),
    "slots": Flow("completed", tuple(Task(f"s{n}", do="slow") for n in range(4)), max_parallel=2),
    "narrow": NARROW_FLOW,
    "saga": Flow(
        "compensated",
        (Task("one", undo=True), Task("two", ("one",), undo=True), Task("bad", ("two",), "refuse")),
    ),
    "stop": Flow(
        "failed",
        (
            Task("long", do="slow"),
            Task("after", ("long",)),
            Task("bad", do="refuse"),
            Task("z", ("after",)),
        ),
    ),
    "cancel": Flow("cancelled", (Task("forever", do="forever"), Task("after", ("forever",)))),
    "once": Flow("completed", (Task("acts", do="slow", effect="once"), Task("then", ("acts",)))),
    "hangs": Flow("", (Task("acts", do="forever", effect="once", timeout=0.05),)),
    "last": Flow("completed", (Task("only"),)),
}
"""An empty ``ends``: its outcome is never known, it ends up waiting for somebody."""

REFERENCE = ("chain", "fan", "both", "undo", "part", "people", "items")
MIXED = (
    "diamond", "flaky", "asked", "never", "slots", "narrow", "saga", "stop", "cancel", "once",
    "hangs", "people", "items", "last",
)  # fmt: skip
CROWD = 50
_KINDS = (*REFERENCE, "cancel", "diamond", "flaky", "stop", "once")

SCENARIOS = {
    **{name: Scenario((name,)) for name in REFERENCE},
    "mixed": Scenario(MIXED, max_runs=5, rough=True),
    "crowd": Scenario(tuple(f"{_KINDS[n % len(_KINDS)]}.{n}" for n in range(CROWD)), patience=30.0),
}


def flow_of(run: str) -> Flow:
    """Runs are named after their flow, with a number where there are several."""
    return FLOWS[run.partition(".")[0]]
