"""Journals that every later version must read as they were meant. Written by hand, once a release:

    .venv/bin/python tests/core/golden.py

Each file in `golden/` holds one run of the simulator: definition, records with their hashes, and
where every task and the run stood after each record. A file that is there is never written again:
it is what some version wrote. Whoever changes what the machine makes of one must ask for the run's
rules number, so that old runs go on under the old rules.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from random import Random
from typing import Any

import msgspec

sys.path.insert(0, str(Path(__file__).parents[2]))
from agenthive.core.engine.active_run import row_of
from agenthive.core.graph.graph import Graph
from agenthive.core.history.replay import decode_events, new_state
from agenthive.core.journal.hash_chain import RULES
from agenthive.core.journal.records import Batch, Record
from agenthive.core.machine.machine import step
from agenthive.core.model import definition
from agenthive.core.model.calls import Call, Reply, ToolCall
from agenthive.core.model.workflow import AgentSpec, TaskSpec, ToolSpec, WorkflowSpec
from agenthive.core.values import SECOND
from agenthive.simulation.faults import Faults
from agenthive.simulation.ports import SimulatedReply
from agenthive.simulation.runtime import SimulatedRuntime
from agenthive.stores.memory import MemoryStore
from tests.fuzz.random_flow import random_features, with_flow
from tests.fuzz.random_people import VISIT_PERIOD, VISITS, RandomPeople
from tests.fuzz.random_workflows import random_workflow
from tests.fuzz.random_world import FlowWorld, RandomWorld, random_faults, random_rates

FOLDER = Path(__file__).parent / "golden"
SEEDS = range(1, 200)
#: The files of older rules whose first half is continued by today's engine.
CONTINUED = ("failed-4", "compensated-39")
WANTED = (
    "completed",
    "partially_completed",
    "failed",
    "cancelled",
    "compensated",
    "compensation_failed",
)


class _Blind:
    def observe(self, now: int, kind: str, data: object) -> None:
        """Nobody looks."""


class _ListingWorld:
    """Every model lists the same folder once, and is done with what it got."""

    def answer(self, call: Call, agent: AgentSpec, now: int) -> SimulatedReply:
        """As the class says."""
        request = ToolCall(id="1", name="list", arguments={"path": "."})
        asks = (request,) if call.tools and not call.turns else ()
        reply = Reply(result=f"{call.task} is done", asks=asks)
        return SimulatedReply(reply=reply, acts_after=1000, replies_after=(2000,))


def listing_models() -> tuple[bytes, list[Record]]:
    """Six models, one after the other, that call a tool of the same name with equal arguments."""
    tool = ToolSpec(name="list", agent="disk", action="list")
    tasks = tuple(
        TaskSpec(
            name=f"t{i}",
            agent="model",
            action="read",
            tools=(tool,),
            depends_on=(f"t{i - 1}",) if i else (),
        )
        for i in range(6)
    )
    agents = tuple(
        AgentSpec(name=name, type="custom", endpoint=f"custom://{name}")
        for name in ("model", "disk")
    )
    spec = WorkflowSpec(name="listing", agents=agents, tasks=tasks)
    disk = MemoryStore()
    runtime = SimulatedRuntime(0, disk, _ListingWorld(), _Blind(), Faults())
    runtime.submit(0, "golden-listing", spec, {})
    runtime.run()
    return definition.encode(spec), disk.records("golden-listing")


def simulated(seed: int) -> tuple[bytes, list[Record]]:
    """The definition and the journal of one run."""
    rng = Random(seed)
    disk = MemoryStore()
    features = random_features(seed)
    world = RandomWorld if features is None else FlowWorld
    runtime = SimulatedRuntime(
        seed, disk, world(Random(seed), random_rates(rng)), _Blind(), random_faults(rng)
    )
    spec = random_workflow(rng)
    if features is not None:
        spec = with_flow(rng, spec, features)
    runtime.submit(0, f"golden-{seed}", spec, {})
    if seed % 5 == 0:
        runtime.cancel(rng.randrange(20 * SECOND), f"golden-{seed}")
    crowd = RandomPeople(Random(seed), runtime, _Blind().observe)
    if features is not None:
        crowd.schedule_visits(VISITS, VISIT_PERIOD)
    runtime.run()
    crowd.answer_everything()
    return definition.encode(spec), disk.records(f"golden-{seed}")


def continued(file: Path) -> tuple[bytes, list[Record]]:
    """A run of which a golden file holds the first half: today's engine takes it over and ends it.

    Its rules are those under which it was accepted.
    """
    body, records, _ = loaded(file)
    half = records[: (len(records) + 1) // 2]
    seed, run = int(file.stem.rpartition("-")[2]), half[0].stream
    graph = Graph(definition.decode(body))
    state = new_state(graph, half)
    for _, event in decode_events(half):
        step(state, event)
    disk = MemoryStore()
    digest = definition.compute_digest(body)
    disk.write(Batch(records=half, definitions=[(digest, body)], runs=[row_of(state)]))
    has_flow = "-flow-" in file.stem
    world = FlowWorld if has_flow else RandomWorld
    runtime = SimulatedRuntime(
        seed, disk, world(Random(seed), random_rates(Random(seed))), _Blind(), Faults()
    )
    runtime.now = half[-1].at
    runtime._restart_process()
    crowd = RandomPeople(Random(seed), runtime, _Blind().observe)
    crowd.schedule_visits(VISITS, VISIT_PERIOD)
    runtime.run()
    crowd.answer_everything()
    return body, disk.records(run)


def standings(body: bytes, records: list[Record]) -> list[dict[str, Any]]:
    """Where everything stands after each record."""
    graph = Graph(definition.decode(body))
    state, found = new_state(graph, records), []
    for record in records:
        for _, event in decode_events([record]):
            step(state, event)
        tasks = {key: str(state.state[i]) for i, key in enumerate(state.graph.keys)}
        found.append({"status": str(state.status), "open": state.open, "tasks": tasks})
    return found


def loaded(file: Path) -> tuple[bytes, list[Record], list[dict[str, Any]]]:
    """What a golden file holds."""
    told = json.loads(file.read_text("utf-8"))
    body = json.dumps(told["definition"], sort_keys=True, separators=(",", ":")).encode()
    records = [
        Record(
            **{
                key: value
                for key, value in record.items()
                if key not in ("payload", "prev", "hash")
            },
            payload=record["payload"].encode(),
            prev=bytes.fromhex(record["prev"]),
            hash=bytes.fromhex(record["hash"]),
        )
        for record in told["records"]
    ]
    return body, records, told["standings"]


def main() -> None:
    """Runs of each ending, for the rules as they are now: two of plain calls, two with flow."""
    FOLDER.mkdir(exist_ok=True)
    had = {(ending, flow): 0 for ending in WANTED for flow in (True, False)}
    for seed in SEEDS:
        body, records = simulated(seed)
        if not 4 <= len(records) <= 40:
            continue
        after = standings(body, records)
        ending = after[-1]["status"]
        flow = random_features(seed) is not None
        target = FOLDER / f"rules{RULES}{'-flow' * flow}-{ending}-{seed}.json"
        if had.get((ending, flow), 2) >= 2 or target.exists():
            continue
        had[ending, flow] += 1
        write_file(target, body, records, after)
    body, records = listing_models()
    after = standings(body, records)
    target = FOLDER / f"rules{RULES}-listing-{after[-1]['status']}-0.json"
    if not target.exists():
        write_file(target, body, records, after)
    write_continued()


def write_continued() -> None:
    """One run of each older rules that was accepted under them and is ended by today's engine."""
    for rules in range(1, RULES):
        for name in CONTINUED:
            source = FOLDER / f"rules{rules}-{name}.json"
            target = FOLDER / f"rules{rules}-continued-under-{RULES}-{name}.json"
            if source.exists() and not target.exists():
                body, records = continued(source)
                write_file(target, body, records, standings(body, records))


def write_file(
    target: Path, body: bytes, records: list[Record], after: list[dict[str, Any]]
) -> None:
    """One golden file."""
    rows = [msgspec.structs.asdict(record) for record in records]
    for row in rows:
        row |= {key: row[key].hex() for key in ("prev", "hash")}
        row["payload"] = row["payload"].decode()
    told = {"definition": json.loads(body), "records": rows, "standings": after}
    target.write_text(json.dumps(told, indent=1, sort_keys=True) + "\n", "utf-8")
    print(f"wrote {target.name}")


if __name__ == "__main__":
    main()
