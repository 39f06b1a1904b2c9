"""`agenthive doctor`: checks of the installation, the home and the journal."""

from __future__ import annotations

from pathlib import Path

import click

from agenthive.cli.support.options import home_option, json_option, load_settings


@click.command(name="doctor", short_help="Check this installation, its home and the journal.")
@home_option
@json_option
def command(home: Path | None, as_json: bool) -> int:
    """Check Python, SQLite, the settings, the custom agents, the home, its disk, the hash chains of
    the whole journal, and whether the clock was set back.

    Changes nothing. Exit codes: 0 all checks passed, 10 the journal is damaged or unreadable, 1
    another check failed.
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
            ("ok" if finding.good else "FAILED", finding.what, finding.detail)
            for finding in findings
        ]
        output.print_table(("STATUS", "CHECK", "DETAIL"), rows)
        for finding in findings:
            if finding.hint:
                output.print_note(f"{finding.what}: {output.escape(finding.hint)}")
    return max(codes, default=0)
