"""`src.failure_handling` of the Agent Orchestration Engine: names of agenthive."""
