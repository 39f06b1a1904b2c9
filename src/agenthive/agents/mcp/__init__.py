"""MCP servers as agents: the agent, the owner of its session, its transport and its processes.

`agent` maps a task to a call of a tool, `session_owner` keeps one session open for many calls,
`transport` contains what a server may send, `process_group` starts and ends servers that run as
local commands. Retries and decisions about the run never live here. To add a transport: a function
in `transport` that yields a pair of streams.
"""
