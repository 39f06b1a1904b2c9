"""Language models: what they share, the router, one file a vendor.

`base` holds the agent that all vendors share (tools, structured output, streaming, usage),
`prompts` how a task becomes a conversation, `content_parts` what may stand in a message, `prices`
and `token_bounds` what a call can cost, `rate_limit_headers` what vendors say about their limits.
The `router` chooses the vendor for an endpoint and imports it at first use. A vendor's package is
imported by its own file alone, and vendors never know each other. To add a vendor: a file here with
a function ``make`` and a row in the router's table.
"""
