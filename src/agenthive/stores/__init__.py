"""stores: where the journal lives.

Each file implements the port `core.ports.Store` for one place: `sqlite.py` (a file, the default),
`memory.py` (gone with the process). A store writes whole batches, in order, durably, chains the
records of each stream, and says honestly whether a failed write may have happened. It never looks
into a payload and never decides anything. To add one: a file here that passes
`agenthive.testing.check_store`, its SQL in `sql/`, and a URL scheme in `hive.py`.
"""
