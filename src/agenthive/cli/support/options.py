"""Options that several commands have, and what they mean.

Light on purpose: imported for every help text. To add one: a decorator here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from agenthive.settings import Settings

JSON = "agenthive.json"
"""Where the root's context notes that JSON was asked for."""

F = TypeVar("F", bound=Callable[..., Any])


class _Folder(click.Path):
    """A folder that has a name: `--home "$UNSET"` must not mean the working folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("it is empty; name a folder", param, ctx)
        return super().convert(value, param, ctx)


def home_option(command: F) -> F:
    """``--home DIR``."""
    return click.option(
        "--home",
        metavar="DIR",
        type=_Folder(path_type=Path, file_okay=False),
        help="The folder with the journal (AGENTHIVE_HOME).",
    )(command)


def json_option(command: F) -> F:
    """``--json``."""
    return click.option(
        "--json",
        "as_json",
        is_flag=True,
        is_eager=True,
        callback=_remember_json,
        help="Print JSON on standard output.",
    )(command)


def _remember_json(context: click.Context, option: click.Parameter, enabled: bool) -> bool:
    """Remember it at the root, where an error that ends the command is printed."""
    context.find_root().meta[JSON] = enabled
    return enabled


def agents_option(command: F) -> F:
    """``--agents FILE.py``, any number of times."""
    return click.option(
        "--agents",
        "agent_files",
        metavar="FILE.py",
        multiple=True,
        type=click.Path(path_type=Path),
        help="Python file with custom agents (AGENTS = {NAME: function}) or an agent kind. "
        "May be repeated.",
    )(command)


def load_settings(home: Path | None) -> Settings:
    """The settings in force, with ``--home`` on top; the log goes where they say."""
    from agenthive.infra.logging import configure
    from agenthive.settings import Settings

    settings = Settings.load({"home": home})
    configure(settings.log_level, settings.log_format)
    return settings
