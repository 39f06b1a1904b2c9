"""The options that several commands share.

Imports nothing heavy, because every help text imports this module. To add an option: a decorator
here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from agenthive.settings import Settings

JSON = "agenthive.json"
"""Key in the root context's ``meta``: whether ``--json`` was given."""

F = TypeVar("F", bound=Callable[..., Any])


class _Folder(click.Path):
    """A directory path that is not empty: `--home "$UNSET"` must not mean the working directory.

    A URL is refused too, or it would become a directory of that name: only `Hive.open` takes URLs.
    """

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("the path is empty; give the path of a directory", param, ctx)
        if isinstance(value, str) and ":" in value:
            from agenthive.hive.store_urls import read_scheme

            if read_scheme(value):
                self.fail(f"'{value}' is a URL; give a directory, such as ./home", param, ctx)
        return super().convert(value, param, ctx)


def home_option(command: F) -> F:
    """Add ``--home DIR``."""
    return click.option(
        "--home",
        metavar="DIR",
        type=_Folder(path_type=Path, file_okay=False),
        help="State directory that holds the journal. [env: AGENTHIVE_HOME]",
    )(command)


def json_option(command: F) -> F:
    """Add ``--json``, which the root also reads when an error ends the command."""
    return click.option(
        "--json",
        "as_json",
        is_flag=True,
        is_eager=True,
        callback=_remember_json,
        help="Print one JSON document on standard output.",
    )(command)


def _remember_json(context: click.Context, option: click.Parameter, enabled: bool) -> bool:
    """Store the flag at the root, which prints an error that ends the command."""
    context.find_root().meta[JSON] = enabled
    return enabled


def agents_option(command: F) -> F:
    """Add ``--agents FILE.py``, any number of times."""
    return click.option(
        "--agents",
        "agent_files",
        metavar="FILE.py",
        multiple=True,
        type=click.Path(path_type=Path),
        help="Load custom agents (AGENTS = {NAME: function}) or an agent kind from a Python file. "
        "Repeatable.",
    )(command)


def load_settings(home: Path | None) -> Settings:
    """Load the settings, with ``--home`` on top, and configure logging from them."""
    from agenthive.infra.logging import configure
    from agenthive.settings import Settings

    settings = Settings.load({"home": home})
    configure(settings.log_level, settings.log_format)
    return settings
