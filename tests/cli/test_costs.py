"""`agenthive costs`: what it prints, as lines and as JSON; prices from the settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.cli.conftest import Cli, workflow

MODEL = """
from agenthive import BaseAgent
from agenthive.core.model.calls import Reply, Usage

class Model(BaseAgent):
    async def execute(self, action, parameters):
        raise NotImplementedError

    async def perform(self, call):
        cost = call.parameters.get("cost")
        usage = Usage(model=action_of(call), input_tokens=1000, output_tokens=20, cost=cost)
        return Reply(result=1, usage=usage)

def action_of(call):
    return call.action

AGENTS = {"model": Model}
"""


def spend(cli: Cli, here: Path, *costs: int | None) -> str:
    """Run a workflow whose tasks cost this; the run's id."""
    tasks: list[dict[str, Any]] = [
        {"name": f"t{i}", "agent": "model", "action": f"m{i}", "parameters": {"cost": cost}}
        for i, cost in enumerate(costs)
    ]
    (here / "models.py").write_text(MODEL)
    (here / "flow.json").write_text(workflow(*tasks))
    return str(cli("run", "flow.json", "--agents", "models.py", "--json").json["run_id"])


def test_nothing_was_spent(cli: Cli, here: Path) -> None:
    assert cli("costs").out == "no call has reported its usage\n"


def test_costs_of_a_run_and_of_a_home(cli: Cli, here: Path) -> None:
    run = spend(cli, here, 1_500_000_000, 12_500)
    assert cli("costs").out.splitlines() == [
        f"{'RUN'.ljust(len(run))}  CALLS  IN     OUT  CACHED  COST",
        f"{run}  2      2,000  40   0       $1.5000125",
        "",
        "total $1.5000125 in 2 calls",
    ]
    found = cli("costs", run[:30], "--json").json
    assert (found["by"], found["run_id"], found["left_out"]) == ("task", run, 0)
    assert [(row["task"], row["cost_nano_usd"]) for row in found["rows"]] == [
        ("t0", 1_500_000_000),
        ("t1", 12_500),
    ]
    assert found["total"]["cost_usd"] == 1.5000125


def test_unknown_prices_and_the_dearest_rows(cli: Cli, here: Path) -> None:
    spend(cli, here, None, 7, 9)
    lines = cli("costs", "--by", "model", "-n", "1").out.splitlines()
    assert lines[1].startswith("m2")
    assert lines[3:] == [
        "2 more rows; use --limit 3 to show all",
        "total $0.000000016 in 3 calls, not counting 1 call of unknown price "
        "(set [prices] in the settings)",
    ]
    assert "$0.00 + 1 unpriced" in cli("costs", "--by", "model").out


def test_days(cli: Cli, here: Path) -> None:
    spend(cli, here, 5)
    assert cli("costs", "--until", "2020-01-01").out == "no call has reported its usage\n"
    assert cli("costs", "--since", "2020-01-01", "--json").json["total"]["cost_nano_usd"] == 5
    assert cli("costs", "--since", "soon").code == 2


def test_no_such_run(cli: Cli, here: Path) -> None:
    spend(cli, here, 5)
    assert cli("costs", "nobody").code == 3


def test_the_settings_price_models(cli: Cli, here: Path) -> None:
    (here / "agenthive.toml").write_text(
        '[prices."bee"]\ninput = 3\noutput = 15\nas_of = "2026-11-01"\n'
    )
    assert "bee=3/15" in cli("config").out
    shown = cli("config", "--json").json["settings"]["prices"]["value"]
    assert shown["bee"]["rates"]["input"] == "3"
    (here / "agenthive.toml").write_text("[prices.bee]\ninput = -3\noutput = 15\n")
    refused = cli("config")
    assert refused.code == 2
    assert "prices of 'bee': input must be 0 to 1,000,000 US dollars" in refused.err
