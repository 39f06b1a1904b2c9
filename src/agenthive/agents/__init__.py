"""agents: the kinds of agent, and the registry that finds the agent for a task.

An agent performs one attempt of one task (`core.ports.Agent.perform`) and returns a `Reply`: a
result, or a `Fault` that says what is certain about the call. `base` holds what all kinds share,
`faults` makes faults with their classes, `results` turns results of Python code into JSON,
`registry` creates agents from their specs, `http` and `python` are kinds in one file, `llm` and
`mcp` are kinds in a package of their own.

Every kind keeps the same contract, which `agenthive.testing.check_agent` tests:

* It sends the idempotency key of the call, so that the other side can recognise a repetition.
* It ends the call when the task is cancelled: the connection is closed, the process is killed.
* It bounds what it reads, and decodes it strictly.
* It returns a fault for a failure of the outside world and does not raise. The class of the fault
  says whether the call acted; in doubt, it may have (`FaultClass.UNKNOWN`). The driver is the one
  owner of retries, so an agent never retries by itself, and a vendor's retries are turned off.
* It resolves secrets when it sends them, and removes them from everything it returns.

Kinds never import each other, and nothing here decides about a run. A kind's module is imported
when its first agent is needed, so that a vendor's package costs nothing before that.

To add a kind: a file here with the four functions of `base.AgentKind`; its name is the name of the
kind. Nothing else is edited: `registry.AgentRegistry` finds it, also in an installed package (entry
points in the group `agenthive.agents`) or in an ``--agents`` file. It is done when `check_agent`
passes. `docs/howto/add-an-agent-kind.md` has an example.
"""
