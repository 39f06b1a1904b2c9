"""What the small examples need: an HTTP API on loopback, and the agent `custom://report`.

Named in agenthive.toml. Importing it serves the API for as long as the process lives; to serve it
for other processes: `python examples/example_agents.py`, until Ctrl-C.
"""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from statistics import mean
from typing import Any

from agenthive.agents.python import NonRetryableError

ADDRESS = ("127.0.0.1", 8099)
ROWS = [{"month": m, "visits": 90 + 7 * m, "sales": 20 + 2 * m + m % 3} for m in range(1, 13)]
NOTES = (
    "Visits grew every month of the year. Sales grew with the visits, a little slower in summer. "
    "No month lost visits."
)
PAGES: dict[str, Any] = {
    "/data": {"data": ROWS, "count": len(ROWS), "notes": NOTES, "closed_at": "15:30"},
    "/source/1": {"source": 1, "text": "Visits grew every month of the year."},
    "/source/2": {"source": 2, "text": "Sales grew with the visits, a little slower."},
}


class Api(BaseHTTPRequestHandler):
    """Serves PAGES; everything else is 404."""

    def do_GET(self) -> None:
        """Answer."""
        page = PAGES.get(self.path.partition("?")[0])
        body = json.dumps({"error": "not here"} if page is None else page).encode()
        self.send_response(404 if page is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def serve() -> None:
    """Serve the API; while another process on this machine does, wait until it has ended."""
    while True:
        try:
            server = ThreadingHTTPServer(ADDRESS, Api)
        except OSError:
            time.sleep(0.05)
        else:
            server.serve_forever()


def correlate(rows: list[dict[str, Any]]) -> float:
    """The correlation of visits and sales (Pearson's r)."""
    visits, sales = [row["visits"] for row in rows], [row["sales"] for row in rows]
    offsets = [(x - mean(visits), y - mean(sales)) for x, y in zip(visits, sales, strict=True)]
    spread = (sum(x * x for x, _ in offsets) * sum(y * y for _, y in offsets)) ** 0.5
    return round(sum(x * y for x, y in offsets) / spread, 3) if spread else 0.0


def report(action: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """A Markdown page about the data."""
    if action != "write":
        raise NonRetryableError(f"report has no action '{action}'")
    rows = parameters["data"]
    closing = json.loads(parameters["closing"])["target"]
    lines = [
        f"# Report: {parameters['topic']}",
        f"{parameters['summary']}",
        f"{len(rows)} months; correlation of visits and sales {correlate(rows)}.",
        f"Closed at {closing['datetime']} ({closing['timezone']}).",
    ]
    return {"report": "\n\n".join(lines)}


AGENTS = {"report": report}

if __name__ == "__main__":
    serve()
else:
    threading.Thread(target=serve, daemon=True).start()
