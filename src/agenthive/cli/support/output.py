"""How commands print: JSON documents with a schema id, tables and plain lines.

Data goes to standard output, everything else to standard error. Control characters in text from
outside are escaped, so that it cannot control the terminal. To add a document: a name under
``agenthive/`` and a section of `docs/reference/json.md`.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import click
import msgspec

from agenthive.core.history.report import NANO, RunReport
from agenthive.core.model.states import CLOSED, RunStatus
from agenthive.core.policies.fault_classes import CLASS_TEXTS
from agenthive.core.values import format_dollars
from agenthive.errors import AgentHiveError, ConfigurationError

LONGEST_VALUE: Final = 300
"""Characters of a result that text output shows; JSON has all of it."""
MOST_PROBLEMS: Final = 5
"""Tasks whose usage could not be read that are listed after a run."""


def print_document(schema: str, **fields: Any) -> None:
    """Print one JSON document on standard output; ``schema`` becomes agenthive/SCHEMA/1."""
    body_fields = {"schema": f"agenthive/{schema}/1", **fields}
    try:
        body = msgspec.json.encode(body_fields).decode()
    except UnicodeEncodeError:
        # A file name that is not UTF-8 holds surrogates: json escapes them, msgspec refuses them.
        body = json.dumps(msgspec.to_builtins(body_fields))
    sys.stdout.write(body + "\n")


def run_fields(report: RunReport) -> dict[str, Any]:
    """The fields of a run as ``--json`` prints them."""
    fields: dict[str, Any] = msgspec.to_builtins(report)
    return fields


def print_line(text: str = "") -> None:
    """Print a line of data on standard output."""
    sys.stdout.write(text + "\n")


def print_note(text: str = "") -> None:
    """Print a line on standard error. A closed standard error does not stop the run."""
    with contextlib.suppress(OSError):
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


def escape(text: str) -> str:
    """Escape the control characters of ``text``; line ends and tabs stay."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode()
        for char in text
    )


def print_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table with columns as wide as their content; the last column is not padded."""
    cells = [[escape(cell).replace("\n", " ") for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(heads), *cells]) for i in range(len(heads))]
    for row in [list(heads), *cells]:
        padded = [cell.ljust(widths[i]) for i, cell in enumerate(row[:-1])]
        print_line("  ".join([*padded, row[-1]]).rstrip())


def format_time(micros: int | None) -> str:
    """A timestamp (microseconds, UTC) as local time, to the second; ``-`` for None.

    One that no calendar has, as in a damaged row of the run list, is ``unknown``.
    """
    if micros is None:
        return "-"
    try:
        local_time = datetime.fromtimestamp(micros / 1e6, UTC).astimezone()
    except (ValueError, OverflowError, OSError):
        return "unknown"
    return local_time.strftime("%Y-%m-%d %H:%M:%S")


def format_duration(seconds: float) -> str:
    """A duration in seconds as text, such as ``1.20 s`` or ``3 min 05 s``."""
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, remainder = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {remainder:02} s"


def format_size(count: int) -> str:
    """A number of bytes as text with a binary unit."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:,.0f} {unit}" if unit == "B" else f"{amount:,.1f} {unit}"
        amount /= 1024
    return f"{amount:,.1f} GiB"


def print_results(report: RunReport) -> None:
    """Print the status, task counts, duration, results and errors of a run."""
    ended = RunStatus(report.status) in CLOSED
    print_line(f"Workflow {'completed with' if ended else 'not finished,'} status: {report.status}")
    print_line(f"Completed tasks: {report.completed_tasks}/{report.total_tasks}")
    print_line(f"Execution time: {report.execution_time:.2f}s")
    for title, values in (("Results", report.results), ("Errors", report.errors)):
        if values:
            print_line(f"\n{title}:")
            for name, value in values.items():
                certain = _describe_class(report, name) if title == "Errors" else ""
                print_line(f"  {escape(name)}: {truncate(escape(str(value)))}{certain}")
    # Notes on standard error come after the results, also where both go to one terminal.
    sys.stdout.flush()


def _describe_class(report: RunReport, task: str) -> str:
    """What is certain about the failed call of a task, in brackets; empty if it is not known."""
    class_ = report.tasks[task].fault_class
    return "" if class_ is msgspec.UNSET else f" ({CLASS_TEXTS[class_]})"


def format_ending(report: RunReport) -> str:
    """One line with the id, name, status and task counts of a run."""
    task_counts = f"{report.completed_tasks}/{report.total_tasks} tasks"
    return f"  {report.run_id}  {escape(report.name)}: {report.status}, {task_counts}"


def format_usage(report: RunReport) -> str:
    """The tokens and cost of a run, and what of its usage could not be read; empty for nothing."""
    lines = []
    if report.tokens or report.unpriced:
        cost = format_cost(report.cost_usd)
        lines.append(f"{report.tokens:,} tokens, {cost}{describe_unpriced(report.unpriced)}")
    problems = {name: task.usage_problem for name, task in report.tasks.items()}
    found = [f"usage of {escape(name)}: {escape(text)}" for name, text in problems.items() if text]
    lines += found[:MOST_PROBLEMS]
    if len(found) > MOST_PROBLEMS:
        more = len(found) - MOST_PROBLEMS
        lines.append(f"and {more:,} more tasks (agenthive show {report.run_id} --json)")
    return "\n".join(lines)


def format_cost(usd: float) -> str:
    """An amount of US dollars as text, to the nano-dollar."""
    return format_dollars(round(usd * NANO))


def describe_unpriced(unpriced: int) -> str:
    """The number of calls that a sum leaves out, as its price is unknown; empty if none."""
    if not unpriced:
        return ""
    calls = "call" if unpriced == 1 else "calls"
    return f", not counting {unpriced:,} {calls} of unknown price (set [prices] in the settings)"


def truncate(text: str, max_length: int = LONGEST_VALUE) -> str:
    """The first ``max_length`` characters of a text, and how many are missing."""
    return (
        text
        if len(text) <= max_length
        else f"{text[:max_length]}... ({len(text) - max_length:,} more)"
    )


def print_damage(damage: Mapping[str, str]) -> None:
    """Print on standard error which runs are not in the figures, and why."""
    for run, reason in damage.items():
        print_note(f"run {run} is not counted from its damage on: {escape(reason)}")


def print_error(error: AgentHiveError, *, as_json: bool = False) -> int:
    """Print an error and its hint, as JSON too if ``as_json``; return its exit code."""
    if as_json:
        error_fields: dict[str, Any] = {"type": type(error).__name__, "message": error.message}
        error_fields |= {"hint": error.hint}
        if isinstance(error, ConfigurationError):
            error_fields["problems"] = list(error.problems)
        print_document("error", error=error_fields)
    label = click.style("error", fg="red", bold=True)
    click.echo(f"{label}: {escape(error.message)}", err=True)
    if error.hint:
        click.echo(f"  {escape(error.hint)}", err=True)
    return error.exit_code
