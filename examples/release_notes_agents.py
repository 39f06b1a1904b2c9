"""What release_notes.yaml needs of Python: finding the range, writing the page, and a small API.

Named in agenthive.toml as `custom://release_notes`. Importing it starts the API on loopback, so it
is there for a run and for its resumption; it ends with the process.
"""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from agenthive.agents.python import NonRetryableError
from agenthive.core.model.calls import Call

ADDRESS = ("127.0.0.1", 18377)
LAST = 20
"""Commits that count as new where there is no tag."""
MOST = 1000
"""Commits that one page lists."""
SECTIONS = {
    "Added": ["add", "build", "lay", "compose", "learn", "simulate", "ship", "write"],
    "Fixed": ["fix", "mend", "repair", "give", "refuse", "survive"],
    "Changed": [],
}
"""Heading -> first words of the subjects under it; the heading without words takes the rest."""


class Style(BaseHTTPRequestHandler):
    """GET /sections: which subjects go under which heading."""

    def do_GET(self) -> None:
        """Answer."""
        known = self.path == "/sections"
        body = json.dumps({"sections": SECTIONS} if known else {"error": "not here"}).encode()
        self.send_response(200 if known else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def _open_server() -> ThreadingHTTPServer | None:
    try:
        return ThreadingHTTPServer(ADDRESS, Style)
    except OSError:
        return None  # another run on this machine serves the same page


def _serve(server: ThreadingHTTPServer | None) -> None:
    """Serve until this process ends, from the moment on when no other process does."""
    while server is None:
        time.sleep(0.05)
        server = _open_server()
    server.serve_forever()


threading.Thread(target=_serve, args=(_open_server(),), daemon=True).start()


def git(repository: str, *arguments: str) -> str:
    """What git says, or nothing if it refuses."""
    done = subprocess.run(
        ["git", "-C", repository, *arguments], capture_output=True, text=True, timeout=30
    )
    return done.stdout.strip() if done.returncode == 0 else ""


def find_range(parameters: dict[str, Any]) -> dict[str, Any]:
    """The repository's root, its last tag, the new commits, and how far back the oldest lies."""
    root = git(str(parameters["repository"]), "rev-parse", "--show-toplevel")
    if not root:
        raise NonRetryableError(f"{parameters['repository']} is not a git repository")
    tag = git(root, "describe", "--tags", "--abbrev=0")
    history = git(root, "rev-list", "HEAD").split()
    since_tag = set(git(root, "rev-list", f"{tag}..HEAD").split()) if tag else set(history[:LAST])
    new = [sha for sha in history if sha in since_tag][:MOST]
    depth = history.index(new[-1]) + 1 if new else 1
    return {"repository": root, "since": tag or None, "count": depth, "new": new}


def commits(text: str) -> list[dict[str, str]]:
    """Hash and subject of every commit in what the MCP server's git_log says."""
    parts = re.split(r"^Commit: ([0-9a-f]{40})\nAuthor: ", text, flags=re.MULTILINE)
    found = []
    for sha, rest in zip(parts[1::2], parts[2::2], strict=True):
        message = rest.partition("\nMessage: ")[2].lstrip("\n")
        paragraph = re.split(r"\n\s*\n", message, maxsplit=1)[0]
        found.append({"sha": sha, "subject": " ".join(paragraph.splitlines()).rstrip()})
    return found


def read_history(call: Call) -> dict[str, Any]:
    """Of the commits that the server listed, those that are new."""
    given: dict[str, Any] = call.dependencies
    new = set(given["range"]["new"])
    found = [commit for commit in commits(given["history"]["content"]) if commit["sha"] in new]
    said = [c["subject"] for c in found if not c["subject"].startswith("Merge ")]
    return {"commits": found, "count": len(found), "subjects": said}


def write_page(call: Call) -> dict[str, Any]:
    """Write the Markdown file; the same key gives the same page."""
    given: dict[str, Any] = call.dependencies
    listed: list[dict[str, str]] = given["commits"]["commits"]
    sections: dict[str, list[str]] = given["sections"]["sections"]
    since = given["range"]["since"]
    what = f"{len(listed)} commits since {since}" if since else f"The last {len(listed)} commits"
    lines = ["# Release notes", "", f"{what}.", "", given["summary"]["content"], ""]
    for heading, words in sections.items():
        others = {word for list_ in sections.values() for word in list_}
        chosen = [c for c in listed if _fits(c["subject"], words, others)]
        if chosen:
            lines += [f"## {heading}", ""]
            lines += [f"- {c['subject']} ({c['sha'][:10]})" for c in chosen] + [""]
    path = Path(str(call.parameters["output"])).resolve()
    temporary = path.with_suffix(".tmp")
    temporary.write_text("\n".join(lines), encoding="utf-8")
    temporary.replace(path)
    return {"path": str(path), "commits": len(listed)}


def _fits(subject: str, words: list[str], others: set[str]) -> bool:
    first = (subject.split() or [""])[0].lower()
    return first in words if words else first not in others


def release_notes(action: str, parameters: dict[str, Any], call: Call) -> dict[str, Any]:
    """The agent `custom://release_notes`."""
    if action == "find_range":
        return find_range(parameters)
    if action == "read_history":
        return read_history(call)
    if action == "write_page":
        return write_page(call)
    raise NonRetryableError(f"release_notes has no action '{action}'")


AGENTS = {"release_notes": release_notes}
