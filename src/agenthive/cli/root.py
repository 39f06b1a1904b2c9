"""The group of all commands: imports a command on its first use and ends the process.

A file in `commands/` is the command of that name. Its ``short_help`` is read from the source, so
that `--help` imports none of them. Turns errors into one message and an exit code.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import io
import os
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from agenthive import __version__
from agenthive.cli.support.options import JSON
from agenthive.errors import AgentHiveError, InternalError, describe_defect
from agenthive.infra.discovery import list_modules

ORDER: Final = (
    *("run", "resume", "work", "validate", "plan", "simulate"),
    *("ps", "show", "why", "costs", "budget", "events"),
    *("approvals", "approve", "reject", "signal", "resolve"),
    *("cancel", "migrate", "fork", "replay", "schedule"),
    *("du", "gc", "export", "import"),
    *("agents", "tools", "config", "doctor", "completion"),
)
"""The order of the help text; other commands follow, in the order of their names."""
PACKAGE: Final = "agenthive.cli.commands"
_SHORT_HELP: Final = re.compile(r'\bshort_help="([^"]+)"')


_SETTINGS: Final[dict[str, Any]] = {"help_option_names": ["-h", "--help"]}
"""Settings of every click context."""


@functools.cache
def find_commands() -> Mapping[str, str]:
    """Map the name of each command to its module, in the order of the help text."""
    files = {file.rstrip("_"): file for file in list_modules(PACKAGE)}
    names = [*(name for name in ORDER if name in files), *(name for name in files)]
    return {name: files[name] for name in dict.fromkeys(names)}


def describe_command(name: str) -> str:
    """The line of a command in the help text, read from its source: importing all is slow."""
    spec = importlib.util.find_spec(f"{PACKAGE}.{find_commands()[name]}")
    source = None if spec is None else spec.loader.get_source(spec.name)  # type: ignore[union-attr]
    text = _SHORT_HELP.search(source or "")
    return text[1] if text is not None else load_command(name).get_short_help_str(100)


def load_command(name: str) -> click.Command:
    """Import a command."""
    module = importlib.import_module(f"{PACKAGE}.{find_commands()[name]}")
    command: click.Command = module.command
    return command


class CommandGroup(click.Group):
    """A click group that imports a command on its first use."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Return the names of all commands, in the order of the help text."""
        return list(find_commands())

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Import and return the command of that name; None if there is none."""
        return load_command(name) if name in find_commands() else None

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, describe_command(name)) for name in find_commands()])

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
        return exit_process(_run_guarded(run)) if standalone else run()


async def run_file(arguments: Sequence[str], *, prog_name: str) -> int:
    """Execute `agenthive run` in a program with a running event loop; return the exit code."""
    from agenthive.cli.commands import run

    _ensure_outputs()
    meta: dict[str, Any] = {}
    try:
        with run.command.make_context(prog_name, list(arguments), **_SETTINGS) as context:
            meta = context.meta
            code = await run.execute_command(**context.params)
            sys.stdout.flush()
            return code
    except AgentHiveError as error:
        from agenthive.cli.support.output import print_error

        return print_error(error, as_json=meta.get(JSON, False))
    except _ENDINGS as error:
        return _report_ending(error)


def _run_guarded(run: Callable[[], Any]) -> int:
    try:
        result = run()
    except _ENDINGS as error:
        return _report_ending(error)
    except Exception as error:
        return _report_defect(error)
    return result if isinstance(result, int) else 0


_ENDINGS: Final = (
    click.ClickException,
    click.exceptions.Exit,
    click.Abort,
    KeyboardInterrupt,
    OSError,
)
"""Exceptions that end a command, except those of agenthive, which are handled before."""


def _report_ending(error: BaseException) -> int:
    """Print why a command ended, if that needs a message; return its exit code."""
    match error:
        case click.exceptions.Exit():
            return error.exit_code
        case click.ClickException():
            error.show()
            return 2
        case click.Abort() | KeyboardInterrupt():
            return 130
        case BrokenPipeError():
            _silence_output()
            return 0
    _silence_output()
    click.echo(f"error: cannot read a file or write the output: {error}", err=True)
    return 1


def _report_defect(error: Exception) -> int:
    """Print an unexpected exception in two lines; in Python's development mode, with its trace."""
    if sys.flags.dev_mode:
        raise error
    from agenthive.cli.support.output import print_error

    place = traceback.extract_tb(error.__traceback__)[-1]
    message = f"{describe_defect(error)} ({Path(place.filename).name}, line {place.lineno})"
    hint = "This is a bug of agenthive: please report it. PYTHONDEVMODE=1 shows the whole trace."
    return print_error(InternalError(message, hint=hint), as_json=False)


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


def has_running_functions() -> bool:
    """Whether the function of a custom agent still runs in a thread, which cannot be stopped."""
    python_agents = sys.modules.get("agenthive.agents.python")
    return python_agents is not None and python_agents.has_running_calls()


def exit_process(code: int) -> NoReturn:
    """End the process with this exit code."""
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    if has_running_functions():
        # A normal exit of Python would wait for the thread.
        os._exit(code)
    sys.exit(code)


@click.command(cls=CommandGroup, context_settings=_SETTINGS)
@click.version_option(__version__, prog_name="agenthive")
def main() -> None:
    """Run durable workflows of AI agents.

    A workflow file declares agents and tasks; `agenthive run FILE` runs it. Every step is recorded
    in the home, the state directory (--home, AGENTHIVE_HOME), before it is executed, so that
    `agenthive resume` can continue a run that was interrupted.
    """
