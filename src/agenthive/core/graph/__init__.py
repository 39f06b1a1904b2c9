"""The graph: a workflow compiled to integers.

What lives here: nodes with all defaults resolved and expressions compiled (`nodes`), indexes, edges
and ranks (`graph`), and durations learnt in a run (`estimates`), so that the machine does constant
work for each edge. A graph is built for a definition and shared by its runs; it never knows the
state of a run. A run that generates tasks gets a copy to which it appends.

To add what the machine must know about a task in constant time: a field of `nodes.Node`, filled
where the node is built.
"""
