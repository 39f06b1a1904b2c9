"""Language models: a router, the agent that vendors share, and one file per vendor.

How a call becomes a result:

1. `router` chooses the vendor by the endpoint (or by the prefix of the model) and imports its file.
2. `prompts` turns the task into a neutral `Prompt`: messages, tools, options.
3. The vendor's file (`openai`, `anthropic`) spells the prompt as a request body; `content_parts`
   translates images and cache marks between the two dialects.
4. `base` sends it with the login and the idempotency key, streamed or not, and removes secrets from
   what arrives.
5. The vendor's file reads the response into a `ModelReply`; `base` turns that into a `Reply` with
   tool calls, structured output, usage and cost. `endings` judges how the response ended: one that
   was cut off, filtered, refused or left empty is a fault.

`token_bounds` and `prices` bound the cost of a call before it is made, for the budget, and compute
it afterwards; `cost_risks` finds what in a call they cannot bound. `usage` reads what a server
reports as used, and `rate_limit_headers` what it reports about its limits. `offline` is a
deterministic model without a vendor.

A vendor's package is imported only in that vendor's file, and vendors never import each other.
Nothing here retries. To add a vendor: a file here with a subclass of `base.ChatAgent` and a
function ``make``, its name in `router.VENDORS`, and its rule in `router.vendor_of`.
"""
