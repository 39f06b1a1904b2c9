"""How commands print: JSON documents with a schema id, tables and lines for people.

Standard output is data, standard error the rest. Text that came from outside is shown with its
control characters spelled out, so that it cannot steer a terminal. To add a document: a name under
``agenthive/`` and a page of `docs/reference/json.md`.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import click
import msgspec

from agenthive.core.history.report import NANO, RunReport
from agenthive.core.model.states import CLOSED, RunStatus
from agenthive.core.values import dollars
from agenthive.errors import AgentHiveError, ConfigurationError

LONGEST_VALUE: Final = 300
"""Characters of a result that are shown to people; JSON has all of it."""


def document(schema: str, **fields: Any) -> None:
    """One JSON document on standard output."""
    said = {"schema": f"agenthive/{schema}/1", **fields}
    try:
        body = msgspec.json.encode(said).decode()
    except UnicodeEncodeError:
        # The name of a file that is not text: JSON can hold it, msgspec does not.
        body = json.dumps(msgspec.to_builtins(said))
    sys.stdout.write(body + "\n")


def run_document(report: RunReport) -> dict[str, Any]:
    """A run as ``--json`` prints it."""
    found: dict[str, Any] = msgspec.to_builtins(report)
    return found


def line(text: str = "") -> None:
    """A line of data for people."""
    sys.stdout.write(text + "\n")


def note(text: str = "") -> None:
    """A line beside the data. A run goes on though nobody takes it."""
    with contextlib.suppress(OSError):
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


def safe(text: str) -> str:
    """``text`` with control characters spelled out; line ends and tabs stay."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text
    )


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns as wide as what is in them; the last one as it comes."""
    cells = [[safe(cell).replace("\n", " ") for cell in row] for row in rows]
    wide = [max(len(row[i]) for row in [list(heads), *cells]) for i in range(len(heads))]
    for row in [list(heads), *cells]:
        padded = [cell.ljust(wide[i]) for i, cell in enumerate(row[:-1])]
        line("  ".join([*padded, row[-1]]).rstrip())


def moment(micros: int | None) -> str:
    """A time for people: local, to the second."""
    if micros is None:
        return "-"
    at = datetime.fromtimestamp(micros / 1e6, UTC).astimezone()
    return at.strftime("%Y-%m-%d %H:%M:%S")


def span(seconds: float) -> str:
    """A length of time for people."""
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def size(count: int) -> str:
    """A number of bytes for people."""
    number = float(count)
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:,.0f} {unit}" if unit == "B" else f"{number:,.1f} {unit}"
        number /= 1024
    return f"{number:,.1f} GiB"


def results(report: RunReport) -> None:
    """A run: status, counts, time, results and errors."""
    ended = RunStatus(report.status) in CLOSED
    line(f"Workflow {'completed with' if ended else 'not finished,'} status: {report.status}")
    line(f"Completed tasks: {report.completed_tasks}/{report.total_tasks}")
    line(f"Execution time: {report.execution_time:.2f}s")
    for title, values in (("Results", report.results), ("Errors", report.errors)):
        if values:
            line(f"\n{title}:")
            for name, value in values.items():
                line(f"  {safe(name)}: {cut(safe(str(value)))}")
    # What is said beside it comes after it, also where both go to one place.
    sys.stdout.flush()


def ending(report: RunReport) -> str:
    """One line about a run: what it came to."""
    done = f"{report.completed_tasks}/{report.total_tasks} tasks"
    return f"  {report.run_id}  {safe(report.name)}: {report.status}, {done}"


def spent(report: RunReport) -> str:
    """One line about what a run used; empty if it used no tokens."""
    if not report.tokens:
        return ""
    return f"{report.tokens:,} tokens, {money(report.cost_usd)}{without(report.unpriced)}"


def money(usd: float) -> str:
    """US dollars, to the nano-dollar."""
    return dollars(round(usd * NANO))


def without(unpriced: int) -> str:
    """What a sum of money leaves out; empty if nothing."""
    if not unpriced:
        return ""
    return f", without {unpriced:,} of unknown price (see [prices] in the settings)"


def cut(text: str, most: int = LONGEST_VALUE) -> str:
    """The beginning of a long text, and how much is missing."""
    return text if len(text) <= most else f"{text[:most]}... ({len(text) - most:,} more)"


def fail(error: AgentHiveError, *, as_json: bool = False) -> int:
    """Say what went wrong, where, and what to do; the exit code."""
    if as_json:
        told: dict[str, Any] = {"type": type(error).__name__, "message": error.message}
        told |= {"hint": error.hint}
        if isinstance(error, ConfigurationError):
            told["problems"] = list(error.problems)
        document("error", error=told)
    label = click.style("error", fg="red", bold=True)
    click.echo(f"{label}: {safe(error.message)}", err=True)
    if error.hint:
        click.echo(f"  {safe(error.hint)}", err=True)
    return error.exit_code
