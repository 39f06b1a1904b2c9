"""`agenthive doctor`: is everything as it should be?"""

from __future__ import annotations

from pathlib import Path

import click

from agenthive.cli.support.options import home_option, json_option, settings_of


@click.command(name="doctor", short_help="Check this installation and its home's journal.")
@home_option
@json_option
def command(home: Path | None, as_json: bool) -> int:
    """Check Python, SQLite, the settings, the home, its disk, the whole journal's hash chains, and
    that the agents of the settings can be loaded.

    Changes nothing. Exit code 10 if the journal cannot be trusted, 1 if something else is wrong.
    """
    import asyncio

    import msgspec

    from agenthive.cli.support import output
    from agenthive.cli.support.doctor_checks import checkup

    findings = asyncio.run(checkup(settings_of(home)))
    codes = [one.exit_code for one in findings if not one.good]
    if as_json:
        output.document("checkup", healthy=not codes, checks=msgspec.to_builtins(findings))
    else:
        rows = [("ok" if one.good else "WRONG", one.what, one.detail) for one in findings]
        output.table(("", "CHECK", "FOUND"), rows)
        for one in findings:
            if one.hint:
                output.note(f"{one.what}: {output.safe(one.hint)}")
    return max(codes, default=0)
