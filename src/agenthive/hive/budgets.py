"""Budgets: limits of scopes, and the cost of calls whose cost is in doubt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from agenthive.core.budget.scopes import is_scope, parse_day
from agenthive.core.engine.budget_requests import HoldSettlement
from agenthive.core.journal.records import AccountState
from agenthive.core.values import MOST_AMOUNT, NanoUSD
from agenthive.errors import InvalidValue
from agenthive.hive.requests import HiveRequests
from agenthive.hive.resources import HiveResources, plain_text

SCOPE_HINT: Final = (
    "A scope is 'run ID', 'run ID task NAME', 'run ID agent NAME', 'tenant T', 'day T' or "
    "'agent T/NAME'; the tenant of an embedded home is 'default'."
)


def _check_amount(amount: object) -> None:
    """Raise InvalidValue unless ``amount`` is a number of nano-dollars that the store can hold."""
    if isinstance(amount, bool) or not isinstance(amount, int) or not 0 <= amount <= MOST_AMOUNT:
        raise InvalidValue(
            f"{amount!r} is not an amount of nano-dollars",
            hint="Pass a whole number from 0 to 10**18; one dollar is 1_000_000_000.",
        )


class HiveBudgets:
    """The budgets of a hive. Amounts are nano-dollars.

        await hive.budgets.top_up(f"run {run}", 500_000_000, reason="approved by finance")
        accounts = await hive.budgets.list()

    A scope is ``run ID``, ``run ID task NAME``, ``run ID agent NAME``, ``tenant T``, ``day T`` (for
    each day) or ``agent T/NAME``. A change is on disk when the method returns. A call with the
    ``request_id`` of an earlier one changes nothing and ends as that one did.
    """

    def __init__(self, resources: HiveResources, requests: HiveRequests) -> None:
        self._resources, self._requests = resources, requests

    async def set_limit(
        self,
        scope: str,
        amount: NanoUSD | None,
        *,
        actor: str = "local",
        reason: str = "",
        request_id: str | None = None,
    ) -> None:
        """Set the limit of a scope; None restores what the workflow and the settings declare."""
        await self.change_limit(scope, amount, actor=actor, reason=reason, request_id=request_id)

    async def top_up(
        self,
        scope: str,
        amount: NanoUSD,
        *,
        actor: str = "local",
        reason: str = "",
        request_id: str | None = None,
    ) -> None:
        """Add ``amount`` to the limit of a scope. Raises Conflict if the scope has no limit."""
        await self.change_limit(
            scope, amount, add=True, actor=actor, reason=reason, request_id=request_id
        )

    async def change_limit(
        self,
        scope: str,
        amount: NanoUSD | None,
        *,
        add: bool = False,
        actor: str = "local",
        reason: str = "",
        request_id: str | None = None,
    ) -> None:
        """As `set_limit`, or with ``add`` as `top_up`."""
        if not isinstance(scope, str) or not is_scope(scope):
            raise InvalidValue(f"{scope!r} is not a budget scope", hint=SCOPE_HINT)
        scope = parse_day(scope)
        if amount is not None or add:
            _check_amount(amount)
        details = (plain_text(actor), plain_text(reason))
        driver, runtime = self._resources.driver, self._resources.runtime
        await self._requests.execute_once(
            request_id,
            "set_budget",
            {"scope": scope, "amount": amount, "add": add, "details": list(details)},
            lambda keep: runtime.commit_request(
                lambda now, token: driver.set_budget(now, scope, amount, *details, token, add=add),
                keep(None),
            ),
            type(None),
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
        request_id: str | None = None,
    ) -> None:
        """Record what a call cost whose cost is in doubt, and release the rest of its hold.

        ``attempt`` counts from 1; None is the oldest attempt in doubt. Raises RunNotFound, NotFound
        if the cost of no such call is in doubt.
        """
        _check_amount(cost)
        settlement = HoldSettlement(
            run=run,
            task=task,
            cost=cost,
            attempt=attempt,
            actor=plain_text(actor),
            reason=plain_text(reason),
        )
        driver, runtime = self._resources.driver, self._resources.runtime
        await self._requests.execute_once(
            request_id,
            "settle",
            msgspec.to_builtins(settlement),
            lambda keep: runtime.commit_request(
                lambda now, token: driver.settle_hold(now, settlement, token), keep(None)
            ),
            type(None),
        )

    async def list(self) -> Sequence[AccountState]:
        """Every account of the journal, with what it has spent and what is reserved."""
        return await self._resources.journal.list_accounts()
