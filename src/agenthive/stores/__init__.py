"""WHERE THE JOURNAL LIVES: one file a store, all behind the port `core.journal.store.Store`.

`sqlite` keeps a home in one file, durable at every commit; `memory` is gone with its process.
A store writes whole batches in order, chains the records of each stream, and says honestly whether
a failed write may have happened. SQL stands in `sql/`, in files of its own.

A store never looks into a payload, never decides anything, and never acknowledges before a commit.

To add a store: a file here with a function ``open_store``, its SQL in `sql/`, and
`agenthive.testing.check_store` green. The name of the file is the scheme of its URLs:
``Hive.open("NAME:PLACE")``. `docs/howto/add-a-store-or-runtime.md` has an example.
"""
