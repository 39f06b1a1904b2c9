"""WHO DOES IT: from candidates to a decision.

Candidates are filtered (free, healthy, capable), scored by a strategy, and one is picked; the
decision says who, why, and why not the others. Strategies live in `strategies/`, one file each.

Pure like the core: no clock, no dice, no disk. History, load and the random draw come in as values.
A strategy never knows its siblings and never picks somebody who cannot do the task.

To add a strategy: a file in `strategies/` with one scoring function; it is found by its name.
`agenthive.testing.check_strategy` says when it is done.
"""
