"""The rules of the machine: guards and choosers that the tables in `transitions.py` name.

One subject a file. A guard reads the state and answers yes or no; a chooser answers with the next
state; neither changes anything. To add one: a function here, a row in `transitions.py`, a test.
"""
