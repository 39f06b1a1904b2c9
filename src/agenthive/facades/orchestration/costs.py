"""What calls cost, and whether that is within a budget.

Money is integer nano-dollars inside, dollars at the edges. A tracker of one's own is told what was
used and says whether a budget holds; inside an engine nothing is made that does not fit, since the
hive holds the worst case of each call before it is made.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from agenthive.agents.prices import Prices
from agenthive.core.ports import Usage
from agenthive.core.report import NANO
from agenthive.core.values import NanoUSD
from agenthive.infra.price_list import DEFAULT, PriceList, parse

VENDORS: Final = ("openai", "anthropic")


@dataclass
class CostConfig:
    """Dollars for 1,000 tokens of each model: ``{"gpt-4": {"input": 0.03, "output": 0.06}}``.

    A model that is not among them has its published price, or else the default one. Raises
    ValueError for prices that are negative, no numbers or absurd.
    """

    model_costs: dict[str, dict[str, float]] = field(default_factory=dict)
    default_input_cost: float = 0.01
    default_output_cost: float = 0.03

    def __post_init__(self) -> None:
        self.price_list()

    def price_list(self) -> PriceList:
        """As the house has it."""
        default = {"input": self.default_input_cost, "output": self.default_output_cost}
        tables = {**self.model_costs, DEFAULT: default}
        return parse({model: {"per": "1K", **table} for model, table in tables.items()})


class CostTracker:
    """Sums costs by agent, workflow and model. Budgets are dollars."""

    def __init__(self, config: CostConfig | None = None) -> None:
        self.config = config or CostConfig()
        self.prices = Prices(self.config.price_list())
        self._total: NanoUSD = 0
        self._tokens = [0, 0]
        self._records = 0
        self._sums: dict[str, Counter[str]] = {
            "by_workflow": Counter(), "by_agent": Counter(), "by_model": Counter(),
        }  # fmt: skip
        self._budgets: dict[tuple[str, str], NanoUSD] = {}

    def calculate_cost(self, model: str, input_tokens: int, output_tokens: int) -> float:
        """Dollars for a call. Raises ValueError for negative counts."""
        return self.nano(model, input_tokens, output_tokens) / NANO

    def nano(self, model: str, input_tokens: int, output_tokens: int) -> NanoUSD:
        """Nano-dollars for a call. Raises ValueError for negative counts."""
        if input_tokens < 0 or output_tokens < 0:
            raise ValueError("there are no negative tokens")
        used = Usage(model=model, input_tokens=input_tokens, output_tokens=output_tokens)
        found = (self.prices.cost(used, vendor) for vendor in VENDORS)
        return next(cost for cost in found if cost is not None)

    def record_cost(
        self,
        agent_id: str,
        agent_name: str,
        workflow_id: str,
        model: str,
        input_tokens: int,
        output_tokens: int,
        metadata: dict[str, Any] | None = None,
    ) -> float:
        """A call was made; dollars. ``metadata`` may hold its cost if that is known otherwise."""
        given = (metadata or {}).get("cost_nano_usd")
        cost = self.nano(model, input_tokens, output_tokens) if given is None else int(given)
        self._total += cost
        self._records += 1
        self._tokens = [self._tokens[0] + input_tokens, self._tokens[1] + output_tokens]
        named = {"by_workflow": workflow_id, "by_agent": agent_id, "by_model": model}
        for by, name in named.items():
            self._sums[by][name] += cost
        return cost / NANO

    def set_workflow_budget(self, workflow_id: str, dollars: float | None) -> None:
        """What a workflow may cost; None: anything. Raises ValueError."""
        self._set("by_workflow", workflow_id, dollars)

    def set_agent_budget(self, agent_id: str, dollars: float | None) -> None:
        """What an agent may cost; None: anything. Raises ValueError."""
        self._set("by_agent", agent_id, dollars)

    def check_workflow_budget(self, workflow_id: str) -> bool:
        """Whether a workflow has cost no more than it may."""
        return self._within("by_workflow", workflow_id)

    def check_agent_budget(self, agent_id: str) -> bool:
        """Whether an agent has cost no more than it may."""
        return self._within("by_agent", agent_id)

    def get_statistics(self) -> dict[str, Any]:
        """Dollars in all and by workflow, agent and model; tokens; calls."""
        sums = {
            by: {name: cost / NANO for name, cost in counted.items()}
            for by, counted in self._sums.items()
        }
        return {
            "total_cost": self._total / NANO,
            "total_records": self._records,
            "total_input_tokens": self._tokens[0],
            "total_output_tokens": self._tokens[1],
            "total_tokens": sum(self._tokens),
            "average_cost": self._total / NANO / self._records if self._records else 0.0,
            **sums,
        }

    def _set(self, by: str, name: str, dollars: float | None) -> None:
        if dollars is None:
            self._budgets.pop((by, name), None)
        elif math.isfinite(dollars) and 0 <= dollars < 1e9:
            self._budgets[by, name] = round(dollars * NANO)
        else:
            raise ValueError(f"a budget must be 0 or more US dollars, not {dollars}")

    def _within(self, by: str, name: str) -> bool:
        budget = self._budgets.get((by, name))
        return budget is None or self._sums[by][name] <= budget
