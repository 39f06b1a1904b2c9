"""Checks: from sections of a file to specs, one file for each section.

Each module takes nodes from a reader, reports every problem with its place, and returns specs of
`core.model`. Checks never read files, never run anything and do not know the assembler. To add a
check: a function in the file of what it checks; for a new section, a file here that the assembler
calls.
"""
