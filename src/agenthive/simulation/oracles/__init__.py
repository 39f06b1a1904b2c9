"""Oracles: they judge a simulated run, one file for each group of promises.

An oracle reads the journal and what the world recorded, and returns violations. It never uses the
code that it judges, and oracles do not import each other's rules; `judge` runs all of them.

To add one: a file here, a line in `judge`, and a planted bug that only this oracle finds.
"""
