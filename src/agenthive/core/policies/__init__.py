"""Policies: values that a user may set, and the arithmetic that goes with them.

One file each: retry, circuit breaker, rate limit, adaptive concurrency (AIMD), fair queue, loop
detection, schedules. A file has a frozen value with the user's settings and, beside it, the small
state that the arithmetic needs, changed by plain methods.

A policy never reads a clock or draws a random number (both come in as arguments, which the caller
has journaled), never waits, and never knows another policy's state. Formulas name their source.

To add one: a file here, a field for its settings in `core.model.workflow`, and the place in
`core.engine` or `core.machine` that applies it.
"""
