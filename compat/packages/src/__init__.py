"""`src` of the Agent Orchestration Engine: names of agenthive."""
