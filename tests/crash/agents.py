"""The operator's file with the agent of `kill_resume.py`: sleeps a little, then writes a line."""

from __future__ import annotations

import asyncio
import os

from agenthive.core.model.calls import Call


async def write(call: Call) -> str:
    """Take 20-50 ms, then append the task's name and key to the file that the parameters name."""
    await asyncio.sleep(float(str(call.parameters["seconds"])))
    handle = os.open(str(call.parameters["file"]), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(handle, f"{call.task} {call.key} {call.attempt}\n".encode())
    finally:
        os.close(handle)
    return call.task


AGENTS = {"write": write}
