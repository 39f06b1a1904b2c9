"""selection: which agent performs a task. Empty so far: workflows name their agents.

Candidates will be filtered (free, healthy, capable), scored by a strategy, and one picked, with a
decision that says why, and why not the others.

Pure like the core: what is added here never has a clock, random numbers or a disk; history, load
and random draws come in as values. A strategy will be one file with one scoring function, which
never knows its siblings.
"""
