"""`agenthive plan FILE`: what a workflow may cost and how long it may take, before it is run."""

from __future__ import annotations

from pathlib import Path

import click

from agenthive.cli.support.options import agents_option, home_option, json_option, load_settings


@click.command(
    name="plan",
    short_help="Say what a workflow may cost and how long it may take, before it is run.",
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--input", "pairs", metavar="KEY=VALUE", multiple=True, help="One input.")
@click.option(
    "--inputs",
    "inputs_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="YAML or JSON file with a map of inputs; --input wins.",
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
    """Look at the workflow in FILE before it is run: nothing is called and nothing is written.

    Says what it can cost at most (every attempt, item, round and compensation at its worst case, or
    the limit that bounds it) and usually, how long it takes, its critical path, how many runs a
    minute rate limits allow, what nobody bounds the cost of, what acts outside without approval or
    compensation, and what is never done. Usual figures come from the journal of the home if there
    is one. Calls that are lost when a process ends come on top of the worst case.

    Exit code 2 if the file or an input is wrong.
    """
    from agenthive.cli.support import plan_view

    workflow_plan = plan_view.plan_file(file, pairs, inputs_file, agent_files, load_settings(home))
    plan_view.show_plan(workflow_plan, as_json=as_json)
    return 0
