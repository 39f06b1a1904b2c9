"""The budgets of a hive: how they stand, who raises them, and calls whose cost is in doubt."""

from __future__ import annotations

from agenthive.core.engine.budget_requests import HoldSettlement
from agenthive.core.values import NanoUSD
from agenthive.hive.resources import HiveResources, plain_text


class HiveBudgets(HiveResources):
    """Everything here is on disk when it returns. Amounts are nano-dollars."""

    async def set_budget(
        self,
        scope: str,
        amount: NanoUSD | None,
        *,
        add: bool = False,
        actor: str = "local",
        reason: str = "",
    ) -> None:
        """Set the limit of a scope, or ``add`` to it; None: what files say counts again.

        A scope is ``run ID``, ``run ID task NAME``, ``run ID agent NAME``, ``tenant T``, ``day T``
        (for each day) or ``agent T/NAME``. Raises Conflict if it has no limit to add to.
        """
        details = (plain_text(actor), plain_text(reason))
        await self._active_runtime.commit_request(
            lambda now, token: self._driver.set_budget(now, scope, amount, *details, token, add=add)
        )

    async def settle(
        self,
        run: str,
        task: str,
        cost: NanoUSD,
        *,
        attempt: int | None = None,
        actor: str = "local",
        reason: str = "",
    ) -> None:
        """Say what a call cost whose cost is in doubt. Raises RunNotFound, NotFound."""
        settlement = HoldSettlement(
            run=run,
            task=task,
            cost=cost,
            attempt=attempt,
            actor=plain_text(actor),
            reason=plain_text(reason),
        )
        await self._active_runtime.commit_request(
            lambda now, token: self._driver.settle_hold(now, settlement, token)
        )
