"""Budgets: the arithmetic of money.

Holds and captures, the ledger of a scope, and the names of scopes. Amounts are integer
nano-dollars. What to do when money is short is never decided here: see `core.engine.budgets`. To
add a scope: a name in `scopes` and the place in the order of scopes.
"""
