"""The graph: a workflow compiled to integers.

Nodes, dependents, ranks and learnt durations, so that the machine does constant work for each edge.
A graph is built once for a run and never changes with its state. To add what a task needs to know
in constant time: a field of `nodes.Node`, filled where the graph is built.
"""
