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
REQUEST_ID = "agenthive.request-id"
"""Key in the root context's ``meta``: the value of ``--request-id``; absent if it was not given."""

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


def request_id_option(command: F) -> F:
    """Add ``--request-id ID``; `session.Session` gives the id to the request of the command."""
    return click.option(
        "--request-id",
        metavar="ID",
        expose_value=False,
        callback=_remember_request_id,
        help="Id of this request. The same command with the same ID, within 24 hours, changes "
        "nothing more and answers the same.",
    )(command)


def _remember_request_id(
    context: click.Context, option: click.Parameter, request_id: str | None
) -> None:
    """Store the id at the root, where `read_request_id` finds it."""
    if request_id is None:
        return
    from agenthive.errors import InvalidValue
    from agenthive.hive.requests import check_request_id

    try:
        check_request_id(request_id)
    except InvalidValue as error:
        raise click.BadParameter(f"{error.message}. {error.hint}", context, option) from error
    context.find_root().meta[REQUEST_ID] = request_id


def read_request_id() -> str | None:
    """The value of ``--request-id`` of the command that runs; None if it was not given."""
    context = click.get_current_context(silent=True)
    return None if context is None else context.find_root().meta.get(REQUEST_ID)


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
