"""The engine: events in, batches and actions out.

`driver` owns the order decide, append, commit, apply, act. Around it stand the ready queue, the
gates that a task passes before it starts, schedules, approvals and signals, child runs, and the
outbox of what a runtime has to do. The engine never decides which moves a run may make: that is the
machine's, and it never reads a clock or a random number: both come in events. To add a gate: its
state in a file here, and one question in `admission`.
"""
