"""WHO OBEYS THE COMMANDS: one file a runtime, all around the one driver of the core.

`embedded` runs on asyncio in one process; the one in `simulation/runtime.py` runs on virtual time
with seeded faults. A runtime gives the driver a clock, a store, agents and wake-ups, and carries
out what it asks for.

A runtime never decides what to do next, never retries by itself, and never acts before the driver
says that the intent is committed. What grows here belongs in the core.

To add a runtime: a file here, and `agenthive.testing.check_runtime` green with the same canonical
log as the others. `docs/howto/add-a-store-or-runtime.md` has an example.
"""
