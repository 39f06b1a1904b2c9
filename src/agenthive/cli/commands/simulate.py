"""`agenthive simulate FILE`: play a workflow on virtual time, many times; say what came of it."""

from __future__ import annotations

from pathlib import Path

import click

from agenthive.cli.support.options import json_option, load_settings

SEEDS = 100


@click.command(
    name="simulate",
    short_help="Play a workflow on virtual time, with faults, and say what came of it.",
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
@click.option(
    "--seeds",
    metavar="N",
    type=click.IntRange(1, 1_000_000),
    default=SEEDS,
    show_default=True,
    help="How many runs to play, each from a seed of its own.",
)
@click.option("--seed", metavar="K", type=click.IntRange(0), help="Play only this seed.")
@click.option("--trace", is_flag=True, help="With --seed: the story of that run.")
@click.option(
    "--faults",
    metavar="SPEC",
    default="some",
    show_default=True,
    help="none, some or hostile, or chances such as crash=0.01,fail=0.1.",
)
@click.option(
    "--answers",
    "--durations",
    "answers_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="YAML or JSON: by task, result, duration, fail, cost; or only the seconds.",
)
@click.option(
    "--fit",
    metavar="HOME",
    type=click.Path(path_type=Path),
    help="Learn times, failures, costs and results from the runs of this home.",
)
@click.option(
    "--people",
    metavar="TIME",
    default="1h",
    show_default=True,
    help="How long people take to approve or to send a signal (the median), or never.",
)
@json_option
def command(
    file: Path,
    pairs: tuple[str, ...],
    inputs_file: Path | None,
    seeds: int,
    seed: int | None,
    trace: bool,
    faults: str,
    answers_file: Path | None,
    fit: Path | None,
    people: str,
    as_json: bool,
) -> int:
    """Play the workflow in FILE on virtual time, once for each seed, and say what came of it.

    The same core as in earnest decides; the agents are played. No agent, network or secret is ever
    reached, and nothing is written. How long calls take comes from --answers, --fit, the file's
    estimated_duration, or is guessed.

    \b
    --faults: chances from 0 to 1, after the name of a preset or without one:
      crash      the process dies at a step, another takes over
      fail       a call fails                  429        is refused by a rate limit
      slow       takes 3 to 10 times as long   hang       never answers
      lose       its answer is lost            duplicate  answers twice
      garbage    answers what cannot be used   late       its answer outlives its process
      refuse     the journal takes nothing     stall      a write takes seconds
      jump       the clock is set              absent     an agent is missing after a crash

    Exit codes: 0 every invariant held, 1 one broke, 2 the file or an option is wrong.
    """
    from agenthive.cli.support.simulation_view import (
        SimulationRequest,
        run_simulation,
        show_simulation,
        show_story,
    )

    if trace and seed is None:
        raise click.UsageError("--trace tells of one run: say which with --seed K.")
    request = SimulationRequest(file, pairs, inputs_file, faults, answers_file, fit, people)
    result = run_simulation(request, load_settings(None), range(seeds) if seed is None else [seed])
    if trace and seed is not None:
        show_story(result, seed, as_json=as_json)
    else:
        show_simulation(result, request, as_json=as_json)
    return 1 if result.broken else 0
