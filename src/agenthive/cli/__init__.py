"""THE COMMAND LINE: `agenthive COMMAND`, one file a command in `cli/commands/`.

A command parses its arguments, calls a `Session` (which works the same whether this process or
another one owns the home) or reads the journal, and prints the outcome: data on standard output,
progress and hints on standard error, one JSON document with a schema id under ``--json``. Its exit
code is that of the error or of the run.

A command never decides what a run does, never imports another command and never opens a store.

To add one: a file in `commands/` with a click command called ``command``; then
`python3 x.py docs`. `docs/howto/add-a-command.md` has an example.
"""

from __future__ import annotations

from agenthive.cli.root import main

__all__ = ["main"]
