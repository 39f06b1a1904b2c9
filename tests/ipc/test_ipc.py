"""The control socket: requests to the process that owns a home, and how they can fail."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agenthive import AgentRegistry, Hive, Workflow, WorkflowSpec
from agenthive.errors import (
    ConfigurationError,
    HomeBusy,
    OwnerGone,
    RunNotFound,
    StoreUnavailable,
)
from agenthive.infra.home import Home
from agenthive.ipc.client import ControlClient
from agenthive.ipc.framing import MAX_MESSAGE_BYTES, receive_message, send_message
from agenthive.ipc.protocol import MAX_SOCKET_PATH


async def wait(parameters: dict[str, Any]) -> str:
    """Does nothing for a while."""
    await asyncio.sleep(parameters.get("seconds", 0))
    return "done"


def flow(seconds: float = 0, **keys: Any) -> WorkflowSpec:
    """One task that waits."""
    made = Workflow("flow", **keys)
    agent = made.agent("wait", type="custom", endpoint="custom://wait")
    made.task("t", agent=agent, action="go", parameters={"seconds": seconds})
    return made.build()


@pytest.fixture
async def owner(tmp_path: Path) -> AsyncIterator[Hive]:
    """A hive that owns a home."""
    agents = AgentRegistry()
    agents.register("wait", wait)
    async with Hive.open(tmp_path / "home", agents=agents) as hive:
        yield hive


@pytest.fixture
def client(owner: Hive) -> ControlClient:
    """A client of that home."""
    assert owner.home is not None
    return ControlClient(Home(owner.home.path))


@pytest.fixture
def caller(client: ControlClient) -> Hive:
    """The owner, as another process sees it."""
    return client.proxy_for(Hive)


async def test_submit_watch_and_report(owner: Hive, caller: Hive) -> None:
    assert await caller.submit(flow(), {"a": 1}, run_id="r1") == "r1"
    facts = [fact async for fact in caller.watch("r1")]
    assert [fact.seq for fact in facts] == list(range(1, len(facts) + 1))
    assert facts[-1].type == "task.succeeded"
    assert json.loads(bytes(facts[-1].data))["result"] == "done"
    later = [fact.seq async for fact in caller.watch("r1", after=2)]
    assert later == [fact.seq for fact in facts[2:]]
    assert (await owner.report("r1")).status == "completed"


async def test_cancel_resume_status(owner: Hive, client: ControlClient, caller: Hive) -> None:
    await caller.submit(flow(60), run_id="r1")
    assert (await client.status())["callers"] == 1
    await caller.cancel("r1", reason="enough")
    assert (await owner.wait("r1")).status == "cancelled"
    assert await caller.resume() == []
    assert await caller.resume(["r1"]) == []


async def test_errors_cross_the_door(caller: Hive) -> None:
    with pytest.raises(RunNotFound, match="there is no open run 'nope'"):
        await caller.cancel("nope")
    with pytest.raises(ConfigurationError) as caught:
        await caller.submit(flow(inputs={"n": {"type": "integer", "required": True}}), run_id="r")
    assert "'n'" in caught.value.problems[0]


async def test_files_are_for_the_owner_only(owner: Hive) -> None:
    assert owner.home is not None
    for name in ("door", "socket"):
        assert (owner.home.path / name).stat().st_mode & 0o777 == 0o600
    await owner.close()
    assert not (owner.home.path / "door").exists()
    assert not owner.home.socket.exists()


async def test_caller_without_a_token_is_refused(owner: Hive, client: ControlClient) -> None:
    assert owner.home is not None
    said = json.loads(owner.home.read("door"))
    owner.home.write("door", json.dumps(said | {"token": "guess"}).encode())
    with pytest.raises(HomeBusy, match="does not know the caller"):
        await client.status()


@pytest.mark.parametrize(
    "request_", [[], {"ask": "dance"}, {"ask": "submit"}, {"ask": "watch", "run": 1}, "x"]
)
async def test_nonsense_is_answered_with_an_error(
    owner: Hive, client: ControlClient, request_: Any
) -> None:
    assert owner.home is not None
    said = json.loads(owner.home.read("door"))
    reader, writer = await asyncio.open_unix_connection(said["socket"])
    asked = request_ | {"token": said["token"]} if isinstance(request_, dict) else request_
    await send_message(writer, asked)
    answer = await receive_message(reader)
    assert "error" in answer
    writer.close()
    assert await client.status(), "the owner is still there"


async def test_garbage_and_silence_do_no_harm(
    owner: Hive, client: ControlClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert owner.home is not None
    monkeypatch.setattr("agenthive.ipc.server.HANDSHAKE_SECONDS", 0.1)
    path = str(owner.home.socket)
    for junk in (
        b"",
        b"\xff\xff\xff\xff",
        b"\0\0\0\2{]",
        (MAX_MESSAGE_BYTES + 1).to_bytes(4, "big"),
        b"\0",
    ):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(junk)
        await asyncio.wait_for(reader.read(), 5)
        writer.close()
    assert await client.status()


async def test_callers_are_bounded(
    client: ControlClient, caller: Hive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agenthive.ipc.server.MAX_CALLERS", 1)
    await caller.submit(flow(60), run_id="r1")
    watching = asyncio.ensure_future(anext(caller.watch("r1", after=99)))
    await asyncio.sleep(0.1)
    with pytest.raises(HomeBusy, match="too many callers"):
        await client.status()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_owner_that_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agenthive.ipc.client.HANDSHAKE_SECONDS", 0.1)
    monkeypatch.setattr("agenthive.ipc.client.REPLY_SECONDS", 0.2)
    mute = socket.socket(socket.AF_UNIX)
    mute.bind(str(tmp_path / "socket"))
    mute.listen()
    said = {"socket": str(tmp_path / "socket"), "token": "t", "pid": 1}
    (tmp_path / "door").write_text(json.dumps(said))
    client = ControlClient(Home(tmp_path))
    async with asyncio.timeout(5):
        with pytest.raises(OwnerGone, match="does not answer"):
            await client.status()
        with pytest.raises(OwnerGone, match="does not answer"):
            await client.proxy_for(Hive).submit(flow(), {"text": "x" * 10_000_000}, run_id="r1")
    mute.close()


async def test_watcher_sees_the_owner_go(owner: Hive, caller: Hive) -> None:
    await caller.submit(flow(60), run_id="r1")
    watching = asyncio.ensure_future(anext(caller.watch("r1", after=99)))
    await asyncio.sleep(0.1)
    await owner.close()
    with pytest.raises(OwnerGone):
        await watching


async def test_owner_that_leaves_takes_nothing_more(owner: Hive, caller: Hive) -> None:
    assert owner._control_server is not None
    owner._control_server.refusing = True
    with pytest.raises(HomeBusy, match="about to leave"):
        await caller.submit(flow(), run_id="r1")


async def test_nobody_there(tmp_path: Path) -> None:
    client = ControlClient(Home(tmp_path))
    with pytest.raises(HomeBusy, match="does not answer"):
        await client.status()
    (tmp_path / "door").write_text("{]")
    with pytest.raises(HomeBusy, match="does not answer"):
        await client.status()


@pytest.mark.parametrize("why", ["the path is long", "there are none"])
async def test_loopback_port_where_there_is_no_socket(
    why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    if why == "the path is long":
        home = tmp_path / ("x" * MAX_SOCKET_PATH)
    else:
        monkeypatch.delattr(socket, "AF_UNIX")
    agents = AgentRegistry()
    agents.register("wait", wait)
    async with Hive.open(home, agents=agents):
        assert not (home / "socket").exists()
        caller = ControlClient(Home(home)).proxy_for(Hive)
        assert await caller.submit(flow(), run_id="r1") == "r1"
        assert [fact async for fact in caller.watch("r1")][-1].type == "task.succeeded"


async def test_messages_are_bounded() -> None:
    class Never:
        def write(self, data: bytes) -> None:
            raise AssertionError

    with pytest.raises(Exception, match="is more than"):
        await send_message(Never(), "x" * (MAX_MESSAGE_BYTES + 1))  # type: ignore[arg-type]


async def test_home_that_takes_no_door(tmp_path: Path) -> None:
    (tmp_path / "door.new").mkdir()
    with pytest.raises(StoreUnavailable, match="cannot be used"):
        await Hive.open(tmp_path)
    (tmp_path / "door.new").rmdir()
    async with Hive.open(tmp_path):
        assert (tmp_path / "door").exists()


async def test_door_that_cannot_be_removed_keeps_no_home(tmp_path: Path) -> None:
    hive = await Hive.open(tmp_path / "home")
    (tmp_path / "home" / "door").unlink()
    (tmp_path / "home" / "door").mkdir()
    await hive.close()
    again = Home(tmp_path / "home")
    again.acquire()
    again.release()


async def test_owner_that_goes_while_it_is_told(tmp_path: Path) -> None:
    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    home = Home(tmp_path)
    path = str(tmp_path / "s")
    async with await asyncio.start_unix_server(leave, path):
        home.write("door", json.dumps({"socket": path, "token": "t"}).encode())
        caller = ControlClient(home).proxy_for(Hive)
        with pytest.raises(OwnerGone):
            await caller.submit(flow(), {"much": "x" * 20_000_000}, run_id="r")
