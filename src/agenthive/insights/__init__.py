"""WHAT WE LEARN FROM THE JOURNAL: figures folded from records, nothing else.

Everything here can be thrown away and computed again: the journal is the only source. Takes records
through `core.ports`, gives plain values; asks no clock and no agent.

Nothing here ever steers a run, writes, or keeps a second copy of a fact.

To add a figure: a function from records in a file here, a test that folds a journal made by hand.
"""
