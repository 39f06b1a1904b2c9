"""The cost of calls by this design's price list, and the total so far.

Amounts are whole nano-dollars; US dollars appear only in arguments and results. The cost of runs is
read from the journal; costs that a program reports with `record_cost` are added. Never here:
budgets of a run, which the hive checks in its ledger before a call is made.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from agenthive.agents.llm.prices import Prices
from agenthive.core.model.calls import Usage
from agenthive.core.values import NanoUSD, to_nano_usd
from agenthive.errors import InvalidValue
from agenthive.facades.orchestration.reading import Reading
from agenthive.infra.price_list import DEFAULT, parse_prices

#: Nano-dollars in one US dollar.
DOLLAR: Final = 10**9
#: Prices for a model of that name at any provider.
ANYWHERE: Final = ""


@dataclass
class CostConfig:
    """US dollars for 1,000 tokens: ``model_costs`` maps models to ``input`` and ``output``.

    A model without an entry has its published price, or the default price if there is none. With a
    default of None, such a call is refused wherever there is a budget.
    """

    model_costs: dict[str, dict[str, float]] = field(default_factory=dict)
    #: US dollars for 1,000 tokens, like ``default_output_cost``; None: no default price.
    default_input_cost: float | None = 0.01
    default_output_cost: float | None = 0.03

    def prices(self) -> Prices:
        """The resulting prices. Raises InvalidValue for an invalid price."""
        listed: dict[str, Any] = {
            model: {**costs, "per": "1K"} for model, costs in self.model_costs.items()
        }
        default = (self.default_input_cost, self.default_output_cost)
        if None not in default:
            listed[DEFAULT] = {"input": default[0], "output": default[1], "per": "1K"}
        try:
            return Prices(parse_prices(listed))
        except ValueError as error:
            raise InvalidValue(f"model_costs: the price {error}") from error


class CostTracker:
    """The costs so far, by workflow, agent and model.

    For an engine it shows the costs of its runs; the hive keeps their budgets, and a call that does
    not fit is not made. Costs that a program records itself are known only after the call; to keep
    them below a budget, set one and call `check_workflow_budget` or `check_agent_budget` before
    each call.
    """

    def __init__(self, config: CostConfig | None = None, *, reading: Reading | None = None) -> None:
        self.config = config or CostConfig()
        self._prices = self.config.prices()
        self._reading = reading or Reading()
        self._recorded: dict[str, Counter[str]] = {
            by: Counter() for by in ("run", "agent", "model")
        }
        self._recorded_usage: Counter[str] = Counter()
        self._budgets: dict[tuple[str, str], NanoUSD] = {}

    def calculate_cost(self, model: str, input_tokens: int, output_tokens: int) -> float:
        """US dollars for a call. Raises InvalidValue if the model has no known price."""
        return self._price_call(model, input_tokens, output_tokens) / DOLLAR

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
        """Add a call that was made outside any run; returns its cost in US dollars."""
        del agent_name, metadata  # names and metadata are not part of any sum
        cost = self._price_call(model, input_tokens, output_tokens)
        for by, key in (("run", workflow_id), ("agent", agent_id), ("model", model)):
            self._recorded[by][key] += cost
        self._recorded_usage.update(calls=1, input_tokens=input_tokens, output_tokens=output_tokens)
        return cost / DOLLAR

    def set_workflow_budget(self, workflow_id: str, dollars: float) -> None:
        """Set the budget of a workflow (US dollars) for `check_workflow_budget`."""
        self._budgets["run", workflow_id] = _parse_budget(dollars)

    def set_agent_budget(self, agent_id: str, dollars: float) -> None:
        """Set the budget of an agent (US dollars) for `check_agent_budget`."""
        self._budgets["agent", agent_id] = _parse_budget(dollars)

    def check_workflow_budget(self, workflow_id: str) -> bool:
        """Whether a workflow has not exceeded its budget, if it has one."""
        return self._is_within_budget("run", workflow_id)

    def check_agent_budget(self, agent_id: str) -> bool:
        """Whether an agent has not exceeded its budget, if it has one."""
        return self._is_within_budget("agent", agent_id)

    def get_statistics(self) -> dict[str, Any]:
        """All sums in US dollars. ``assumed_cost`` is for calls that never reported a cost."""
        total = self._reading.total_spent()
        tokens = {key: getattr(total, key) + self._recorded_usage[key] for key in _COUNTED}
        return {
            "total_cost": (total.cost + self._recorded["model"].total()) / DOLLAR,
            "assumed_cost": total.assumed / DOLLAR,
            "total_calls": tokens["calls"],
            "total_input_tokens": tokens["input_tokens"],
            "total_output_tokens": tokens["output_tokens"],
            "total_tokens": tokens["input_tokens"] + tokens["output_tokens"],
            "cost_by_workflow": self._to_dollars("run"),
            "cost_by_agent": self._to_dollars("agent"),
            "cost_by_model": self._to_dollars("model"),
        }

    def _price_call(self, model: str, *tokens: int) -> NanoUSD:
        for count in tokens:
            if isinstance(count, bool) or not isinstance(count, int) or count < 0:
                raise InvalidValue(f"tokens must be a whole number from 0, not {count!r}")
        usage = Usage(model=model, input_tokens=tokens[0], output_tokens=tokens[1])
        cost = self._prices.compute_cost(usage, ANYWHERE)
        if cost is None:
            raise InvalidValue(
                f"the price of the model '{model}' is unknown",
                hint="Give it a price in model_costs, or a default price.",
            )
        return cost

    def _sum_costs(self, by: str) -> Counter[str]:
        return self._recorded[by] + Counter(self._reading.sum_costs(by))

    def _to_dollars(self, by: str) -> dict[str, float]:
        return {key: cost / DOLLAR for key, cost in self._sum_costs(by).items()}

    def _is_within_budget(self, by: str, key: str) -> bool:
        budget = self._budgets.get((by, key))
        return budget is None or self._sum_costs(by)[key] <= budget


_COUNTED: Final = ("calls", "input_tokens", "output_tokens")


def _parse_budget(dollars: float) -> NanoUSD:
    if isinstance(dollars, bool) or not math.isfinite(dollars) or dollars < 0:
        raise InvalidValue(f"a budget must be US dollars from 0, not {dollars!r}")
    return to_nano_usd(dollars)
