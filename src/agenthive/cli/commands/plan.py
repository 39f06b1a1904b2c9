"""`agenthive plan FILE`: the cost and duration of a workflow, before it runs."""

from __future__ import annotations

from pathlib import Path

import click

from agenthive.cli.support.options import agents_option, home_option, json_option, load_settings


@click.command(
    name="plan", short_help="Estimate the cost and duration of a workflow before it runs."
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--input", "pairs", metavar="KEY=VALUE", multiple=True, help="Set an input. Repeatable."
)
@click.option(
    "--inputs",
    "inputs_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Read inputs from a YAML or JSON file; --input overrides them.",
)
@agents_option
@home_option
@json_option
def command(
    file: Path,
    pairs: tuple[str, ...],
    inputs_file: Path | None,
    agent_files: tuple[Path, ...],
    home: Path | None,
    as_json: bool,
) -> int:
    """Estimate the cost and duration of the workflow in FILE. No agent is called and nothing is
    written.

    \b
    The plan shows:
      - the cost at most: every attempt, mapped item, iteration and compensation
        at its worst case, or the limit that bounds it
      - the typical cost and duration, learned from the journal of the home
      - the critical path, and how many runs per minute the rate limits allow
      - tasks whose cost has no bound
      - tasks with effects but neither an approval nor a compensation
      - tasks that are never executed

    Calls that must be repeated after a crash are not included. Exit code 2 if the file or an input
    is invalid.
    """
    from agenthive.cli.support import plan_view

    workflow_plan = plan_view.plan_file(file, pairs, inputs_file, agent_files, load_settings(home))
    plan_view.show_plan(workflow_plan, as_json=as_json)
    return 0
