"""What the commands of the CLI share: sessions, options, output, progress, views.

A view turns reports into lines; `session` opens a home or reaches the process that owns it;
`output` decides between text and ``--json``. A command is never defined here, and nothing here
decides about a run. To add a view: a file here, used by at least two commands or too large for one.
"""
