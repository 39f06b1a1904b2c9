"""`src.agents` of the Agent Orchestration Engine: names of agenthive."""
