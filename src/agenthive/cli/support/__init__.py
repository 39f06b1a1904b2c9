"""What the commands share: sessions, options, output, progress, views.

`session` opens a home or connects to the process that owns it; `output` prints JSON documents,
tables and lines; a view turns a report into lines. No command is defined here, and nothing here
decides what a run does. To add a view: a file here, if two commands use it or it is too large for
its command.
"""
