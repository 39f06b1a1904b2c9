"""The core: all decisions about what a run does next.

    engine > history > machine > { graph | budget } > { expressions | journal | ports } > model
    > policies > values

Each package imports only packages to its right (those in braces do not import each other); an
import contract checks it.

* `engine` is the driver: it takes what happened in the outside world, and returns batches to write
  and actions to take.
* `history` is what can be folded from records: replay, snapshots, reports, migrations.
* `machine` is ``step(state, event) -> commands``, by tables; its docstring has the theory of
  operation.
* `graph` is a workflow compiled to integers; `budget` is the arithmetic of money.
* `expressions` is the ``{{ }}`` language; `journal` has the events, the records and the store's
  protocol; `ports` has the other protocols.
* `model` is what a workflow is; `policies` are settings with their arithmetic; `values` are the
  basic types.

The core never has a clock, randomness, an id generator, a disk, a socket, a logger or an event
loop: times, draws and ids arrive inside events, and nothing here is ``async``. It imports `errors`,
msgspec and those parts of the standard library that handle plain data.

To add a rule: a guard in `machine.guards` and a row in a table. To add an event or a command: a
struct, rows or a handler, a line in the reference; the exhaustiveness tests name what is missing.
"""
