"""Simulation: a workflow on virtual time, through the real core, with seeded faults.

`simulate` is the entry point. For each seed, `runner` starts the `runtime`, which executes the
commands of the core on virtual time; `world` and `faults` decide what agents return and what fails;
`people` answer approvals and send signals; `recording` collects what happened; the `oracles` judge
whether every promise held.

Never here: random workflows, which only the tests of the project need, and anything that a real run
needs. No package below may import this one.

To add a fault: a field in `faults` and its effect in `world` or `runtime`. To add a promise: an
oracle.
"""
