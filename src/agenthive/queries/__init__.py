"""Queries: the read side of a journal.

Reports of runs, listings, export and import, retention, and the check of projections against the
records. Nothing here runs a task; only the owner of a home writes. To add a question: a method of
`journal_reader.JournalReader`, bounded in what it reads.
"""
