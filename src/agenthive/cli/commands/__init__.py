"""THE COMMANDS: one file each, named like the command, holding a click command called ``command``.

Each returns its exit code. Imports at the top are light (click and the options): what a command
needs is imported when it runs, so that `--help` stays quick. Siblings are strangers.

A command never prints a secret and never writes anything but to its home.

To add one: a file here, a test, `python3 x.py docs`. Its ``short_help`` is one literal string.
"""
