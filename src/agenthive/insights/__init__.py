"""Insights: figures that are computed from the journal or from a workflow.

* From records, in one pass: `costs`, `metrics`, `agent_statistics`. Each is a fold: an object takes
  all records in the order they were committed (`add_records`) and gives its sums at the end.
* From the accounts and the state of a run: `budgets`.
* From a workflow, before it runs: `cost_bounds` (what it can cost at most) and `plan` (cost, time
  and risks), with what `agent_statistics` has learned.
* `distributions` and `critical_path` are the arithmetic for these.

Nothing here ever steers a run, writes, or reads a clock. No figure is stored: the journal is the
only source, and every figure can be computed again.

To add a figure: a fold of records in a file here, with a test that feeds it records made by hand.
"""
