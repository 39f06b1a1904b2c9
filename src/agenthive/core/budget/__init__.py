"""Budgets: the arithmetic of money, without any policy.

What lives here: what a reply makes of a hold (`holds`), the accounts of all scopes (`ledger`), and
the names of scopes (`scopes`). Amounts are integer nano-dollars, so that sums are exact. What to do
when a hold does not fit is never decided here: `core.engine.budgets` does.

Theory of operation. Before a call its worst case is **reserved** (a hold) in every scope that it
draws on: task, agent in the run, run tree, agent, tenant, day. When the call has ended its actual
cost is **captured** and the hold is **released**, in all of them at once. In each scope the sum of
what is captured and held never exceeds the limit by a hold, as a hold that does not fit in one
scope is made in none; so parallel calls cannot overspend together. A call of unknown cost
keeps its hold, **in doubt**, until a late reply, a user or a time-out settles it.

To add a scope: its name in `scopes`, its limit in `find_file_limit`, its place in
`core.engine.budgets` (`BudgetManager.list_scopes`).
"""
