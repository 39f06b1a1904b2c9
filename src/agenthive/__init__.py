"""agenthive: durable orchestration of AI agents."""
