"""What calls cost, summed from a journal: by run, workflow, task, agent, model or day.

One pass over the records of all streams, in the order they were committed. A call is counted once,
when its usage is reported, however late that is. It is booked on the agent that it was made to, and
on the day (UTC) on which it started. A call of unknown price is counted as unpriced, never as 0.
Memory grows with the rows of the sums and the calls that have not reported their usage.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, TypeAlias

import msgspec

from agenthive.core.budget.holds import CLASS_RULES, Hold, cost_of, reported_cost
from agenthive.core.history import blobs
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Record
from agenthive.core.model.calls import Usage
from agenthive.core.values import SECOND, Micros, NanoUSD

#: What costs can be summed by.
BY: Final = ("run", "workflow", "task", "agent", "model", "day")

Key: TypeAlias = tuple[str, ...]
"""The name of a row: (run, task) for a task, else one name."""
_About: TypeAlias = (
    ev.TaskSucceeded
    | ev.TaskFailed
    | ev.LateReply
    | ev.TaskCancelled
    | ev.HoldSettled
    | ev.UsageAfterEnd
)


class CostTotals(msgspec.Struct):
    """The usage of some calls."""

    #: Calls that reported their usage.
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    #: Nano-dollars, without the ``unpriced`` calls.
    cost: NanoUSD = 0
    #: Calls of unknown price.
    unpriced: int = 0
    #: Nano-dollars booked for calls that did not report what they cost.
    assumed: NanoUSD = 0
    #: Nano-dollars reserved for calls that may still report it.
    held: NanoUSD = 0

    def add(self, usage: Usage) -> None:
        """Add the usage of one call."""
        self.calls += 1
        self.input_tokens += usage.input_tokens
        self.output_tokens += usage.output_tokens
        self.cache_read_tokens += usage.cache_read_tokens
        self.cache_write_tokens += usage.cache_write_tokens
        self.reasoning_tokens += usage.reasoning_tokens
        self.cost += usage.cost or 0
        self.unpriced += usage.cost is None

    def merge(self, other: CostTotals) -> None:
        """Add the totals of other calls."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class _Call(msgspec.Struct):
    """A call that has not reported its usage."""

    agent: str
    at: Micros
    hold: Hold | None = None


