"""The demo: writes release notes for this repository with a workflow of four agents.

`python3 x.py demo [ARGS]` runs it; ARGS go to `agenthive run`, for example
`--input model=openai:gpt-4o-mini` or `--json`. Needs no key and no network beyond loopback.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = "demo-home"


def say(text: str) -> None:
    """Beside the data."""
    print(text, file=sys.stderr, flush=True)


def main(arguments: list[str]) -> int:
    """Run the example, then say where everything is."""
    say("agenthive demo: release notes for this repository, written by four agents")
    say("  python  finds which commits are new (a function of yours)")
    say("  git     reads them (the MCP server mcp-server-git, over stdio)")
    say("  style   says how to sort them (an HTTP API on loopback)")
    say("  model   sums them up (offline://extractive: no key, no network)\n")
    tool = Path(sys.executable).with_name("agenthive")
    home = [] if "--home" in arguments else ["--home", HOME]
    command = [str(tool), "run", "examples/release_notes.yaml", *home, *arguments]
    code = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONWARNINGS": ""}).returncode
    if code == 0:
        chosen = [one.removeprefix("output=") for one in arguments if one.startswith("output=")]
        say(f"\nThe page: {ROOT / (chosen[-1] if chosen else 'release_notes.md')}\nThen try:")
        shown = f"--home {HOME}"
        say(f"  .venv/bin/agenthive ps {shown}                 the runs of this home")
        say(f"  .venv/bin/agenthive events RUN {shown}         every event of a run")
        say("  .venv/bin/agenthive validate examples/*.yaml     check workflow files")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
