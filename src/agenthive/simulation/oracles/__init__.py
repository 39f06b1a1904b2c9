"""Oracles: judges of a simulated run, one file for each promise.

An oracle reads what happened and what the world recorded, and returns violations. It never uses the
code that it judges, and oracles do not know each other; `judge` runs all of them. To add one: a
file here, a line in `judge`, and a planted bug that it alone catches.
"""
