"""Runs simple_workflow.yaml and prints what came of it: `python examples/simple_demo.py`."""

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import example_agents

from agenthive.agents.registry import AgentRegistry
from agenthive.authoring import load
from agenthive.hive import Hive

EXAMPLES = Path(__file__).parent


async def main() -> None:
    """One workflow, in memory."""
    agents = AgentRegistry()
    agents.register("report", example_agents.report)
    workflow = load(EXAMPLES / "simple_workflow.yaml", actions=agents).spec
    async with Hive.open(agents=agents) as hive:
        report = await hive.run(workflow)
    print(f"{report.name}: {report.status}, {report.completed_tasks}/{report.total_tasks} tasks")
    for name, result in report.results.items():
        print(f"  {name}: {str(result)[:100]}")


asyncio.run(main())
