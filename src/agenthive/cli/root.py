"""The group of all commands: finds them when they are needed, and ends as they say.

Knows the name and one line about each command, so that `--help` imports none of them. Turns errors
into one message and an exit code. To add a command: a line in `COMMANDS`.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import keyword
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NoReturn

import click

from agenthive import __version__
from agenthive.cli.support.options import JSON
from agenthive.errors import AgentHiveError

COMMANDS: Final = {
    "run": "Run a workflow and show how it goes.",
    "resume": "Go on with unfinished runs.",
    "work": "Own a home in the foreground: resume its runs and take in new ones.",
    "validate": "Check workflow files without running anything.",
    "plan": "Say what a workflow may cost and how long it may take, before it is run.",
    "simulate": "Play a workflow on virtual time, with faults, and say what came of it.",
    "ps": "List the runs of a home.",
    "show": "Show what a run came to.",
    "why": "Say why each open task of a run does not go on.",
    "costs": "Show what calls cost, by run, task, agent, model or day.",
    "budget": "Show and change what may be spent.",
    "events": "Print the facts of a run, oldest first.",
    "approvals": "List the approvals that are waited for.",
    "approve": "Approve what a task is going to do.",
    "reject": "Reject what a task is going to do.",
    "signal": "Send a signal to a run.",
    "resolve": "Say what came of a call nobody knows about.",
    "cancel": "Cancel an open run.",
    "migrate": "Let an open run go on under a changed workflow.",
    "fork": "Do a run again from one task on.",
    "replay": "Apply a run's facts again, calling nobody.",
    "schedule": "Start a workflow again and again.",
    "du": "Show how much room a home takes, and what for.",
    "gc": "Drop runs that ended long ago, and give their room back.",
    "export": "Write one run into a file.",
    "import": "Take in a run from a file.",
    "agents": "List the kinds of agent and the custom agents that are known.",
    "tools": "Ask MCP servers for their tools, as text for a workflow.",
    "config": "Show the settings and where each comes from.",
    "doctor": "Check this installation and the journal of its home.",
    "completion": "Print the completion script of a shell.",
}
"""Name -> what it does. The order is that of the help text."""

_SETTINGS: Final[dict[str, Any]] = {"help_option_names": ["-h", "--help"]}
"""Settings of every click context."""


class Commands(click.Group):
    """Imports a command when it is asked for."""

    def list_commands(self, context: click.Context) -> list[str]:
        """All names, in order."""
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command of that name."""
        if name not in COMMANDS:
            return None
        file = f"{name}_" if keyword.iskeyword(name) else name
        module = importlib.import_module(f"agenthive.cli.commands.{file}")
        command: click.Command = module.command
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Names and lines, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, context: click.Context) -> Any:
        """Run the command; an error of ours becomes a message and an exit code."""
        try:
            result = super().invoke(context)
            sys.stdout.flush()
            return result
        except BrokenPipeError:
            _silence()
            return 0
        except AgentHiveError as error:
            from agenthive.cli.support.output import fail

            return fail(error, as_json=context.meta.get(JSON, False))

    def main(self, args: Sequence[str] | None = None, **named: Any) -> Any:  # type: ignore[override]
        """Run, then end the process with the command's exit code."""
        standalone = named.pop("standalone_mode", True)
        _have_outputs()
        run = partial(super().main, args, standalone_mode=False, **named)
        return leave(_guarded(run)) if standalone else run()


async def run_file(arguments: Sequence[str], *, prog_name: str) -> int:
    """`agenthive run` for a program that has an event loop already; gives the exit code."""
    from agenthive.cli.commands import run

    _have_outputs()
    meta: dict[str, Any] = {}
    try:
        with run.command.make_context(prog_name, list(arguments), **_SETTINGS) as context:
            meta = context.meta
            code = await run.execute(**context.params)
            sys.stdout.flush()
            return code
    except AgentHiveError as error:
        from agenthive.cli.support.output import fail

        return fail(error, as_json=meta.get(JSON, False))
    except _ENDINGS as error:
        return _report_ending(error)


def _guarded(run: Callable[[], Any]) -> int:
    try:
        result = run()
    except _ENDINGS as error:
        return _report_ending(error)
    return result if isinstance(result, int) else 0


_ENDINGS: Final = (
    click.ClickException,
    click.exceptions.Exit,
    click.Abort,
    KeyboardInterrupt,
    OSError,
)
"""How a command may end besides with a result; errors of ours are reported before."""


def _report_ending(error: BaseException) -> int:
    """Show why a command ended, if there is anything to show; its exit code."""
    match error:
        case click.exceptions.Exit():
            return error.exit_code
        case click.ClickException():
            error.show()
            return 2
        case click.Abort() | KeyboardInterrupt():
            return 130
        case BrokenPipeError():
            _silence()
            return 0
    _silence()
    click.echo(f"error: a file or the output cannot be used: {error}", err=True)
    return 1


def _have_outputs() -> None:
    """Nothing that is opened later must get the number of an output that was closed for us."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for as long as the process lasts
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        # File names need not be text, and terminals need not know all of it.
        sys.stdout.reconfigure(errors="backslashreplace")


def _silence() -> None:
    """Whoever read our output has gone: say nothing more, not even when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def functions_are_busy() -> bool:
    """Whether a function of the operator's is still in its thread and cannot be stopped."""
    functions = sys.modules.get("agenthive.agents.python")
    return functions is not None and functions.busy()


def leave(code: int) -> NoReturn:
    """End the process with this exit code."""
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    if functions_are_busy():
        # Python would wait for it.
        os._exit(code)
    sys.exit(code)


@click.command(cls=Commands, context_settings=_SETTINGS)
@click.version_option(__version__, prog_name="agenthive")
def main() -> None:
    """Durable workflows of AI agents.

    A workflow file names agents and tasks; `agenthive run FILE` carries it out. Everything is on
    disk before it is done, in the home (--home, AGENTHIVE_HOME), so a run that was cut off goes on
    with `agenthive resume`.
    """
