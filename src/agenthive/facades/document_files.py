"""`agenthive-compat files DIR`: writes the stand-alone files that the older designs name.

The files are examples of this repository; the distribution agenthive-compat contains them, and its
console script is `main`. Existing files are detected before any file is written. To add a file: a
line in `FILES` and one in compat/pyproject.toml; files that this version cannot provide are in
`NOT_YET`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Final

import click

from agenthive import __version__

DISTRIBUTION: Final = "agenthive-compat"
SETTINGS_FILE: Final = "agenthive.toml"
SETTINGS: Final = """\
# Settings of this folder: where the agent custom://report of the examples is.
[agents]
report = "examples/example_agents.py:report"
"""
#: Path below DIR -> what the file contains.
FILES: Final = {
    SETTINGS_FILE: "settings that the examples need",
    "examples/simple_workflow.yaml": "four tasks: an API, a model, an MCP server, a function",
    "examples/parallel_workflow.yaml": "two sources at once, then combined",
    "examples/simple_demo.py": "runs simple_workflow.yaml in memory",
    "examples/demo.py": "a tour: a workflow, parallel tasks, what a failure means",
    "examples/example_agents.py": "the HTTP API and the function that the examples call",
}
#: Files that the designs name and this version cannot write -> what they require.
NOT_YET: Final = {
    "cli.py": "the command line of the Agent Hive API",
    "run_api_server.py": "the REST server of the Lead Agent design",
    "Lead_Agent_API.postman_collection.json": "calls to that server",
    "Dockerfile": "an image of that server",
}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name=DISTRIBUTION)
def main() -> None:
    """Import names and files of older agent designs, on top of agenthive.

    The names need no command: import them. `agenthive-compat files DIR` writes the files.
    """


@main.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Overwrite existing files.")
def files(folder: Path, force: bool) -> None:
    """Write the examples that the designs name into DIR.

    Exit codes: 0 all files are written, 2 a file exists already or DIR cannot be used.
    """
    try:
        texts = read_texts()
        _refuse_obstacles(folder, texts, force=force)
        _write_texts(folder, texts)
    except OSError as error:
        raise click.UsageError(f"{folder} cannot be used: {error}") from error
    for name, purpose in FILES.items():
        click.echo(f"{folder / name}: {purpose}")
    for name, purpose in NOT_YET.items():
        click.echo(
            f"not written, requires a feature that this version does not have: {name} ({purpose})",
            err=True,
        )


def read_texts() -> dict[str, str]:
    """The content of each file. Raises UsageError if agenthive-compat is not installed."""
    try:
        distribution = metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        message = f"{DISTRIBUTION} is not installed; install it: pip install {DISTRIBUTION}"
        raise click.UsageError(message) from None
    texts = {
        name: Path(str(distribution.locate_file(f"lead_agent/{name}"))).read_text("utf-8")
        for name in FILES
        if name != SETTINGS_FILE
    }
    return {SETTINGS_FILE: SETTINGS, **texts}


def _refuse_obstacles(folder: Path, texts: Mapping[str, str], *, force: bool) -> None:
    """Raise UsageError if a file would be overwritten, or a directory is in its place."""
    present = [name for name in texts if (folder / name).exists() or (folder / name).is_symlink()]
    if present and not force:
        raise click.UsageError(f"{folder} has {', '.join(present)} already; overwrite with --force")
    blocked = [name for name in present if not (folder / name).is_file()]
    if blocked:
        raise click.UsageError(f"{folder}: {', '.join(blocked)} is not a file")


def _write_texts(folder: Path, texts: Mapping[str, str]) -> None:
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
