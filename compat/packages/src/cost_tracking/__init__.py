"""`src.cost_tracking` of the Agent Orchestration Engine: names of agenthive."""
