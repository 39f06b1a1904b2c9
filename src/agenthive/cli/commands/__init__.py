"""THE COMMANDS: one file for each command, named after it, with a click command ``command``.

A command returns its exit code. A command file imports only click and the shared options at its
top; everything else is imported inside the function that needs it, so that `--help` stays fast.
Command files never import each other.

A command never prints a secret and never writes outside its home, except to files that the user
names.

To add one: a file here, a test, `python3 x.py docs`. Its ``short_help`` is one literal string.
"""
