"""selection: chooses which agent performs a task. Empty so far: workflows name their agents.

A strategy will filter the candidates (free, healthy, capable), score them, and pick one; its
decision records why that agent was chosen and why the others were not.

Pure like the core: code in this package never reads a clock, random numbers or a disk; history,
load and random draws are passed in as values. To add a strategy: one file with one scoring
function, which imports no other strategy.
"""