class Costs:
    """Folds records into sums, which `sum_rows` gives.

    ``by`` is one of `BY`. ``since`` and ``until`` are the first and the last day (YYYY-MM-DD, UTC).
    """

    def __init__(self, by: str, since: str = "", until: str = "9999") -> None:
        if by not in BY:
            raise ValueError(f"costs can be summed by {', '.join(BY)}, not by {by!r}")
        self._by, self._since, self._until = by, since, until
        #: Name of the workflow by run.
        self._names: dict[str, str] = {}
        #: The rules that a run was accepted under, by run.
        self._rules: dict[str, int] = {}
        #: Child runs by run.
        self._children: dict[str, list[str]] = {}
        #: Calls that have not reported their usage: by run, then by (task, attempt).
        self._calls: dict[str, dict[tuple[str, int], _Call]] = {}
        #: By run, then by row.
        self._sums: dict[str, dict[Key, CostTotals]] = {}

    def add_records(self, records: Iterable[Record]) -> None:
        """Add records, in the order of their ``pos``."""
        for record in records:
            if record.stream == ev.HIVE:
                for hive_event in ev.decode_hive_events(record.payload):
                    self._on_hive_event(hive_event)
            else:
                self._rules.setdefault(record.stream, record.rules)
                for event in blobs.decode_record(record):
                    self._on_run_event(record.stream, event)

    def sum_rows(self, run: str | None = None) -> list[tuple[Key, CostTotals]]:
        """The sums by row, dearest first; with ``run`` only of that run and its child runs."""
        sums: dict[Key, CostTotals] = {}
        for run_id in self._sums.keys() | self._calls if run is None else self._run_tree(run):
            for key, spent in self._sums.get(run_id, {}).items():
                sums.setdefault(key, CostTotals()).merge(spent)
            for (task, _), call in self._calls.get(run_id, {}).items():
                hold_key = None if call.hold is None else self._row_key(run_id, task, call, "")
                if call.hold is not None and hold_key is not None:
                    sums.setdefault(hold_key, CostTotals()).held += call.hold.amount
        return sorted(sums.items(), key=lambda row: (-row[1].cost, -row[1].calls, row[0]))

    def _run_tree(self, root: str) -> list[str]:
        """A run with its child runs, and theirs."""
        runs = [root]
        for run in runs:
            runs += self._children.get(run, ())
        return runs

    def _on_run_event(self, run: str, event: ev.RunEvent) -> None:
        match event:
            case ev.RunSubmitted():
                self._names[run] = event.name
            case ev.ChildOpened():
                self._children.setdefault(run, []).append(event.run)
            case ev.TaskStarted():
                hold = Hold(event.hold, event.time, bool(event.over)) if event.hold else None
                calls = self._calls.setdefault(run, {})
                for attempt in event.over:
                    calls.pop((event.task, attempt), None)
                calls[event.task, event.attempt] = _Call(event.agent, event.time, hold)
            case ev.TaskSucceeded() | ev.TaskFailed() | ev.LateReply():
                self._record_reply(run, event)
            case ev.TaskCancelled(unmade=True):
                hold = self._find_call(run, event).hold
                if hold is None or not hold.inherited:
                    self._forget_call(run, event)
            case ev.HoldSettled():
                self._event_totals(run, event, "").assumed += event.cost
                self._forget_call(run, event)

    def _record_reply(
        self, run: str, event: ev.TaskSucceeded | ev.TaskFailed | ev.LateReply
    ) -> None:
        """Book the usage that a reply reports, or the assumed cost if it reports none."""
        call = self._find_call(run, event)
        fault = event.fault if isinstance(event, ev.TaskFailed) else None
        cached = isinstance(event, ev.TaskSucceeded) and bool(event.cached)
        rules = self._rules.get(run, CLASS_RULES)
        cost = cost_of(call.hold, event.usage, fault, cached=cached, rules=rules)
        if event.usage is not None:
            self._event_totals(run, event, event.usage.model).add(event.usage)
        reported = (event.usage.cost if event.usage is not None else None) or 0
        if cost and cost > reported:
            self._event_totals(run, event, "").assumed += cost - reported
        if cost is None:
            return
        if event.usage is None and not cost and fault is not None:
            call.hold = None  # A late reply may still report the usage.
        else:
            self._forget_call(run, event)

    def _on_hive_event(self, event: ev.HiveEvent) -> None:
        if isinstance(event, ev.UsageAfterEnd):
            self._event_totals(event.run, event, event.usage.model).add(event.usage)
            # Of what was assumed, the part stays that the reported cost does not replace.
            remaining = reported_cost(event.usage, event.booked) - (event.usage.cost or 0)
            self._event_totals(event.run, event, "").assumed += remaining - event.booked
            self._forget_call(event.run, event)
        elif isinstance(event, ev.RunClosed):
            # Holds that are open when a run ends are booked as spent.
            for (task, _), call in self._calls.get(event.run, {}).items():
                if call.hold is not None:
                    self._call_totals(event.run, task, call, "").assumed += call.hold.amount
                    call.hold = None

    def _find_call(self, run: str, event: _About) -> _Call:
        call = self._calls.get(run, {}).get((event.task, event.attempt))
        return _Call("?", event.time) if call is None else call

    def _forget_call(self, run: str, event: _About) -> None:
        self._calls.get(run, {}).pop((event.task, event.attempt), None)

    def _event_totals(self, run: str, event: _About, model: str) -> CostTotals:
        return self._call_totals(run, event.task, self._find_call(run, event), model)

    def _call_totals(self, run: str, task: str, call: _Call, model: str) -> CostTotals:
        """The totals that a call belongs to; discarded totals if its day is not included."""
        key = self._row_key(run, task, call, model)
        return (
            CostTotals()
            if key is None
            else self._sums.setdefault(run, {}).setdefault(key, CostTotals())
        )

    def _row_key(self, run: str, task: str, call: _Call, model: str) -> Key | None:
        """The row that a call belongs to; None if its day is not included."""
        day = datetime.fromtimestamp(call.at // SECOND, UTC).date().isoformat()
        if not self._since <= day <= self._until:
            return None
        keys: dict[str, Key] = {
            "run": (run,),
            "workflow": (self._names.get(run, "?"),),
            "task": (run, task),
            "agent": (call.agent,),
            "model": (model or "?",),
            "day": (day,),
        }
        return keys[self._by]


def sum_totals(rows: Iterable[tuple[Key, CostTotals]]) -> CostTotals:
    """The sum of all rows."""
    totals = CostTotals()
    for _, spent in rows:
        totals.merge(spent)
    return totals
