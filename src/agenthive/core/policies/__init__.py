"""POLICIES: values a user may set, and the arithmetic that goes with them.

One file each: a frozen value with the user's settings and, beside it, the small state it needs,
changed by plain methods.

A policy never knows a clock or dice (both come in as arguments, journaled by the caller), never
waits, and never knows another policy.

To add one: a file here, its fields in `core/model/workflow.py`, the place in the core that asks it.
"""
