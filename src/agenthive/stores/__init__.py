"""Stores: where the journal is kept, one file for each store.

All implement the port `core.journal.store.Store`. `sqlite` keeps the journal in one file
and is durable at every commit; `memory` keeps it in the process and loses it with the process. SQL
is written in `sql/`, in files of its own.

How a write works, in every store: a batch is appended as a whole or not at all, in the order of the
calls. The store gives each record its position (`pos`), checks that its number follows the last one
of its stream, and chains it to that record's hash (`core/journal/hash_chain.py`). After a failed
write the store distinguishes two cases. `StoreUnavailable`: nothing was written, and the same batch
may be appended again. `StoreFailed`: it is unknown whether the batch was written; the store refuses
every later write, and only a new open of the journal finds out.

A store never reads a payload, never makes a decision, and never acknowledges before the commit.

To add a store: a file here with a function ``open_store``, and its SQL in `sql/`. The name of the
file is the scheme of its URLs: ``Hive.open("NAME:PLACE")``. It is done when
`agenthive.testing.check_store` passes. A store with an SQL database passes `SqlReader` a function
that runs a query, and has all reads of the port. `docs/howto/add-a-store-or-runtime.md` has an
example.
"""
