"""testing: the public test kit.

`simulate(workflow)` runs a workflow on virtual time with seeded faults, through the real core, and
reports how long it takes, what it costs and whether every promise held. The kits `check_store`,
`check_runtime` and `check_agent` check a new store, runtime or agent kind against its contract.
`ScriptedAgent` returns prepared responses in your own tests.

Nothing here is needed to run agenthive, and no package below may import this one. To add a kit: a
file here, a name in ``__all__``, and a planted fault for each of its checks in `tests/testing/`.
"""

from agenthive.simulation.simulate import SimulationReport, simulate
from agenthive.testing.agent_kit import HANG, After, NotConforming, ScriptedAgent, check_agent
from agenthive.testing.runtime_kit import check_runtime
from agenthive.testing.runtime_stages import embedded_stage, simulated_stage
from agenthive.testing.store_kit import check_store

__all__ = [
    "HANG",
    "After",
    "NotConforming",
    "ScriptedAgent",
    "SimulationReport",
    "check_agent",
    "check_runtime",
    "check_store",
    "embedded_stage",
    "simulate",
    "simulated_stage",
]
