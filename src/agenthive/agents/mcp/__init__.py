"""MCP servers as agents: the agent, the owner of its session, its HTTP transport, its processes.

`agent` maps a task to a request of the protocol, and holds the two kinds of server as peers:
`StdioServer` (a local command) and `RemoteServer` (an HTTP address). `session_owner` keeps one
session with a peer open for many calls, in a task of its own, because the SDK requires that the
task which opened a session also closes it. `transport` confines the failure of one HTTP request to
that request. `process_group` starts local commands and ends them with all their descendants.

A session begins with the first call and ends when the peer is lost, when it has been idle, or when
the agent is closed; the next call opens another one. A call that was in flight gets a fault of the
kind ``connection``. Nothing here retries, decides about the run, or trusts what a server says about
itself. To add a transport: a class in `agent` with the four methods of `session_owner.Peer`, and
its case in `McpAgent._open_session`.
"""
