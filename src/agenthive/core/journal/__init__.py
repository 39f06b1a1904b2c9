"""The journal: what is written, never why.

Events of runs and of the hive, the records that hold them, the hash chain, and the protocol of a
store. Stored names live here, so a class or a field may be renamed only with its stored name kept.
Nothing here decides or reads a state. To add an event: a class in `run_events` or `hive_events`, a
row in a table of the machine, a line in the docs.
"""
