"""The table of verbs: it fits the Hive, keeps its words on the wire, and one row adds a verb."""

from __future__ import annotations

import inspect
import operator
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from agenthive import Hive, Workflow, WorkflowSpec
from agenthive.core.history.migration import Migration, MigrationCheck
from agenthive.core.history.retention import Retention
from agenthive.core.journal import run_events as ev
from agenthive.core.model import definition
from agenthive.core.model.states import RunStatus
from agenthive.infra.home import Home
from agenthive.ipc import protocol
from agenthive.ipc.client import ControlClient
from agenthive.ipc.protocol import Codec, Verb
from agenthive.ipc.server import ControlServer


def build_workflow() -> WorkflowSpec:
    workflow = Workflow("flow")
    agent = workflow.agent("work", type="custom", endpoint="custom://work")
    workflow.task("t", agent=agent, action="go")
    return workflow.build()


WORKFLOW = build_workflow()
BODY = definition.encode(WORKFLOW)

CALLS = {
    "submit": (
        lambda hive: hive.submit(WORKFLOW, {"a": 1}, run_id="r"),
        {"workflow": BODY.decode(), "inputs": {"a": 1}, "run": "r"},
    ),
    "cancel": (lambda hive: hive.cancel("r", reason="no"), {"run": "r", "reason": "no"}),
    "resume": (lambda hive: hive.resume(["r"]), {"runs": ["r"]}),
    "resolve": (
        lambda hive: hive.resolve_outcome("r", "t", "failed", actor="ann", reason="seen"),
        {"run": "r", "task": "t", "outcome": "failed", "actor": "ann", "reason": "seen"},
    ),
    "approve": (
        lambda hive: hive.approvals.decide("r", "t", approved=False, digest="ab", comment="no"),
        {"run": "r", "task": "t", "approved": False, "digest": "ab", "comment": "no"},
    ),
    "signal": (
        lambda hive: hive.signals.send("r", "paid", {"n": 1}, id="1"),
        {"run": "r", "name": "paid", "data": {"n": 1}, "id": "1"},
    ),
    "set_budget": (
        lambda hive: hive.budgets.change_limit("run r", 5, add=True, request_id="k-1"),
        {"scope": "run r", "amount": 5, "add": True, "request_id": "k-1"},
    ),
    "settle": (
        lambda hive: hive.budgets.settle("r", "t", 5, attempt=2),
        {"run": "r", "task": "t", "cost": 5, "attempt": 2},
    ),
    "schedule": (
        lambda hive: hive.schedules.apply_change(
            ev.SchedulePaused(at=0, schedule="s", reason="why"), b"x"
        ),
        {
            "change": {
                "type": "hive.schedule_paused",
                "at": 0,
                "schedule": "s",
                "reason": "why",
            },
            "workflow": "x",
        },
    ),
    "migrate": (
        lambda hive: hive.migrations.migrate("r", WORKFLOW, renamed={"a": "b"}),
        {"run": "r", "workflow": BODY.decode(), "renamed": {"a": "b"}},
    ),
    "fork": (
        lambda hive: hive.forks.create("r", "t", None, id="f", again=True),
        {"run": "r", "task": "t", "workflow": None, "id": "f", "again": True},
    ),
    "watch": (lambda hive: hive.watch("r", 3), {"run": "r", "after": 3}),
    "collect": (
        lambda hive: hive.retention.prune(Retention(limits={RunStatus.FAILED: 7})),
        {"policy": {"limits": {"failed": 7}}},
    ),
    "take_in": (
        lambda hive: hive.retention.import_run(Path("/f"), open_too=True),
        {"file": "/f", "open": True},
    ),
}
"""Verb -> a call of the Hive's method, and its arguments on the wire."""


class RecordingClient(ControlClient):
    """Notes what would be sent."""

    def __init__(self) -> None:
        super().__init__(Home(Path("nowhere")))
        self.sent: list[tuple[str, Mapping[str, Any]]] = []

    async def _exchange_messages(
        self, name: str, arguments: Mapping[str, Any]
    ) -> AsyncIterator[dict[str, Any]]:
        self.sent.append((name, arguments))
        yield {"ok": None}


