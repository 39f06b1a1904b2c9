"""Readers: from the text of a workflow file to nodes that know their line and column.

One file a syntax (`yaml`, `json`), the nodes, the sizes that are allowed, and the list of problems
that all readers and checks add to. A reader never knows a key of the dialect. To add a syntax: a
file here that returns `nodes.Node`, and a row in `sources`.
"""
