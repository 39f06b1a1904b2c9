"""The calls under way: who shares a task, who ends how, and that each is heard exactly as often."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from agenthive.core.engine.actions import PerformCall
from agenthive.core.model.calls import Call, Fault, Reply
from agenthive.core.model.workflow import AgentSpec
from agenthive.core.policies.fault_classes import FaultClass
from agenthive.core.ports import Agent
from agenthive.core.values import JSONValue
from agenthive.errors import AgentUnavailable
from agenthive.infra.thread_calls import run_in_thread
from agenthive.runtimes import call_tasks
from agenthive.runtimes.call_tasks import MAX_CACHED_AGENTS, TIMEOUT_REPLY, CallId, CallTasks
from tests.agents.peers import until

Act = Callable[[Call], Awaitable[Reply]]
SPEC = AgentSpec(name="a", type="custom", endpoint="custom://a")
KEY = ("r", "t", 1)


class Acting:
    """One agent that does what a function says."""

    def __init__(self, act: Act) -> None:
        self._act = act

    def perform(self, call: Call) -> Awaitable[Reply]:
        return self._act(call)

    async def close(self) -> None: ...


class Rig:
    """Calls to one agent, and what was heard of them."""

    def __init__(self, act: Act) -> None:
        self.heard: list[tuple[CallId, Reply | None]] = []
        self.asked = 0
        self._agent = Acting(act)
        self.told: list[tuple[CallId, JSONValue]] = []
        self.kept: dict[str, Reply] = {}
        loop = asyncio.get_running_loop()
        self.calls = CallTasks(loop, self, self._hear, self._progress, self._kept)

    def _hear(self, key: CallId, reply: Reply | None) -> None:
        self.heard.append((key, reply))

    def _progress(self, key: CallId, progress: JSONValue) -> None:
        self.told.append((key, progress))

    async def _kept(self, key: str) -> Reply | None:
        await asyncio.sleep(0)
        return self.kept.get(key)

    def find_agent(self, spec: AgentSpec) -> Agent:
        self.asked += 1
        if spec.name == "nobody":
            raise AgentUnavailable("nobody has it")
        return self._agent

    async def close(self) -> None: ...

    def make(self, task: str = "t", *, timeout: int | None = None, agent: AgentSpec = SPEC) -> None:
        call = Call(run="r", task=task, attempt=1, key="k", agent="a", action="do", parameters={})
        self.calls.start_call(PerformCall(call, agent, timeout))


async def at_once(call: Call) -> Reply:
    return Reply(result=call.task)


async def never(call: Call) -> Reply:
    await asyncio.get_running_loop().create_future()
    raise AssertionError("unreachable")


async def settle(rounds: int = 5) -> None:
    for _ in range(rounds):
        await asyncio.sleep(0)


def fault_of(rig: Rig) -> Fault:
    ((_, reply),) = rig.heard
    assert reply is not None
    assert reply.fault is not None
    return reply.fault


async def test_calls_that_do_not_wait_share_a_task_in_order() -> None:
    tasks: set[object] = set()

    async def act(call: Call) -> Reply:
        tasks.add(asyncio.current_task())
        return Reply(result=call.task)

    rig = Rig(act)
    for number in range(100):
        rig.make(str(number))
    assert (len(rig.calls), rig.heard) == (100, [])
    await settle()
    assert [reply.result for _, reply in rig.heard if reply] == [str(n) for n in range(100)]
    assert (len(tasks), len(rig.calls), rig.asked) == (1, 0, 1)


async def test_a_call_that_waits_keeps_its_task_and_holds_nobody_up() -> None:
    gate = asyncio.Event()
    tasks: dict[str, set[object]] = {}

    async def act(call: Call) -> Reply:
        seen = tasks.setdefault(call.task, set())
        seen.add(asyncio.current_task())
        for _ in range(int(call.task) % 3):
            await gate.wait()
            seen.add(asyncio.current_task())
            await asyncio.sleep(0.001)
            seen.add(asyncio.current_task())
        return Reply(result=call.task)

    rig = Rig(act)
    for number in range(30):
        rig.make(str(number))
    await settle(40)
    assert len(rig.heard) == 10
    gate.set()
    await asyncio.sleep(0.05)
    assert sorted(int(key[1]) for key, _ in rig.heard) == list(range(30))
    waited = [seen for task, seen in tasks.items() if int(task) % 3]
    assert all(len(seen) == 1 for seen in waited)
    assert len({task for seen in waited for task in seen}) == 20


async def test_timeouts_and_task_groups_work_from_the_first_step() -> None:
    async def act(call: Call) -> Reply:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(10)
        except TimeoutError:
            async with asyncio.TaskGroup() as group:
                one = group.create_task(asyncio.sleep(0, "one"))
            return Reply(result=one.result())
        return Reply()

    rig = Rig(act)
    rig.make()
    await asyncio.sleep(0.05)
    assert rig.heard == [(KEY, Reply(result="one"))]


async def test_a_time_out_cancels_and_is_heard_once() -> None:
    rig = Rig(never)
    rig.make(timeout=1000)
    await asyncio.sleep(0.03)
    assert rig.heard == [(KEY, TIMEOUT_REPLY)]
    rig.calls.end_call(KEY, TIMEOUT_REPLY)
    await settle()
    assert len(rig.heard) == 1


async def test_a_stopped_call_is_heard_without_a_reply() -> None:
    rig = Rig(never)
    rig.make()
    await settle()
    rig.calls.end_call(KEY)
    rig.calls.end_call(KEY, TIMEOUT_REPLY)
    await settle()
    assert rig.heard == [(KEY, None)]


async def test_a_call_stopped_before_it_began_is_not_made() -> None:
    made: list[str] = []

    async def act(call: Call) -> Reply:
        made.append(call.task)
        return Reply()

    rig = Rig(act)
    rig.make()
    rig.calls.end_call(KEY)
    await settle()
    assert (made, rig.heard, len(rig.calls)) == ([], [(KEY, None)], 0)


async def test_an_answer_despite_the_cancel_counts() -> None:
    async def act(call: Call) -> Reply:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            return Reply(result="all the same")
        return Reply()

    rig = Rig(act)
    rig.make()
    await settle()
    rig.calls.end_call(KEY, TIMEOUT_REPLY)
    await settle()
    assert rig.heard == [(KEY, Reply(result="all the same"))]


@pytest.mark.parametrize("waits", [False, True])
async def test_an_agent_that_drops_what_it_waits_for_has_failed(waits: bool) -> None:
    async def act(call: Call) -> Reply:
        gone = asyncio.get_running_loop().create_future()
        if waits:
            asyncio.get_running_loop().call_soon(gone.cancel)
        else:
            gone.cancel()
        await gone
        return Reply()

    rig = Rig(act)
    rig.make()
    await settle()
    assert fault_of(rig).kind == "agent_error"


async def test_what_an_agent_raises_is_a_fault() -> None:
    async def act(call: Call) -> Reply:
        await asyncio.sleep(0)
        raise ValueError("no good")

    rig = Rig(act)
    rig.make()
    await settle()
    fault = fault_of(rig)
    assert (fault.kind, fault.message) == ("agent_error", "ValueError: no good")
    assert (fault.class_, fault.counts) == (FaultClass.UNKNOWN, True)


@pytest.mark.parametrize(
    ("error", "class_"),
    [
        (AgentUnavailable("gone"), FaultClass.UNKNOWN),
        (TypeError("odd"), FaultClass.UNKNOWN),
        (NotImplementedError(), FaultClass.BAD_END),
    ],
)
async def test_what_an_agent_raises_never_means_that_nothing_was_sent(
    error: Exception, class_: FaultClass
) -> None:
    async def act(call: Call) -> Reply:
        raise error

    rig = Rig(act)
    rig.make()
    await settle()
    assert fault_of(rig).class_ is class_


async def run_in_pool(pool: ThreadPoolExecutor, function: Callable[[], object]) -> Reply:
    return Reply(result=await run_in_thread(pool, function))


async def test_a_call_that_timed_out_is_heard_when_its_thread_has_ended() -> None:
    go = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        rig = Rig(lambda call: run_in_pool(pool, lambda: go.wait(10)))
        rig.make(timeout=10_000)
        await asyncio.sleep(0.1)
        assert (rig.heard, len(rig.calls)) == ([], 1)
        go.set()
        await until(lambda: bool(rig.heard))
    assert rig.heard == [(KEY, TIMEOUT_REPLY)]


async def test_a_thread_that_does_not_end_is_given_up_and_not_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(call_tasks, "MAX_THREAD_WAIT", 0.05)
    go = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        rig = Rig(lambda call: run_in_pool(pool, lambda: go.wait(10)))
        rig.make(timeout=10_000)
        await until(lambda: bool(rig.heard))
        go.set()
    fault = fault_of(rig)
    assert (fault.kind, fault.class_, fault.retriable) == ("timeout", FaultClass.UNKNOWN, False)
    assert "still runs" in fault.message


async def test_a_call_that_got_no_thread_in_time_was_not_sent() -> None:
    go, made = threading.Event(), []
    with ThreadPoolExecutor(1) as pool:
        pool.submit(go.wait, 10)
        rig = Rig(lambda call: run_in_pool(pool, lambda: made.append(1)))
        rig.make(timeout=10_000)
        await until(lambda: bool(rig.heard))
        go.set()
    assert (fault_of(rig).class_, made) == (FaultClass.NOT_SENT, [])


async def test_a_cancelled_call_does_not_wait_for_its_thread() -> None:
    go = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        rig = Rig(lambda call: run_in_pool(pool, lambda: go.wait(10)))
        rig.make()
        await asyncio.sleep(0.05)
        rig.calls.end_call(KEY)
        await settle()
        assert rig.heard == [(KEY, None)]
        go.set()


async def test_a_runtime_that_stops_does_not_wait_for_a_thread() -> None:
    go = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        rig = Rig(lambda call: run_in_pool(pool, lambda: go.wait(10)))
        rig.make(timeout=10_000)
        await asyncio.sleep(0.1)
        tasks = rig.calls.cancel()
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 2)
        assert (rig.heard, len(rig.calls)) == ([], 0)
        go.set()


async def test_a_call_that_timed_out_before_it_began_was_not_sent() -> None:
    rig = Rig(at_once)
    rig.make()
    rig.calls.end_call(KEY, TIMEOUT_REPLY)
    await settle()
    assert (fault_of(rig).kind, fault_of(rig).class_) == ("timeout", FaultClass.NOT_SENT)


async def test_an_agent_nobody_has_is_a_fault() -> None:
    rig = Rig(at_once)
    rig.make(agent=AgentSpec(name="nobody", type="custom", endpoint="custom://x"))
    await settle()
    fault = fault_of(rig)
    assert (fault.kind, fault.class_, fault.counts) == ("unregistered", FaultClass.NOT_SENT, False)


async def test_an_agent_that_cancels_its_own_task_harms_nobody_else() -> None:
    async def act(call: Call) -> Reply:
        if call.task == "bad":
            me = asyncio.current_task()
            assert me is not None
            me.cancel()
        else:
            await asyncio.sleep(0)
        return Reply(result=call.task)

    rig = Rig(act)
    rig.make("bad")
    rig.make("good")
    await settle(10)
    assert [(key[1], reply and reply.result) for key, reply in rig.heard] == [
        ("bad", "bad"),
        ("good", "good"),
    ]


async def test_after_cancel_nothing_is_heard() -> None:
    rig = Rig(never)
    rig.make("begun", timeout=10_000_000)
    await settle()
    rig.make("due", timeout=10_000_000)
    rig.make("due too")
    tasks = rig.calls.cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    await settle()
    assert [type(one) for one in done] == [asyncio.CancelledError]
    assert (rig.heard, len(rig.calls)) == ([], 0)


async def test_a_hearer_that_fails_does_not_stop_the_calls_behind() -> None:
    rig = Rig(at_once)
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    wrong = RuntimeError("a bug")

    def hear(key: CallId, reply: Reply | None) -> None:
        if key[1] == "first":
            raise wrong
        rig.heard.append((key, reply))

    rig.calls._on_call_ended = hear
    rig.make("first")
    rig.make("second")
    await settle(10)
    assert [key[1] for key, _ in rig.heard] == ["second"]
    asyncio.get_running_loop().set_exception_handler(None)


async def test_found_agents_are_remembered_up_to_a_bound() -> None:
    rig = Rig(at_once)
    specs = [AgentSpec(name=str(n), type="custom", endpoint="custom://a") for n in range(3)]
    for number in range(6):
        rig.make(str(number), agent=specs[number % 3])
    await settle()
    assert rig.asked == 3
    many = [AgentSpec(name=str(n), type="custom", endpoint="x") for n in range(MAX_CACHED_AGENTS)]
    for number, spec in enumerate(many):
        rig.make(f"m{number}", agent=spec)
    await settle()
    assert len(rig.calls._agent_cache) <= MAX_CACHED_AGENTS
