"""Queries: the read side of a journal.

Runs and their reports (`journal_reader`), schedules and other questions about the hive as a whole
(`hive_stream`), sizes (`storage`), export and import, retention, and the check of the run list
against the records. All read through the port `Store`, so that they work on every store and beside
the process that writes.

Nothing here runs a task or writes; import and retention prepare batches, and the owner of the home
writes them. To add a question: a method of the reader that knows its subject, bounded in what it
reads.
"""
