"""THE COMMAND LINE: `agenthive COMMAND`, one file a command in `cli/commands/`.

A command reads its arguments, asks a `Session` (the home, whether this process owns it or another
one does) and prints: data on standard output, everything else on standard error, one JSON document
with a schema id under ``--json``. Its exit code is the error's or the run's.

A command never decides what a run does, never knows another command, never opens a journal itself.

To add one: a file in `commands/` with a click command called ``command``; then
`python3 x.py docs`. `docs/howto/add-a-command.md` has an example.
"""

from __future__ import annotations

from agenthive.cli.root import main

__all__ = ["main"]
