"""WHAT THE WORLD GIVES US: clock, ids, time zones, hashing, secrets, egress, logging.

Each file wraps one thing of the world so that the rooms above can be given another one in a test:
a clock that is turned by hand, ids that count, an HTTP client that refuses private addresses.

Nothing here decides anything about a run, and nothing here imports another room but `errors`. A
secret's value lives here only as long as a call needs it, and never in a repr, log or error.

To add one: a file named after the thing, a small class or function, and its twin for tests.
"""
