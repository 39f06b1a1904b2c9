"""The engine: events in, batches and actions out.

What lives here: the `Driver`, which a runtime uses; the parts that it holds (`CommandHandlers`,
`TaskPreparation`, `Admission`, `Recovery`, `HumanRequests`, `BudgetRequests`, `ScheduleRunner`) and
the `EngineState` that they share; the gates that a task passes before its call (`ready_queue`,
`circuit_breakers`, `budgets`, `rate_limits`); and the `Outbox` of what a runtime has to write and
to do.

What never lives here: a decision about the moves of a run, which is the machine's; a clock, a
random number or I/O, which come in as arguments; a payload format, which is the journal's.

Theory of operation
-------------------
A turn of the engine has four steps, and a runtime takes one turn after the other:

1. Report. The runtime calls a method of the driver for each request, reply and cancellation. The
   driver makes an event of it, applies the event to the run's state (`step`), and carries out the
   commands that follow. The event waits in the outbox.
2. Decide. `Driver.decide` fires timers, evaluates expressions, starts runs and tasks, and returns a
   batch: all events since the last batch, one record for each run, in one transaction. A decision
   is applied before the next one is made, so that two tasks never use the same slot or the same
   money.
3. Commit. The runtime appends the batch to the store. Meanwhile it may report more, which goes into
   the next batch.
4. Act. `Driver.confirm_commit` returns the actions that the batch makes safe: calls whose intent is
   on disk, acknowledgements of requests, notices that a run ended.

A crash loses nothing that was committed: a new engine (`Recovery`) replays the journal and arrives
at the same state, with the same keys, holds and timers. What was not committed had no effect,
except for calls that declare ``effect: none``, which may start before step 3.

Gates
-----
A task starts a call only if every gate admits it. The gates are checked in this order, and the
first that refuses ends the check; tests/core/test_gate_order.py compares the list with the code.

    gate 1. run slots: fewer than ``max_runs`` runs of the hive take a slot (`Admission`)
    gate 2. task slots: the run has fewer than ``max_parallel`` calls in progress (`ReadyQueue`)
    gate 3. call slots: the hive has fewer than ``max_calls`` calls in progress (`ReadyQueue`)
    gate 4. circuit breaker: it is not open for the agent's endpoint (`BreakerRegistry`)
    gate 5. agent slots: the agent has fewer than ``max_concurrency`` calls (`ReadyQueue`)
    gate 6. approval: what the task would do now is what was approved (`TaskPreparation`)
    gate 7. budget: every scope has room for the worst case of the call (`BudgetManager`)
    gate 8. rate limit: the endpoint's concurrency and all tiers admit the call (`RateLimitGates`)

Only then the budget reserves the hold, so that a call that the rate limit delays holds no money,
and the intent is recorded. An endpoint that refused a call closes its lane in the queue; gate 4
also finds that lane closed, so that the other tasks of the agent are not checked one by one.

To add a gate: its state in a file here, one check in `admission` (or in `ready_queue` if it counts
slots), a line in the list above, and its case in the test.
"""
