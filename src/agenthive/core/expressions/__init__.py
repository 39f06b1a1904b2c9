"""Expressions: the language of `{{ }}` and of conditions.

`template` finds expressions in text, `compiler` parses and evaluates the allowed subset of Python's
expression syntax, `functions` are those that may be called, `names` the roots that may be used. An
expression never reaches an attribute, a module or the clock, and its length, depth, steps and
output are bounded. To add a function: a row in `functions` and a line in the reference.
"""
