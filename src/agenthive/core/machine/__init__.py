"""The machine: ``step(state, event) -> commands``, the only writer of `RunState`.

`transitions` holds the tables, `guards` the predicates that their rows name, `event_handlers` what
an event records, `state_actions` what entering or leaving a state does, and `machine` applies them
until nothing more follows. The machine never asks the outside world: time, ids and draws arrive in
events. To add a move: a row in a table, its guard in `guards`, and a test of the row.
"""
