"""`agenthive simulate FILE`: many runs of a workflow on virtual time, with injected faults."""

from __future__ import annotations

from pathlib import Path

import click

from agenthive.cli.support.options import json_option, load_settings

SEEDS = 100


@click.command(
    name="simulate", short_help="Simulate a workflow on virtual time, with injected faults."
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
@click.option(
    "--seeds",
    metavar="N",
    type=click.IntRange(1, 1_000_000),
    default=SEEDS,
    show_default=True,
    help="Number of runs, each with its own random seed.",
)
@click.option("--seed", metavar="K", type=click.IntRange(0), help="Simulate only this seed.")
@click.option("--trace", is_flag=True, help="With --seed, print the events of that run.")
@click.option(
    "--faults",
    metavar="SPEC",
    default="some",
    show_default=True,
    help="Faults to inject: none, some, hostile, or probabilities such as crash=0.01,fail=0.1.",
)
@click.option(
    "--answers",
    "--durations",
    "answers_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="YAML or JSON file: for each task the seconds, or result, duration, fail and cost.",
)
@click.option(
    "--fit",
    metavar="HOME",
    type=click.Path(path_type=Path),
    help="Learn durations, failures, costs and results from the runs of this home.",
)
@click.option(
    "--people",
    metavar="TIME",
    default="1h",
    show_default=True,
    help="Median time until an approval or a signal arrives, or never.",
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
    """Simulate the workflow in FILE on virtual time, once for each seed, and show statistics.

    The real engine decides; calls are simulated. No agent, network or secret is used, and nothing
    is written. The duration of calls is taken from --answers, --fit or estimated_duration in the
    file; otherwise it is assumed.

    \b
    Faults, each with a probability from 0 to 1, optionally after a preset
    (--faults some,crash=0.2):
      crash      the process dies and another one takes over
      absent     an agent is missing after a crash
      late       a response arrives after the process that made the call died
      fail       a call fails                  429      a rate limit refuses it
      slow       a call takes 3 to 10 times as long
      hang       a call never returns          lose     its response is lost
      duplicate  its response arrives twice    garbage  its response is invalid
      refuse     the journal refuses a write   stall    a write takes seconds
      jump       the system clock is changed

    Exit codes: 0 all invariants held, 1 an invariant was violated, 2 the file or an option is
    invalid.
    """
    from agenthive.cli.support.simulation_view import (
        SimulationRequest,
        run_simulation,
        show_simulation,
        show_story,
    )

    if trace and seed is None:
        raise click.UsageError("--trace prints a single run: choose it with --seed K.")
    request = SimulationRequest(file, pairs, inputs_file, faults, answers_file, fit, people)
    result = run_simulation(request, load_settings(None), range(seeds) if seed is None else [seed])
    if trace and seed is not None:
        show_story(result, seed, as_json=as_json)
    else:
        show_simulation(result, request, as_json=as_json)
    return 1 if result.broken else 0
