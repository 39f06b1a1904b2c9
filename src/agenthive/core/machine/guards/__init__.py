"""THE RULES OF THE MACHINE: the guards and choosers that the tables in `transitions.py` name.

One subject a file: dependencies, outcomes, stopping, completion, compensation. A guard reads the
state and answers yes or no; a chooser answers with the next state.

A rule never changes anything, never reads a clock or draws a number, and never knows another run.

To add one: a function here, a row in `transitions.py`, a test. A rule that would change the state
reached from an old journal must ask for the run's rules number first.
"""
