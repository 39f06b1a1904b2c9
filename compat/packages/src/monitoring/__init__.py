"""`src.monitoring` of the Agent Orchestration Engine: names of agenthive."""
