"""`agenthive completion SHELL`: the completion script for a shell."""

from __future__ import annotations

import click


@click.command(name="completion", short_help="Print the completion script for a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> int:
    """Print the script that completes commands and options in SHELL.

    For bash, add this line to ~/.bashrc: eval "$(agenthive completion bash)"
    """
    from click.shell_completion import get_completion_class

    completion_class = get_completion_class(shell)
    assert completion_class is not None
    root = context.find_root().command
    click.echo(completion_class(root, {}, "agenthive", "_AGENTHIVE_COMPLETE").source())
    return 0
