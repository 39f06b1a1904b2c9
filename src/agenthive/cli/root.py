"""The group of all commands: finds them when they are needed, and ends as they say.

A file in `commands/` is the command of its name. Its ``short_help`` is read from the source, so
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
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NoReturn

import click

from agenthive import __version__
from agenthive.cli.support.options import JSON
from agenthive.errors import AgentHiveError
from agenthive.infra.discovery import list_modules

ORDER: Final = (
    *("run", "resume", "work", "validate", "plan", "simulate"),
    *("ps", "show", "why", "costs", "budget", "events"),
    *("approvals", "approve", "reject", "signal", "resolve"),
    *("cancel", "migrate", "fork", "replay", "schedule"),
    *("du", "gc", "export", "import"),
    *("agents", "tools", "config", "doctor", "completion"),
)
"""The order of the help text; a command that is not here comes after these, by its name."""
PACKAGE: Final = "agenthive.cli.commands"
_SHORT_HELP: Final = re.compile(r'\bshort_help="([^"]+)"')


_SETTINGS: Final[dict[str, Any]] = {"help_option_names": ["-h", "--help"]}
"""Settings of every click context."""


@functools.cache
def find_commands() -> Mapping[str, str]:
    """Name of each command -> its file's name without the ending, in the order of the help text."""
    files = {file.rstrip("_"): file for file in list_modules(PACKAGE)}
    names = [*(name for name in ORDER if name in files), *(name for name in files)]
    return {name: files[name] for name in dict.fromkeys(names)}


def describe_command(name: str) -> str:
    """The line about a command for the help text, read from its file: importing all takes long."""
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
    """Imports a command when it is asked for."""

    def list_commands(self, context: click.Context) -> list[str]:
        """All names, in order."""
        return list(find_commands())

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command of that name."""
        return load_command(name) if name in find_commands() else None

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Names and lines, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, describe_command(name)) for name in find_commands()])

    def invoke(self, context: click.Context) -> Any:
        """Run the command; an error of ours becomes a message and an exit code."""
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
        """Run, then end the process with the command's exit code."""
        standalone = options.pop("standalone_mode", True)
        _ensure_outputs()
        run = partial(super().main, args, standalone_mode=False, **options)
        return exit_process(_run_guarded(run)) if standalone else run()


async def run_file(arguments: Sequence[str], *, prog_name: str) -> int:
    """`agenthive run` for a program that has an event loop already; gives the exit code."""
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
    return result if isinstance(result, int) else 0


_ENDINGS: Final = (
    click.ClickException,
    click.exceptions.Exit,
    click.Abort,
    KeyboardInterrupt,
    OSError,
)
"""How a command may end besides with a result; errors of agenthive are reported before."""


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
            _silence_output()
            return 0
    _silence_output()
    click.echo(f"error: a file or the output cannot be used: {error}", err=True)
    return 1


def _ensure_outputs() -> None:
    """Nothing that is opened later must get the number of an output that was closed for us."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for as long as the process lasts
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        # File names need not be text, and terminals need not know all of it.
        sys.stdout.reconfigure(errors="backslashreplace")


def _silence_output() -> None:
    """Whoever read our output has gone: say nothing more, not even when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def has_running_functions() -> bool:
    """Whether a custom agent's function is still in its thread and cannot be stopped."""
    python_agents = sys.modules.get("agenthive.agents.python")
    return python_agents is not None and python_agents.has_running_calls()


def exit_process(code: int) -> NoReturn:
    """End the process with this exit code."""
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    if has_running_functions():
        # Python would wait for it.
        os._exit(code)
    sys.exit(code)


@click.command(cls=CommandGroup, context_settings=_SETTINGS)
@click.version_option(__version__, prog_name="agenthive")
def main() -> None:
    """Durable workflows of AI agents.

    A workflow file names agents and tasks; `agenthive run FILE` carries it out. Everything is on
    disk before it is done, in the home (--home, AGENTHIVE_HOME), so a run that was cut off goes on
    with `agenthive resume`.
    """
