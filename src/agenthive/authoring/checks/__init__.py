"""Checks: from the nodes of a file to specs, one file for each section.

`sections` checks each key on its own, by the dialect's table; the other modules check rules over
several keys and build the specs of `core.model`. Every problem is reported with its place. Except
for the files of sub-workflows, checks read no files; they never execute anything and never import
the assembler.

To add a check: a function in the file of its section; for a new section, a file here that the
assembler calls.
"""
