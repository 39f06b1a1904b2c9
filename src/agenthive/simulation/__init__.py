"""Simulation: a workflow on virtual time, through the real core, with seeded faults.

`simulate` is the door; `runtime` obeys the core without a clock of its own, `world` and `faults`
say what agents return and what breaks, `people` answer approvals, `oracles` judge whether every
promise held. Nothing here is needed to run agenthive, and no package below may import it. To add a
fault: a field in `options` and its effect in `faults`; to add a promise: an oracle.
"""
