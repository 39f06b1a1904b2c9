"""The document's import path; the names live in agenthive.facades."""

import asyncio

from agenthive.facades.lead_agent import LeadAgent, main  # noqa: F401

if __name__ == "__main__":
    asyncio.run(main())
