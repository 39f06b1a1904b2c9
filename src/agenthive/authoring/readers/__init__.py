"""Readers: from the text of a workflow file to nodes that know their line and column.

One file for each syntax (`yaml`, `json`), the nodes, the size limits, and the list of problems that
all readers and checks add to. A reader never interprets a key of the dialect. To add a syntax: a
file here with a function that returns a `SourceNode`, called by `sources.read_text`.
"""
