"""agenthive against the floor and against LangGraph with its SQLite saver, in one run.

    python3 x.py bench engine [--rounds 5] [--shapes chain,fanout,layered,many] [--no-peers]
                              [--growth 100000]

No-op tasks, everything on: synchronous=FULL, hash chain, intents, keys. Rounds are interleaved, so
that a busy machine slows everybody; what is printed are medians and the ratios of the medians. One
JSON line a shape and effect. The floor is 60 lines of asyncio and SQLite: a bound, not an engine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent
ROOT = HERE.parent
PEERS = ROOT / ".peers"
SIZES = {"chain": 100, "fanout": 1000, "layered": 1000, "many": 10_000}
LANGGRAPH = {"chain": 100, "fanout": 1000, "layered": 1000, "many": 1000}
"""LangGraph takes a minute for 1,000 small runs; its rate is measured on 100 of them."""


def last_line(command: list[str], scratch: str) -> dict:
    """Run a program and give the JSON of its last line."""
    environment = os.environ | {"PEERS": scratch}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def ours(shape: str, effect: str, tasks: int, scratch: str) -> dict:
    """One run of agenthive."""
    worker = [sys.executable, str(HERE / "engine_worker.py")]
    arguments = ["--shape", shape, "--effect", effect, "--tasks", str(tasks)]
    return last_line(worker + arguments, scratch)


def floor(shape: str, scratch: str) -> dict:
    """One run of the floor."""
    program = [sys.executable, str(HERE / "peers" / "bench_floor.py"), "--store", "sqlite"]
    return last_line([*program, "--shape", shape, "--tasks", str(SIZES[shape])], scratch)


def langgraph(shape: str, mode: str, scratch: str) -> dict:
    """One run of LangGraph."""
    python = str(PEERS / "langgraph" / "bin" / "python")
    program = [python, str(HERE / "peers" / "bench_langgraph.py"), "--store", "sqlite"]
    size = ["--shape", shape, "--tasks", str(LANGGRAPH[shape])]
    return last_line([*program, *size, "--mode", mode], scratch)


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


def compare(shape: str, options: argparse.Namespace, scratch: str) -> None:
    """Interleaved rounds of one shape; prints a line for each effect."""
    rates: dict[str, list[dict]] = {}
    for _ in range(options.rounds):
        rates.setdefault("floor", []).append(floor(shape, scratch))
        for effect in ("none", "any"):
            rates.setdefault(effect, []).append(ours(shape, effect, SIZES[shape], scratch))
        if not options.no_peers:
            for mode in ("graph-async", "func-async"):
                rates.setdefault(mode, []).append(langgraph(shape, mode, scratch))
    middle = {name: median(row["tasks_per_s"] for row in rows) for name, rows in rates.items()}
    best_peer = max(middle.get("graph-async", 0), middle.get("func-async", 0))
    for effect in ("none", "any"):
        print(
            json.dumps(
                {
                    "shape": shape,
                    "effect": effect,
                    "budget": "off",
                    "tasks": rates[effect][0]["tasks"],
                    "tasks_per_s": round(middle[effect]),
                    "floor_per_s": round(middle["floor"]),
                    "langgraph_per_s": round(best_peer),
                    "ratio_floor": round(middle[effect] / middle["floor"], 3),
                    "ratio_langgraph": round(middle[effect] / best_peer, 1) if best_peer else None,
                    "bytes_per_task": median(row["bytes_per_task"] for row in rates[effect]),
                    "peak_mb": max(row["peak_mb"] for row in rates[effect]),
                }
            ),
            flush=True,
        )


def growth(tasks: int, scratch: str) -> None:
    """What a task costs in a run of ``tasks`` against one of 1,000."""
    for shape in ("fanout", "layered"):
        small = [ours(shape, "any", 1000, scratch) for _ in range(3)]
        large = ours(shape, "any", tasks, scratch)
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


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shapes", default=",".join(SIZES))
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--growth", type=int, default=0, metavar="TASKS")
    options = parser.parse_args()
    if not options.no_peers:
        install_peers()
    scratch = tempfile.mkdtemp(prefix="agenthive_bench_", dir=ROOT)
    try:
        for shape in [shape for shape in options.shapes.split(",") if shape]:
            compare(shape, options, scratch)
        if options.growth:
            growth(options.growth, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
