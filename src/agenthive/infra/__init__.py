"""infra: operating-system services and formats from outside, one per file.

Time: `clock`, `calendar` (cron expressions and time zones), `ids`. Files: `home` (the state
directory and its lock), `fsync`. Network: `egress` (the one HTTP client for addresses that a
workflow names), `retry_after`. Guards of data: `secrets`, `schemas` (JSON Schema),
`text_validation`. Settings' tables: `price_list`, `budget_list`. Processes: `logging`, `heartbeat`,
`extras` (optional packages).

The decision logic in `core` receives time, ids and calendars as values or through ports, so that a
simulation can replace them. Nothing here decides anything about a run, and nothing here imports
another package of agenthive except `errors`. The value of a secret is kept here only, and never in
a repr, a log line or an error.

To add a service: a file named after it, with a small class or function, and a test in
`tests/infra`.
"""
