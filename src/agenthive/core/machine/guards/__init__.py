"""Guards and choosers: the functions that the rows of `machine.transitions` name.

One subject a file: dependencies, outcomes of attempts, control flow, stopping, completion of a run,
compensation. A **guard** takes the state (and a task) and returns whether its row applies. A
**chooser** takes the state, a task and an event, and returns the next state, or None if the task
stays in its state.

They never change the state, never read a clock or draw a random number, and never know another run.
Guards of a fixed point are called often: each must cost O(1), or O(parts of its task).

To add one: a function in the file of its subject, a row in `core.machine.transitions`, a test. One
that would change the state reached from an old journal must branch on the run's rules number.
"""
