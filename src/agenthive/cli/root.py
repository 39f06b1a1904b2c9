"""The group of all commands: imports a command on its first use and ends the process.

Has the name and the one-line description of each command, so that `--help` imports none of them.
Turns errors into one message and an exit code. To add a command: a line in `COMMANDS`.
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
    "run": "Run a workflow and show its progress.",
    "resume": "Continue unfinished runs.",
    "work": "Process the runs and schedules of a home in the foreground.",
    "validate": "Check workflow files without running them.",
    "plan": "Estimate the cost and duration of a workflow before it runs.",
    "simulate": "Simulate a workflow on virtual time, with injected faults.",
    "ps": "List runs.",
    "show": "Show the tasks, results and errors of a run.",
    "why": "Explain why the open tasks of a run are waiting.",
    "costs": "Show the cost of calls by run, task, agent, model or day.",
    "budget": "Show and change budgets.",
    "events": "Print the events of a run, oldest first.",
    "approvals": "List pending approvals.",
    "approve": "Approve the pending action of a task.",
    "reject": "Reject the pending action of a task.",
    "signal": "Send a signal to a run.",
    "resolve": "Record the outcome of a call whose outcome is unknown.",
    "cancel": "Cancel an open run.",
    "migrate": "Move an open run to a changed workflow.",
    "fork": "Start a new run from a task of an earlier run.",
    "replay": "Replay the events of a run without calling any agent.",
    "schedule": "Start workflows on a schedule.",
    "du": "Show the disk usage of a home.",
    "gc": "Delete ended runs whose retention time has passed.",
    "export": "Export a run to a file.",
    "import": "Import a run from a file.",
    "agents": "List the agent kinds and the registered custom agents.",
    "tools": "Print the tools of MCP servers as YAML for a workflow.",
    "config": "Show the settings and the origin of each value.",
    "doctor": "Check this installation, its home and the journal.",
    "completion": "Print the completion script for a shell.",
}
"""Name -> its line in the help text, which shows the commands in this order."""


class CommandGroup(click.Group):
    """A click group that imports a command on its first use."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Return the names of all commands, in the order of the help text."""
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Import and return the command of that name; None if there is none."""
        if name not in COMMANDS:
            return None
        file = f"{name}_" if keyword.iskeyword(name) else name
        module = importlib.import_module(f"agenthive.cli.commands.{file}")
        command: click.Command = module.command
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, context: click.Context) -> Any:
        """Run the command; turn an AgentHiveError into a message and an exit code."""
        try:
            result = super().invoke(context)
            sys.stdout.flush()
            return result
        except BrokenPipeError:
            _silence_output()
            return 0
        except AgentHiveError as error:
            from agenthive.cli.support.output import print_error

            return print_error(error, as_json=context.meta.get(JSON, False))

    def main(self, args: Sequence[str] | None = None, **options: Any) -> Any:  # type: ignore[override]
        """Run, then end the process with the exit code of the command."""
        standalone = options.pop("standalone_mode", True)
        _ensure_outputs()
        run = partial(super().main, args, standalone_mode=False, **options)
        return _exit_process(_run_guarded(run)) if standalone else run()


def _run_guarded(run: Callable[[], Any]) -> int:
    try:
        result = run()
    except click.ClickException as error:
        error.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        _silence_output()
        return 0
    except OSError as error:
        _silence_output()
        click.echo(f"error: cannot read a file or write the output: {error}", err=True)
        return 1
    return result if isinstance(result, int) else 0


def _ensure_outputs() -> None:
    """Replace closed standard streams, so that no file opened later gets their descriptor."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - open until the process ends
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file name may hold bytes that are not UTF-8, and a terminal may lack characters.
        sys.stdout.reconfigure(errors="backslashreplace")


def _silence_output() -> None:
    """Redirect standard output to /dev/null: its reader is gone, and Python flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _exit_process(code: int) -> NoReturn:
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    python_agents = sys.modules.get("agenthive.agents.python")
    if python_agents is not None and python_agents.has_running_calls():
        # A custom agent still runs in a thread, which cannot be stopped; a normal exit of Python
        # would wait for it.
        os._exit(code)
    sys.exit(code)


@click.command(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="agenthive")
def main() -> None:
    """Run durable workflows of AI agents.

    A workflow file declares agents and tasks; `agenthive run FILE` runs it. Every step is recorded
    in the home, the state directory (--home, AGENTHIVE_HOME), before it is executed, so that
    `agenthive resume` can continue a run that was interrupted.
    """
