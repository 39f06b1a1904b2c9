"""`agenthive config`: the effective settings."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from agenthive.cli.support.options import home_option, json_option, load_settings


@click.command(name="config", short_help="Show the settings and the origin of each value.")
@click.argument("what", type=click.Choice(["show"]), default="show")
@click.option(
    "--origin/--no-origin", default=True, help="Show the origin of each value.  [default: origin]"
)
@home_option
@json_option
def command(what: str, origin: bool, home: Path | None, as_json: bool) -> int:
    """Show every setting with its value and its origin: an option, an environment variable, a file
    or the default.
    """
    from agenthive.cli.support import output
    from agenthive.settings import SETTINGS

    settings = load_settings(home)
    names = [setting.name for setting in SETTINGS]
    if as_json:
        values = {
            name: {"value": _to_plain(settings.value(name)), "origin": settings.origin(name)}
            for name in names
        }
        output.print_document("config", settings=values)
        return 0
    rows = [(name, _format_value(settings.value(name)), settings.origin(name)) for name in names]
    if origin:
        output.print_table(("SETTING", "VALUE", "ORIGIN"), rows)
    else:
        output.print_table(("SETTING", "VALUE"), [row[:2] for row in rows])
    return 0


def _to_plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else msgspec.to_builtins(value, str_keys=True)


def _format_value(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={target}" for name, target in value.items()) or "-"
    return ", ".join(value) or "-" if isinstance(value, tuple) else str(value)
