"""The kit for agents: a good one passes, and each planted bad one is caught by what it breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from agenthive.agents.faults import build_fault
from agenthive.core.model.calls import Call, Fault, Reply
from agenthive.core.model.workflow import AgentSpec, TaskSpec, WorkflowSpec
from agenthive.core.policies.fault_classes import FaultClass
from agenthive.hive import Hive
from agenthive.testing import HANG, After, NotConforming, ScriptedAgent, check_agent

SECRET = "hunter2-hunter2"


def asked(action: str, **parameters: Any) -> Call:
    return Call(
        run="r", task="t", attempt=1, key="k", agent="a", action=action, parameters=parameters
    )


UNKNOWN = FaultClass.UNKNOWN


class World:
    """The other side: what arrived there, and how many calls it still works on."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.working = 0


class Good:
    """An agent as it should be. The planted ones below each break one thing."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def perform(self, call: Call) -> Reply:
        if call.action == "good":
            self.world.keys.append(self.key(call))
        act = getattr(self, call.action, None)
        return Reply(fault=Fault(kind="refused", message="no")) if act is None else await act()

    def key(self, call: Call) -> str:
        return call.key

    async def good(self) -> Reply:
        return Reply(result={"n": [1, 2.5, None, "x"]})

    async def bad(self) -> Reply:
        return Reply(fault=build_fault("unavailable", "HTTP 500", UNKNOWN, retry_after=1.0))

    async def hanging(self) -> Reply:
        self.world.working += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.world.working -= 1
        raise AssertionError

    async def large(self) -> Reply:
        return Reply(fault=Fault(kind="invalid_reply", message="larger than 10 bytes"))

    async def close(self) -> None:
        pass


async def check(kind: Callable[[World], Any]) -> None:
    world = World()
    await check_agent(
        lambda: kind(world),
        good=asked("good"),
        bad=asked("bad"),
        hanging=asked("hanging"),
        large=asked("large"),
        keys=lambda: world.keys,
        secrets=[SECRET],
        stopped=lambda: world.working == 0,
        within=0.4,
    )


async def test_a_good_agent_passes() -> None:
    await check(Good)


async def test_what_a_kind_does_not_have_is_left_out() -> None:
    agent = ScriptedAgent(
        lambda call: 1 if call.action == "good" else build_fault("lost", "x", UNKNOWN)
    )
    await check_agent(lambda: agent, good=asked("good"), bad=asked("bad"), hanging=None, keys=None)
    assert agent.closed > len(agent.calls) / 10


class NoResult(Good):
    async def good(self) -> Reply:
        return Reply(fault=Fault(kind="lost", message="where is it?"))


class NotJson(Good):
    async def good(self) -> Reply:
        return Reply(result=float("nan"))


class ChangedByJson(Good):
    async def good(self) -> Reply:
        return Reply(result={1: "a number is no key"})  # type: ignore[dict-item]


class NoReply(Good):
    async def good(self) -> Any:
        return {"content": "bare"}


class Raises(Good):
    async def bad(self) -> Reply:
        raise ConnectionError("gone")


class Succeeds(Good):
    async def bad(self) -> Reply:
        return Reply(result="all is well")


class InventsKinds(Good):
    async def bad(self) -> Reply:
        return Reply(fault=Fault(kind="oops", message="x"))


class NoClass(Good):
    """The engine would have to guess from the kind whether the call was carried out."""

    async def bad(self) -> Reply:
        return Reply(fault=Fault(kind="lost", message="x"))


class SaysNothing(Good):
    async def bad(self) -> Reply:
        return Reply(fault=Fault(kind="lost", message=" "))


class WaitsForEver(Good):
    async def bad(self) -> Reply:
        return Reply(fault=build_fault("timeout", "x", UNKNOWN, retry_after=float("inf")))


class BrokenByFailure(Good):
    broken = False

    async def bad(self) -> Reply:
        self.broken = True
        return await super().bad()

    async def good(self) -> Reply:
        return await (super().bad() if self.broken else super().good())


class Confused(Good):
    async def perform(self, call: Call) -> Reply:
        call.parameters.get("endpoint", "").strip()  # type: ignore[union-attr]
        return await super().perform(call)


class OneAtATime(Good):
    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.lock = asyncio.Lock()

    async def perform(self, call: Call) -> Reply:
        async with self.lock:
            return await super().perform(call)


class DoesNotHang(Good):
    async def hanging(self) -> Reply:
        return Reply(result="done")


class Deaf(Good):
    async def hanging(self) -> Reply:
        try:
            return await super().hanging()
        except asyncio.CancelledError:
            await asyncio.sleep(1.0)
            raise


class AnswersWhenCancelled(Good):
    async def hanging(self) -> Reply:
        try:
            return await super().hanging()
        except asyncio.CancelledError:
            return Reply(result="never mind")


class LeavesItRunning(Good):
    async def hanging(self) -> Reply:
        self.world.working += 1
        await asyncio.Event().wait()
        raise AssertionError


class BrokenByCancel(Good):
    broken = False

    async def hanging(self) -> Reply:
        try:
            return await super().hanging()
        finally:
            self.broken = True

    async def good(self) -> Reply:
        return await (super().bad() if self.broken else super().good())


class MixesUp(Good):
    busy = 0

    async def perform(self, call: Call) -> Reply:
        self.busy += 1
        try:
            await asyncio.sleep(0)
            confused = self.busy > 4 and call.action == "bad"
            return await (self.good() if confused else super().perform(call))
        finally:
            self.busy -= 1


class NoKey(Good):
    def key(self, call: Call) -> str:
        return ""


class KeyOfTheAttempt(Good):
    def key(self, call: Call) -> str:
        return f"{call.key}-{call.attempt}" if call.attempt > 1 else call.key


class Repeats(Good):
    async def perform(self, call: Call) -> Reply:
        await super().perform(call)
        return await super().perform(call)


class Swallows(Good):
    async def large(self) -> Reply:
        return Reply(result="x" * 1000)


class BrokenByMuch(BrokenByFailure):
    async def bad(self) -> Reply:
        return await Good.bad(self)

    async def large(self) -> Reply:
        self.broken = True
        return await Good.large(self)


class ClosesOnce(Good):
    closed = False

    async def close(self) -> None:
        if self.closed:
            raise RuntimeError("closed already")
        self.closed = True


class NeverCloses(Good):
    async def close(self) -> None:
        await asyncio.Event().wait()


class Tells(Good):
    async def bad(self) -> Reply:
        return Reply(fault=build_fault("refused", f"401 for Bearer {SECRET}", UNKNOWN))


class ShowsItself(Good):
    def __repr__(self) -> str:
        return f"ShowsItself({SECRET!r})"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (NoResult, "good call failed at first"),
        (NotJson, "not JSON"),
        (ChangedByJson, "not plain JSON"),
        (NoReply, "no Reply"),
        (Raises, "raised ConnectionError"),
        (Succeeds, "bad call succeeded"),
        (InventsKinds, "unknown kind of fault 'oops'"),
        (NoClass, "has no class: say which of not_sent, refused, bad_end, unknown"),
        (SaysNothing, "does not say"),
        (WaitsForEver, "retry_after is inf"),
        (BrokenByFailure, "after a bad one"),
        (Confused, "raised AttributeError"),
        (OneAtATime, "did not end within"),
        (DoesNotHang, "does not hang"),
        (Deaf, "cancelled call did not end"),
        (AnswersWhenCancelled, "must end with CancelledError"),
        (LeavesItRunning, "never saw"),
        (BrokenByCancel, "after a cancelled one"),
        (MixesUp, "mixed up"),
        (NoKey, "server received \\[''\\]"),
        (KeyOfTheAttempt, "server received \\['kit-one-2'\\]"),
        (Repeats, "'kit-one', 'kit-one'"),
        (Swallows, "a response that is too large was accepted"),
        (BrokenByMuch, "after a response that was too large"),
        (ClosesOnce, "closed already"),
        (NeverCloses, "close\\(\\) did not end"),
        (Tells, "a secret appears in"),
        (ShowsItself, "a secret appears in"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
async def test_a_bad_agent_is_caught(kind: type[Good], words: str) -> None:
    with pytest.raises((NotConforming, RuntimeError), match=words) as caught:
        await check(kind)
    assert SECRET not in str(caught.value)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()  # what the planted agent left behind


def workflow(type: str = "custom", endpoint: str = "custom://writer") -> WorkflowSpec:
    agent = AgentSpec(name="writer", type=type, endpoint=endpoint)
    return WorkflowSpec(
        name="w", agents=(agent,), tasks=(TaskSpec(name="t", agent="writer", action="write"),)
    )


async def test_a_scripted_agent_in_a_hive() -> None:
    agent = ScriptedAgent({"title": "Bees"})
    async with Hive.open() as hive:
        hive.agents.register("writer", agent)
        report = await hive.run(workflow())
    assert report.tasks["t"].result == {"title": "Bees"}
    assert [call.action for call in agent.calls] == ["write"]
    assert len(agent.keys[0]) > 20


async def test_a_scripted_agent_stands_in_for_a_kind() -> None:
    agent = ScriptedAgent(Fault(kind="refused", message="closed on Sundays", retriable=False))
    async with Hive.open() as hive:
        hive.agents.register_kind("http_api", agent.named)
        report = await hive.run(workflow("http_api", "http://nowhere.invalid"))
    assert "closed on Sundays" in str(report.tasks["t"].error)
    assert agent.closed == 1


async def test_every_kind_of_answer() -> None:
    async def later(call: Call) -> str:
        return call.action

    told: list[Any] = [
        Reply(result=1),
        Fault(kind="lost", message="x"),
        later,
        lambda call: After(0.001, later),
        After(0, "late"),
        ValueError("raised"),
        "the last",
    ]
    agent = ScriptedAgent(*told)
    replies = [await agent.perform(asked(f"a{n}")) for n in range(5)]
    with pytest.raises(ValueError, match="raised"):
        await agent.perform(asked("a5"))
    replies += [await agent.perform(asked("a")) for _ in range(2)]
    assert [r.fault.kind if r.fault else r.result for r in replies] == [
        1,
        "lost",
        "a2",
        "a3",
        "late",
        "the last",
        "the last",
    ]
    assert (await agent.execute("x", {"y": 1})).result == "the last"
    assert agent.calls[-1].parameters == {"y": 1}
    assert not (await ScriptedAgent(Fault(kind="lost", message="x")).execute("x", {})).success


async def test_a_scripted_agent_hangs_until_it_is_cancelled() -> None:
    agent = ScriptedAgent(HANG)
    call = asyncio.ensure_future(agent(asked("x")))
    await asyncio.sleep(0.01)
    call.cancel()
    await asyncio.wait({call})
    assert call.cancelled()
    assert agent.cancelled == agent.calls == [asked("x")]
