"""agenthive against the floor and against LangGraph with its SQLite saver, in one run.

    python3 x.py bench engine [--rounds 5] [--shapes chain,fanout,layered,many] [--no-peers]
                              [--effects none,any] [--budgets off,loose,tight,narrow]
                              [--agents 1,100] [--tasks N] [--growth 100000]
                              [--counts-only | --no-counts] [--record]

No-op tasks, everything on: synchronous=FULL, hash chain, intents, keys. Rounds are interleaved, so
that a busy machine slows everybody; what is printed are medians and the ratios of the medians. The
floor is 60 lines of asyncio and SQLite: a bound, not an engine. One JSON line for each shape,
effect, budget and number of agents:

budget    ``off``; ``loose``: every call has a price and is spent from its agent's limit in the run,
          its run, its agent, its tenant and its day, none of which is ever short; ``tight``: the
          run has just enough for what its calls will have cost, so that calls wait for money
          towards its end; ``narrow``: it has room for 50 calls at once, so that nearly all wait.
agents    the tasks are dealt over so many agents.
calls_per_task, own_per_task
          the Python functions that are called for a task, all of them and those of agenthive: in
          the event loop and in every other thread, against the SQLite store as in the timed runs,
          in a process of its own with a fixed hash seed. Batches depend on nothing but the order of
          events here, as one batch at a time is written and no call waits: two counts agree within
          0.1 %.
starts_per_task
          attempts to start a task, for each call that is made: 1 if none is in vain.
ratio_recorded, own_ratio_recorded
          these counts by those in calls_per_task.json, where both are of the same number of tasks,
          the same minor version of Python and the same event loop; else null. More than 1 is slower
          than what was recorded. ``--record`` writes the counts of this run into that file
          (``--recorded`` names another one) in place of what it holds.

Without times, and in a minute: ``--counts-only``. What is called most, of one combination:

    .venv/bin/python benchmarks/engine_worker.py --shape layered --tasks 1000 --budget loose \\
        --count-calls --functions 40
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

HERE = Path(__file__).parent
ROOT = HERE.parent
PEERS = ROOT / ".peers"
RECORDED = HERE / "calls_per_task.json"
SIZES = {"chain": 100, "fanout": 1000, "layered": 1000, "many": 10_000}
LANGGRAPH = {"chain": 100, "fanout": 1000, "layered": 1000, "many": 1000}
"""LangGraph takes a minute for 1,000 small runs; its rate is measured on 100 of them."""


class Variant(NamedTuple):
    """One way to do the tasks of a shape."""

    effect: str
    budget: str
    agents: int


def run_program(command: list[str], scratch: str) -> dict:
    """Run a program and give the JSON of its last line."""
    # A fixed seed, because the order of a set may decide how much is called.
    environment = os.environ | {"PEERS": scratch, "PYTHONHASHSEED": "0"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def run_agenthive(shape: str, variant: Variant, tasks: int, scratch: str, *flags: str) -> dict:
    """One run of agenthive."""
    worker = [sys.executable, str(HERE / "engine_worker.py"), *flags]
    size = ["--shape", shape, "--tasks", str(tasks), "--effect", variant.effect]
    money = ["--budget", variant.budget, "--agents", str(variant.agents)]
    return run_program([*worker, *size, *money], scratch)


def run_floor(shape: str, tasks: int, scratch: str) -> dict:
    """One run of the floor."""
    program = [sys.executable, str(HERE / "peers" / "bench_floor.py"), "--store", "sqlite"]
    return run_program([*program, "--shape", shape, "--tasks", str(tasks)], scratch)


def run_langgraph(shape: str, mode: str, scratch: str) -> dict:
    """One run of LangGraph."""
    python = str(PEERS / "langgraph" / "bin" / "python")
    program = [python, str(HERE / "peers" / "bench_langgraph.py"), "--store", "sqlite"]
    size = ["--shape", shape, "--tasks", str(LANGGRAPH[shape])]
    return run_program([*program, *size, "--mode", mode], scratch)


def install_peers() -> None:
    """Make .peers/langgraph from its lock, once."""
    target = PEERS / "langgraph"
    lock = HERE / "peers" / "langgraph.lock"
    stamp = target / "stamp"
    if stamp.exists() and stamp.read_text() == lock.read_text():
        return
    PEERS.mkdir(exist_ok=True)
    subprocess.run([sys.executable, "-m", "venv", str(target)], check=True)
    pip = [str(target / "bin" / "python"), "-m", "pip", "install", "-q", "--require-hashes"]
    subprocess.run([*pip, "-r", str(lock)], check=True)
    stamp.write_text(lock.read_text())


def compare(
    shape: str, variants: list[Variant], options: argparse.Namespace, scratch: str
) -> dict[Variant, dict[str, Any]]:
    """Interleaved rounds of one shape: the columns of times and sizes for each variant."""
    tasks = options.tasks or SIZES[shape]
    rounds: dict[Any, list[dict]] = {}
    for _ in range(options.rounds):
        rounds.setdefault("floor", []).append(run_floor(shape, tasks, scratch))
        for variant in variants:
            rounds.setdefault(variant, []).append(run_agenthive(shape, variant, tasks, scratch))
        if not options.no_peers:
            for mode in ("graph-async", "func-async"):
                rounds.setdefault(mode, []).append(run_langgraph(shape, mode, scratch))
    middle = {name: median(row["tasks_per_s"] for row in rows) for name, rows in rounds.items()}
    best_peer = max(middle.get("graph-async", 0), middle.get("func-async", 0))
    return {
        variant: {
            "tasks": rounds[variant][0]["tasks"],
            "tasks_per_s": round(middle[variant]),
            "floor_per_s": round(middle["floor"]),
            "langgraph_per_s": round(best_peer),
            "ratio_floor": round(middle[variant] / middle["floor"], 3),
            "ratio_langgraph": round(middle[variant] / best_peer, 1) if best_peer else None,
            "cpu_us_per_task": median(row["cpu_us_per_task"] for row in rounds[variant]),
            "bytes_per_task": median(row["bytes_per_task"] for row in rounds[variant]),
            "peak_mb": max(row["peak_mb"] for row in rounds[variant]),
        }
        for variant in variants
    }


def count_calls(shape: str, variant: Variant, tasks: int, scratch: str) -> dict:
    """The calls of Python functions for each task."""
    return run_agenthive(shape, variant, tasks, scratch, "--count-calls")


def read_conditions() -> dict[str, str]:
    """What a count depends on besides the code of agenthive."""
    uvloop = importlib.util.find_spec("uvloop") is not None
    return {
        "python": ".".join(platform.python_version_tuple()[:2]),
        "loop": "uvloop" if uvloop else "asyncio",
    }


def read_recorded(file: Path) -> dict[str, dict]:
    """The recorded counts, none if they were taken under other conditions."""
    if not file.exists():
        return {}
    recorded = json.loads(file.read_text())
    here = read_conditions()
    return recorded["counts"] if {name: recorded[name] for name in here} == here else {}


def write_recorded(file: Path, counts: dict[str, dict]) -> None:
    """Record counts, with the last commit that changed the sources."""
    git = ["git", "-C", str(ROOT)]
    command = [*git, "log", "-1", "--format=%h", "--abbrev=12", "--", "src"]
    commit = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", "src"], check=False).returncode
    header = {"commit": f"{commit} with changes" if changed else commit} | read_conditions()
    # A line for each combination, so that a change of the file can be read.
    lines = ",\n".join(f"    {json.dumps(key)}: {json.dumps(row)}" for key, row in counts.items())
    start = json.dumps(header, indent=2).removesuffix("\n}")
    file.write_text(f'{start},\n  "counts": {{\n{lines}\n  }}\n}}\n')


def compare_counts(count: dict, recorded: dict | None) -> dict[str, float | None]:
    """The columns of a count."""
    columns = {name: count[name] for name in ("calls_per_task", "own_per_task", "starts_per_task")}
    known = recorded is not None and recorded["tasks"] == count["tasks"]
    for name, ratio in (
        ("calls_per_task", "ratio_recorded"),
        ("own_per_task", "own_ratio_recorded"),
    ):
        columns[ratio] = round(count[name] / recorded[name], 4) if known else None
    return columns


def measure(options: argparse.Namespace, scratch: str) -> dict[str, dict]:
    """Print a line for each combination; the counts by combination."""
    recorded = read_recorded(options.recorded)
    variants = [
        Variant(*chosen)
        for chosen in itertools.product(options.effects, options.budgets, options.agents)
    ]
    counts: dict[str, dict] = {}
    for shape in options.shapes:
        times = {} if options.counts_only else compare(shape, variants, options, scratch)
        for variant in variants:
            columns = {"shape": shape} | variant._asdict() | times.get(variant, {})
            if not options.no_counts:
                key = f"{shape} {variant.effect} {variant.budget} {variant.agents}"
                count = count_calls(shape, variant, options.tasks or SIZES[shape], scratch)
                counts[key] = count
                columns |= {"tasks": count["tasks"]} | compare_counts(count, recorded.get(key))
            print(json.dumps(columns), flush=True)
    return counts


def measure_growth(tasks: int, scratch: str) -> None:
    """What a task costs in a run of ``tasks`` against one of 1,000."""
    variant = Variant("any", "off", 1)
    for shape in ("fanout", "layered"):
        small = [run_agenthive(shape, variant, 1000, scratch) for _ in range(3)]
        large = run_agenthive(shape, variant, tasks, scratch)
        per_small = median(row["cpu_us_per_task"] for row in small)
        print(
            json.dumps(
                {
                    "growth": shape,
                    "tasks": tasks,
                    "us_per_task": large["us_per_task"],
                    "cpu_us_per_task": large["cpu_us_per_task"],
                    "cpu_ratio_to_1000": round(large["cpu_us_per_task"] / per_small, 2),
                    "bytes_per_task": large["bytes_per_task"],
                    "memory_bytes_per_task": round(
                        (large["peak_mb"] - large["base_mb"]) * 2**20 / tasks
                    ),
                    "peak_mb": large["peak_mb"],
                }
            ),
            flush=True,
        )


def split_names(text: str) -> list[str]:
    """The parts of a list with commas."""
    return [name for name in text.split(",") if name]


def split_numbers(text: str) -> list[int]:
    """The numbers of a list with commas."""
    return [int(name) for name in split_names(text)]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shapes", type=split_names, default=list(SIZES))
    parser.add_argument("--effects", type=split_names, default=["none", "any"])
    parser.add_argument("--budgets", type=split_names, default=["off", "loose"])
    parser.add_argument("--agents", type=split_numbers, default=[1, 100])
    parser.add_argument("--tasks", type=int, default=0, help="of each shape; else the usual ones")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--growth", type=int, default=0, metavar="TASKS")
    parser.add_argument("--counts-only", action="store_true")
    parser.add_argument("--no-counts", action="store_true")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--recorded", type=Path, default=RECORDED, metavar="FILE")
    options = parser.parse_args()
    if options.no_counts and (options.counts_only or options.record):
        parser.error("--no-counts leaves nothing for --counts-only and --record")
    if not (options.no_peers or options.counts_only):
        install_peers()
    scratch = tempfile.mkdtemp(prefix="agenthive_bench_", dir=ROOT)
    try:
        counts = measure(options, scratch)
        if options.growth:
            measure_growth(options.growth, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if options.record:
        write_recorded(options.recorded, counts)


if __name__ == "__main__":
    main()
