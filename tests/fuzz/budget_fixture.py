"""The money of one simulation: its limits, what its calls cost, what the judge is told of it."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

import msgspec

from agenthive.core.model.workflow import WorkflowSpec
from agenthive.simulation.case import SimulationCase
from agenthive.simulation.ports import World
from agenthive.simulation.recording import WatchedDisk
from tests.fuzz.random_money import BillingWorld, random_limits, with_budgets

SHARE: Final = 0.6
"""How many of the simulations have money."""


def has_money(seed: int) -> bool:
    """Whether the calls of this seed cost anything."""
    return Random(f"money of {seed}").random() < SHARE


class BudgetFixture:
    """What money there is in the simulation of a seed."""

    def __init__(self, seed: int) -> None:
        self._rng = Random(f"budgets of {seed}")
        self.limits = random_limits(self._rng)
        self._billing: BillingWorld | None = None

    def add_budgets(self, spec: WorkflowSpec) -> WorkflowSpec:
        """A workflow with budgets and costs."""
        return with_budgets(self._rng, spec)

    def wrap_world(self, world: World, spec_of: Callable[[str], WorkflowSpec]) -> World:
        """The world, whose calls cost something."""
        self._billing = BillingWorld(self._rng, world, spec_of)
        return self._billing

    def fill_case(self, case: SimulationCase, disk: WatchedDisk) -> None:
        """Give the judge what it needs."""
        assert self._billing is not None
        case.limits = self.limits
        case.accounts = [msgspec.to_builtins(entry) for entry in disk.accounts()]
        case.charges = {} if self._billing.greedy else dict(self._billing.charges)
        case.batches = [
            [
                (entry.stream, event)
                for entry in batch
                for event in msgspec.json.decode(entry.payload)
            ]
            for batch in disk.batches
        ]
