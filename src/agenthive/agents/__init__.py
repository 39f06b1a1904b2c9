"""agents: kinds of agent, one file each.

An agent performs one attempt of one task (`core.ports.Agent.perform`) and returns a result, or a
fault that says whether another attempt may help. It sends the idempotency key, stops the call when
it is cancelled, bounds what it reads, and never retries by itself. Kinds never know each other,
decide nothing about the run, and see secrets only at the last moment.

To add one: a file here with the four functions of `base.AgentKind`; its name is the kind's name.
Nothing else is edited: `registry.AgentRegistry` finds it, also in an installed package (entry
points in the group `agenthive.agents`) or in an ``--agents`` file. It is done when
`agenthive.testing.check_agent` is green. `docs/howto/add-an-agent-kind.md` has an example.
"""