def test_every_verb_has_an_example() -> None:
    assert CALLS.keys() == protocol.VERBS.keys()


@pytest.mark.parametrize("name", CALLS)
async def test_words_on_the_wire(name: str) -> None:
    call, arguments = CALLS[name]
    client = RecordingClient()
    outcome = call(client.proxy_for(Hive))
    if inspect.isasyncgen(outcome):
        assert [item async for item in outcome] == []
    else:
        await outcome
    assert client.sent == [(name, arguments)]


@pytest.mark.parametrize("name", CALLS)
async def test_row_fits_the_hive(name: str) -> None:
    verb = protocol.VERBS[name]
    async with Hive.open() as hive:
        method = operator.attrgetter(verb.method)(hive)
        wanted = [verb.parameters.get(argument, argument) for argument in verb.arguments]
        parameters = [name for name in inspect.signature(method).parameters if name in wanted]
        assert parameters == wanted, "in the order of the method, so that positions fit"
        inspect.signature(method).bind(**verb.decode_request(CALLS[name][1]))


def test_arguments_arrive_as_they_were() -> None:
    workflow = protocol.VERBS["submit"].decode_request({"workflow": BODY.decode(), "run": "r"})
    assert workflow == {"workflow": definition.decode(BODY), "run_id": "r"}
    change = protocol.VERBS["schedule"].decode_request(CALLS["schedule"][1])
    assert change["change"] == ev.SchedulePaused(at=0, schedule="s", reason="why")
    assert change["body"] == b"x"


def test_results_arrive_as_they_were() -> None:
    verb = protocol.VERBS["migrate"]
    migration = Migration(verdict=MigrationCheck.STAY, changes=[], renamed={"a": "b"})
    assert verb.decode_result(verb.encode_result(migration)) == migration
    assert verb.decode_result(None) is None, "an older owner returns nothing"


async def test_proxy_has_the_verbs_of_the_table_alone() -> None:
    proxy = RecordingClient().proxy_for(Hive)
    for path in ("report", "approvals.list", "journal", "schedules.list", "approvals.decide.x"):
        with pytest.raises(AttributeError):
            operator.attrgetter(path)(proxy)
    with pytest.raises(TypeError, match="run, reason"):
        proxy.cancel("r", actor="ann")
    with pytest.raises(TypeError, match="run, reason"):
        proxy.cancel("r", "why", "id", "more")


def test_every_verb_that_changes_something_takes_an_id() -> None:
    without = {verb.name for verb in protocol.VERBS.values() if "request_id" not in verb.arguments}
    assert without == {"watch", "resume"}, "one reads, the other is about the process"


class Echo:
    """A part of an owner that is no Hive."""

    async def repeat(self, text: bytes, times: int = 1) -> bytes:
        return text * times

    async def count(self, up_to: int) -> AsyncIterator[int]:
        for number in range(up_to):
            yield number


class EchoOwner:
    """An owner with that part."""

    store_error = ""

    def __init__(self) -> None:
        self.echo = Echo()


async def test_one_row_adds_a_verb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_text = Codec(bytes.decode, str.encode)
    for verb in (
        Verb(
            name="say_again",
            method="echo.repeat",
            arguments=("words", "times"),
            parameters={"words": "text"},
            codecs={"words": as_text},
            result=as_text,
        ),
        Verb(name="count", method="echo.count", arguments=("up_to",), item_key="number"),
    ):
        monkeypatch.setitem(protocol.VERBS, verb.name, verb)
    server = ControlServer(Home(tmp_path), EchoOwner())
    await server.open()
    try:
        owner = ControlClient(Home(tmp_path)).proxy_for(EchoOwner)
        assert await owner.echo.repeat(b"hum") == b"hum"
        assert await owner.echo.repeat(b"hum", times=2) == b"humhum"
        assert [number async for number in owner.echo.count(3)] == [0, 1, 2]
    finally:
        await server.close()
