"""The model: what a workflow is, and the words that the rest of the core uses.

Specifications, states of runs and tasks, calls and replies, keys, timestamps. Plain values: nothing
here has behaviour beyond checking and naming itself, and nothing here knows an event. To add a
field to a workflow: a field of a spec with a default, so that stored definitions stay readable.
"""
