"""Runtimes: they carry out what the driver of the core decides, one file for each.

What lives here: `embedded`, which runs on asyncio in one process, and what it is made of: the tasks
that make calls (`call_tasks`), the futures of callers (`waiters`), streamed answers
(`stream_listeners`), validation of results (`output_validation`), the result cache and the event
loop. The runtime on virtual time, with seeded faults, is in `agenthive.simulation`.

What never lives here: a decision. A runtime gives the driver the time, random numbers, a store and
agents; it never decides what to do next, never retries a call by itself, and never makes a call
before `Driver.confirm_commit` (or `Driver.take_eager_calls`) returns it. Logic that a second
runtime would need belongs in the core.

To add a runtime: a file here with the loop that `agenthive.core.engine.driver` describes, until
`agenthive.testing.check_runtime` passes with the same canonical log as the other runtimes.
`docs/howto/add-a-store-or-runtime.md` has an example.
"""
