"""The journal: what is written, never why.

What lives here: the events of runs (`run_events`) and of the hive (`hive_events`), the records that
hold them (`records`), the hash chain over records (`hash_chain`), and the protocol of a store
(`store`). Nothing here decides anything or reads the state of a run.

Each run has a stream of its own, and the hive has one. A **record** is what one step of the engine
wrote into one stream: one or more events, as the exact bytes of a JSON array. A **batch** is what
one transaction writes. Names of events and fields are stored names: a class or a field may be
renamed in Python only if its stored name is kept (``tag=``, ``rename=``).

To add an event: a struct in `run_events` or `hive_events`, its place in the union at the end of the
file, its rows in the tables of the machine, a line in the reference. To change the meaning of one:
a new record version and an upcast of the old one.
"""
