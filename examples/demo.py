"""A tour in three stops: `python examples/demo.py` (press Enter between them on a terminal).

1. a workflow of four tasks, 2. tasks in parallel, 3. what a failure means under each strategy.
"""

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import example_agents

from agenthive.agents.registry import AgentRegistry
from agenthive.authoring import Workflow, load
from agenthive.core.history.report import RunReport
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.hive import Hive

EXAMPLES = Path(__file__).parent
STRATEGIES = ("stop_on_first_failure", "continue_on_failure", "partial_completion_allowed")


def show(report: RunReport) -> None:
    """A run, a line a task."""
    print(f"   {report.status}: {report.completed_tasks} of {report.total_tasks} tasks")
    for name, task in report.tasks.items():
        error = f"  {task.error}" if task.error else ""
        print(f"     {name:22} {task.status:12} attempts {task.attempts}{error}")


def stop(title: str) -> None:
    """Say where we are; wait for Enter if somebody is there."""
    print(f"\n{title}")
    if sys.stdin.isatty():
        input("   (Enter) ")


def failing(strategy: str) -> WorkflowSpec:
    """Three independent tasks, the second of which fails."""
    flow = Workflow(f"one fails, {strategy}", failure_strategy=strategy)
    worker = flow.agent("worker", type="custom", endpoint="custom://worker")
    for name in ("first", "second", "third"):
        flow.task(name, agent=worker, action=name, retry_config={"max_attempts": 1})
    return flow.build()


def worker(action: str) -> str:
    """Fails when it is asked for the second thing."""
    if action == "second":
        raise ValueError("it broke")
    return f"{action} is done"


async def main() -> None:
    """The tour."""
    agents = AgentRegistry()
    agents.register("report", example_agents.report)
    agents.register("worker", worker)
    async with Hive.open(agents=agents) as hive:
        stop("1. Four tasks in a row: an API, a model, an MCP server, a function")
        for file in ("simple_workflow.yaml", "parallel_workflow.yaml"):
            if file.startswith("parallel"):
                stop("2. Two sources at once, then combined")
            workflow = load(EXAMPLES / file).spec
            show(await hive.run(workflow))
        stop("3. One of three tasks fails")
        for strategy in STRATEGIES:
            print(f"   {strategy}")
            show(await hive.run(failing(strategy)))


asyncio.run(main())
