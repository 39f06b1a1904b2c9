"""`agenthive config`: the settings in force."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from agenthive.cli.support.options import home_option, json_option, settings_of


@click.command(name="config", short_help="Show the settings and where each comes from.")
@click.argument("what", type=click.Choice(["show"]), default="show")
@click.option("--origin/--no-origin", default=True, help="Say where each value comes from.")
@home_option
@json_option
def command(what: str, origin: bool, home: Path | None, as_json: bool) -> int:
    """Show every setting, its value and its origin: a flag, a variable, a file or the default."""
    from agenthive.cli.support import output
    from agenthive.settings import SETTINGS

    settings = settings_of(home)
    names = [one.name for one in SETTINGS]
    if as_json:
        found = {
            name: {"value": _plain(settings.value(name)), "origin": settings.origin(name)}
            for name in names
        }
        output.document("config", settings=found)
        return 0
    rows = [(name, _told(settings.value(name)), settings.origin(name)) for name in names]
    if origin:
        output.table(("SETTING", "VALUE", "ORIGIN"), rows)
    else:
        output.table(("SETTING", "VALUE"), [row[:2] for row in rows])
    return 0


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else msgspec.to_builtins(value, str_keys=True)


def _told(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={target}" for name, target in value.items()) or "-"
    return ", ".join(value) or "-" if isinstance(value, tuple) else str(value)
