"""runtimes: who obeys the commands.

A runtime gives the one driver of the core a clock, a store, agents and wake-ups, and carries out
the actions it asks for. `embedded.py` does it with asyncio in one process, `simulated.py` on
virtual time with seeded faults. A runtime decides nothing: what grows here belongs in the core. To
add one: a file here that passes `agenthive.testing.check_runtime`.
"""
