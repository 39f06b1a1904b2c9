"""`src.rate_limiting` of the Agent Orchestration Engine: names of agenthive."""
