"""`agenthive doctor`: is everything as it should be?"""

from __future__ import annotations

from pathlib import Path

import click

from agenthive.cli.support.options import home_option, json_option, load_settings


@click.command(name="doctor", short_help="Check this installation and the journal of its home.")
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
    from agenthive.cli.support.doctor_checks import run_checks

    findings = asyncio.run(run_checks(load_settings(home)))
    codes = [finding.exit_code for finding in findings if not finding.good]
    if as_json:
        output.print_document("checkup", healthy=not codes, checks=msgspec.to_builtins(findings))
    else:
        rows = [
            ("ok" if finding.good else "WRONG", finding.what, finding.detail)
            for finding in findings
        ]
        output.print_table(("", "CHECK", "FOUND"), rows)
        for finding in findings:
            if finding.hint:
                output.print_note(f"{finding.what}: {output.escape(finding.hint)}")
    return max(codes, default=0)
