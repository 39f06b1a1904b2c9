"""What the small examples need: an HTTP API on loopback, and `custom://analysis`.

Named in agenthive.toml. Importing it serves the API for as long as the process lives.
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
PAGES: dict[str, Any] = {
    "/data": {"data": ROWS, "count": len(ROWS)},
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


threading.Thread(target=serve, daemon=True).start()


def analysis(action: str, parameters: dict[str, Any]) -> dict[str, float]:
    """The correlation of visits and sales (Pearson's r)."""
    if action != "correlate":
        raise NonRetryableError(f"analysis has no action '{action}'")
    rows = parameters["data"]
    xs, ys = [row["visits"] for row in rows], [row["sales"] for row in rows]
    dx, dy = [x - mean(xs) for x in xs], [y - mean(ys) for y in ys]
    spread = (sum(a * a for a in dx) * sum(b * b for b in dy)) ** 0.5
    together = sum(a * b for a, b in zip(dx, dy, strict=True))
    return {"correlation": round(together / spread, 3) if spread else 0.0, "rows": len(rows)}


AGENTS = {"analysis": analysis}
