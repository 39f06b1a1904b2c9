"""WHAT TO DO NEXT: the rooms' only decider.

Here live the definitions (`spec`), the facts (`events`), the instructions (`commands`), the tables
that say which moves exist (`transitions`), the machine that applies them (`machine`, `rules/`), the
one driver every runtime uses (`driver`), replay, the story of a task, expressions, the ports
through which the other rooms are reached, and the policies (`policies/`).

Here never live a clock, dice, an id generator, a disk, a socket, a logger or an event loop: time,
draws and ids arrive inside events. Nothing here is `async`. Imports: `errors`, msgspec, and what
the standard library offers for plain data.

To add a rule: a file in `rules/` and a line in `RULES`. To add an event or a command: a class, a
row in a table, a line in the docs; the exhaustiveness test names what is missing.
"""
