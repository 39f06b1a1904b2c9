"""The core decides what happens next, and nothing else here decides.

    engine > history > machine > { graph | budget } > { expressions | journal | ports } > model
    > policies > values

Each package imports only what stands to its right; a contract checks it. `engine` takes events and
returns batches and actions; `history` is folded from records; `machine` is
``step(state, event) -> commands``.

The core never has a clock, randomness, an id generator, a disk, a socket, a logger or an event
loop: time, draws and ids arrive inside events, and nothing here is `async`. It imports `errors`,
msgspec and what the standard library offers for plain data.

To add a rule: a predicate in `machine/guards` and a row in a table. To add an event or a command: a
class, a row in a table, a line in the docs; the exhaustiveness test names what is missing.
"""
