"""An MCP server that does not keep to the protocol. By hand, for no SDK can be this rude.

Each tool of it is a way to be rude.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

VERSION = "2025-06-18"
MODERN = {"resultType": "complete", "ttlMs": 0, "cacheScope": "public"}


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def answer(number: Any, result: str) -> None:
    say(f'{{"jsonrpc": "2.0", "id": {json.dumps(number)}, "result": {result}}}')


def text(words: str) -> str:
    return json.dumps({"content": [{"type": "text", "text": words}]})


def tool(number: Any, name: str) -> None:
    """Answer a call of a tool, or not."""
    if name == "nan":
        answer(number, '{"content": [], "structuredContent": {"budget": NaN}}')
    elif name == "doubles":
        answer(number, '{"content": [], "content": [], "structuredContent": {"a": 1, "a": 2}}')
    elif name == "noise":
        say("starting up, please wait ...")
        say('{"half": ')
        say("[1, 2, 3]")
        answer(number, text("after the noise"))
    elif name == "digits":
        answer(number, '{"content": [], "structuredContent": {"n": ' + "9" * 5001 + "}}")
    elif name == "strays":
        for stray in (True, None, 1.0, 10**15):
            answer(stray, text("nobody asked"))
        for count in ("1e400", "NaN", "9" * 500):
            params = f'{{"progressToken": 1, "progress": {count}}}'
            say(f'{{"jsonrpc": "2.0", "method": "notifications/progress", "params": {params}}}')
        answer(number, text("after the strays"))
    elif name == "shapeless":
        answer(number, '{"contents": "nowhere"}')
    elif name == "deep":
        answer(number, "[" * 100_000 + "]" * 100_000)
    elif name == "long":
        answer(number, text("x" * 2_000_000))
    elif name == "asks":
        asked = {"resultType": "input_required", "requestState": "s"}
        answer(number, json.dumps(asked))
    elif name == "codes":
        error = {"code": -32602, "message": "no such argument"}
        say(json.dumps({"jsonrpc": "2.0", "id": number, "error": error}))
    elif name == "closed":
        error = {"code": -32000, "message": "I call everything -32000"}
        say(json.dumps({"jsonrpc": "2.0", "id": number, "error": error}))
    elif name == "silent":
        sys.stdout.close()
        os.close(1)
        time.sleep(3600)
    elif name == "deaf":
        time.sleep(3600)
    else:
        answer(number, text("fine"))


def main() -> None:
    if "mute" in sys.argv:
        time.sleep(3600)
    if "broken" in sys.argv:
        sys.stderr.write("x" * 100_000 + "\nno such option: --broken\n")
        sys.exit(2)
    for line in sys.stdin:
        message = json.loads(line)
        method, number = message["method"], message.get("id")
        if method == "server/discover" and "modern" in sys.argv:
            found = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
            answer(number, json.dumps({**found, **MODERN}))
        elif method == "initialize":
            about = {"name": "rude", "version": "1"}
            got = {"protocolVersion": VERSION, "capabilities": {"tools": {}}, "serverInfo": about}
            answer(number, json.dumps(got))
        elif method == "tools/list":
            tools = [
                {
                    "name": "page",
                    "inputSchema": {"type": "object"},
                    "annotations": {"readOnlyHint": True},
                }
            ]
            answer(number, json.dumps({"tools": tools, "nextCursor": "more"}))
        elif method == "tools/call":
            tool(number, message["params"]["name"])
        elif number is not None:
            error = {"code": -32601, "message": "Method not found"}
            say(json.dumps({"jsonrpc": "2.0", "id": number, "error": error}))


if __name__ == "__main__":
    main()
