"""`src.llm_clients` of the Agent Orchestration Engine: names of agenthive."""
