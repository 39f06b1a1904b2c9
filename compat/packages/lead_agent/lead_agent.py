"""Import path `lead_agent.lead_agent` of the Lead Agent design, and its command.

`python -m lead_agent.lead_agent FILE` does what `agenthive run FILE` does.
"""

import asyncio

from agenthive.facades.lead_agent import LeadAgent, main

__all__ = [
    "LeadAgent",
    "main",
]

if __name__ == "__main__":
    asyncio.run(main())
