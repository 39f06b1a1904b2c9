"""agents: kinds of agent, one file each.

An agent does one attempt of one task (`core.ports.Agent.perform`) and says what came of it: a
result, or a fault that tells whether trying again may help. It sends the idempotency key, stops for
real when it is cancelled, bounds what it reads, and never retries by itself. Kinds never know each
other, decide nothing about the run, and see secrets only at the last moment. To add one: a file
here with a `BaseAgent` whose ``kind`` names it (or an entry point in the group `agenthive.agents`),
a line in `directory.KINDS`, and `agenthive.testing.check_agent`.
"""
