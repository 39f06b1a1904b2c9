"""The ports: what the core asks of the rooms around it, and the values that cross.

Protocols with plain ``def ... -> Awaitable[T]``, so nothing here needs an event loop. A room that
implements a port imports it from here and nothing else; `hive.py` introduces them to each other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Protocol

import msgspec

from agenthive.core.spec import AgentSpec
from agenthive.core.values import JSONObject, JSONValue, Micros, NanoUSD


class Usage(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """What a model call used. Tokens are counts; ``cost`` is nano-dollars, None where unknown.

    ``prices`` is the list that the cost is by, and of when.
    """

    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cost: NanoUSD | None = None
    prices: str = ""


class Fault(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """Why an attempt did not succeed.

    ``kind``: timeout, rate_limited, overloaded, unavailable, connection, refused, invalid_reply,
    agent_error, cancelled, lost, breaker_open, unregistered, expression, budget_exceeded,
    unpriced.
    ``retriable``: trying again may help. ``retry_after``: seconds the other side asked for.
    ``counts``: whether it says the endpoint is unwell (429 and overloaded do not).
    """

    kind: str
    message: str
    retriable: bool = True
    retry_after: float | None = None
    counts: bool = True


class Tool(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a model is told it may ask for. ``schema`` is the JSON Schema of the arguments."""

    name: str
    description: str = ""
    schema: JSONObject = {}


class Asked(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """A tool that a model asks for. Nobody is called if there is a ``problem`` with it."""

    id: str
    name: str
    arguments: JSONObject = {}
    problem: str = ""


class Outcome(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a model is told came of what it asked for."""

    asked: Asked
    content: str
    failed: bool = False


class Turn(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A turn that a model has had: what it said, and what came of the tools it asked for.

    ``note`` is what it is told besides.
    """

    said: JSONValue
    outcomes: tuple[Outcome, ...]
    note: str = ""


class Call(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One attempt, as an agent sees it.

    ``key`` is the idempotency key, the same for every attempt of one logical call.
    ``dependencies`` maps the names of the tasks this one depends on to their results.
    ``references`` are the secret references that the definition itself holds in the parameters:
    only those may be resolved, never one that came in with a result.
    ``timeout`` is seconds, None without a bound; the runtime enforces it by cancelling.
    ``output_schema`` is what the result must be like, ``complaint`` what was wrong with the last
    one; ``progress`` is what an earlier attempt said last about how far it was. ``max_tokens`` is
    what the answer of a model was cut to, so that its worst case fits the budget. ``tools`` are
    what it may ask for, ``turns`` what has been said so far.
    """

    run: str
    task: str
    attempt: int
    key: str
    agent: str
    action: str
    parameters: JSONObject
    dependencies: JSONObject = {}
    description: str = ""
    references: frozenset[str] = frozenset()
    timeout: float | None = None
    output_schema: JSONObject | None = None
    complaint: str = ""
    progress: JSONValue = None
    max_tokens: int | None = None
    tools: tuple[Tool, ...] = ()
    turns: tuple[Turn, ...] = ()


class Headroom(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """What the other side says is left of its limit for the next ``within`` seconds."""

    requests: int | None = None
    tokens: int | None = None
    within: float = 0.0


class Reply(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What came of a call: a result (any JSON) or a fault, and what it used.

    ``cached`` names the ``run/task`` whose result this is, if nothing was called. ``headroom`` is
    for the rate limit, and is not recorded. ``asks`` are tools of the call's that are to be called
    before it can go on.
    """

    result: JSONValue = None
    fault: Fault | None = None
    usage: Usage | None = None
    cached: str = ""
    headroom: Headroom | None = None
    asks: tuple[Asked, ...] = ()


class Agent(Protocol):
    """Somebody who does tasks. Must be safe to call many times at once.

    ``perform`` never raises for a failure of the outside world: it returns a fault. Cancelling it
    stops the call for real (connection closed, process group killed).
    """

    def perform(self, call: Call) -> Awaitable[Reply]:
        """Do one attempt."""
        ...

    def close(self) -> Awaitable[None]:
        """Let go of connections and processes. May be called twice."""
        ...


class Agents(Protocol):
    """Where a runtime finds the agent for a spec."""

    def find(self, spec: AgentSpec) -> Agent:
        """The agent for ``spec``, made at first use. Raises AgentUnavailable if nobody has it."""
        ...

    def close(self) -> Awaitable[None]:
        """Close every agent that was made."""
        ...


class Blob(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Where a large value is: the SHA-256 of its JSON in hex, and how many bytes that has."""

    digest: str
    size: int


class Record(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One row of the journal: what one step wrote into one stream.

    ``seq`` is the number of its first event within the stream, ``pos`` across the store; ``count``
    events are in ``payload`` (a JSON array, kept as the exact UTF-8 bytes written). ``at`` is the
    time of the last of them. ``hash`` chains the records of a stream.
    """

    stream: str
    seq: int
    count: int
    at: Micros
    type: str
    payload: bytes
    v: int = 1
    rules: int = 1
    actor: str = "engine"
    cause: str = ""
    pos: int = 0
    prev: bytes = b""
    hash: bytes = b""


class RunRow(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What the list of runs shows: a projection, written in the transaction of its records."""

    run: str
    name: str
    status: str
    created: Micros
    finished: Micros | None = None
    total_tasks: int = 0
    completed_tasks: int = 0
    failed_tasks: int = 0
    tenant: str = "default"
    owner: str = "local"


class Cached(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A result that equal calls may use again. ``origin`` is the ``run/task`` that it is of.

    ``result`` is JSON. Nobody uses it after ``expires`` (None: always).
    """

    key: str
    origin: str
    result: bytes
    at: Micros
    expires: Micros | None = None


class Entry(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a run adds to the account of a scope. Nano-dollars; either may be negative."""

    run: str
    scope: str
    captured: NanoUSD = 0
    held: NanoUSD = 0


class Standing(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """How the account of a scope stands. Nano-dollars; ``limit`` None is none that was set.

    ``frozen``: it takes no holds until its limit is set again.
    """

    scope: str
    limit: NanoUSD | None = None
    captured: NanoUSD = 0
    held: NanoUSD = 0
    frozen: bool = False


class Batch(msgspec.Struct, kw_only=True):
    """All that one transaction writes: records in order, definitions, rows of the run list.

    ``blobs`` are large values, (digest, JSON). ``uses`` says which definitions and blobs a stream
    needs, (stream, digest). ``drops`` are streams that go before anything is written, each with
    its row, and with the definitions and blobs that no other stream uses. ``cached`` are results
    that equal calls may use again. ``entries`` are added to the accounts; of ``standings`` only
    the limit and whether it is frozen count. ``marks`` are texts kept by name, the last one of
    each.
    """

    records: list[Record] = []
    definitions: list[tuple[str, bytes]] = []
    runs: list[RunRow] = []
    blobs: list[tuple[str, bytes]] = []
    uses: list[tuple[str, str]] = []
    drops: list[str] = []
    cached: list[Cached] = []
    entries: list[Entry] = []
    standings: list[Standing] = []
    marks: list[tuple[str, str]] = []

    def take(self, other: Batch) -> None:
        """Write what the other would write as well."""
        for name in self.__struct_fields__:
            getattr(self, name).extend(getattr(other, name))


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of a journal: what is in it by kind, then what it takes on the disk.

    ``file`` is all of its main file, ``free`` the part that waits to be used again or given back,
    ``log`` what was written and not yet moved there.
    """

    records: int = 0
    blobs: int = 0
    definitions: int = 0
    file: int = 0
    free: int = 0
    log: int = 0


class StreamSize(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of one stream, and of the blobs it uses (others may use them too)."""

    stream: str
    records: int
    blobs: int


class Store(Protocol):
    """Where the journal lives. One writer; readers may be many.

    ``append`` is all or nothing, in call order, and durable when its awaitable ends. It raises
    StoreUnavailable when nothing was written (try again later) and StoreFailed when the outcome is
    unknown (every later call raises it too).
    """

    def append(self, batch: Batch) -> Awaitable[None]:
        """Write one batch in one transaction."""
        ...

    def read(self, stream: str, after: int = 0) -> AsyncIterator[Record]:
        """Records of a stream whose events come after event number ``after``, oldest first."""
        ...

    def marked(self, stream: str, cause: str) -> Awaitable[Record | None]:
        """The last record of a stream whose cause begins so."""
        ...

    def last(self, stream: str) -> Awaitable[Record | None]:
        """The last record of a stream."""
        ...

    def scan(self, after: int = 0, limit: int = 1000) -> Awaitable[Sequence[Record]]:
        """Records of all streams with ``pos`` > ``after``, in the order they were committed."""
        ...

    def definition(self, digest: str) -> Awaitable[bytes | None]:
        """The definition with that digest."""
        ...

    def blob(self, digest: str) -> Awaitable[bytes | None]:
        """The blob with that digest."""
        ...

    def sizes(self, streams: Sequence[str] | None = None) -> Awaitable[Sizes]:
        """How much is in the journal; with ``streams``, only what would go with them."""
        ...

    def largest(self, limit: int = 20) -> Awaitable[Sequence[StreamSize]]:
        """The largest streams, largest first."""
        ...

    def shrink(self) -> Awaitable[int]:
        """Give some free space back to the disk; the bytes given, 0 when there is no more."""
        ...

    def cached(self, key: str) -> Awaitable[Cached | None]:
        """The result that is kept under that key; it may have expired."""
        ...

    def standings(self) -> Awaitable[Sequence[Standing]]:
        """How every account stands."""
        ...

    def marks(self) -> Awaitable[dict[str, str]]:
        """The texts that are kept, by name."""
        ...

    def runs(
        self, *, tenant: str = "default", unfinished: bool = False, limit: int | None = None
    ) -> Awaitable[Sequence[RunRow]]:
        """Rows of the run list, newest first."""
        ...

    def run(self, run: str, *, tenant: str = "default") -> Awaitable[RunRow | None]:
        """The row of one run."""
        ...

    def close(self) -> Awaitable[None]:
        """Write what is pending, then let go of the files."""
        ...


class Quoter(Protocol):
    """Who knows what a call can cost at most, before it is made."""

    def priced(self, spec: AgentSpec) -> bool:
        """Whether calls of this agent can cost anything."""
        ...

    def worst(self, spec: AgentSpec, call: Call) -> NanoUSD | None:
        """Nano-dollars, rounded up; None if there is no price."""
        ...

    def tokens(self, spec: AgentSpec, call: Call) -> int:
        """About how many tokens the call takes, with an answer of full length; for rate limits."""
        ...

    def cut(self, spec: AgentSpec, call: Call, most: NanoUSD) -> tuple[int, NanoUSD] | None:
        """The most tokens of an answer whose worst case is at most that, and it; None if none."""
        ...


class Calendar(Protocol):
    """What cron expressions mean: zones, and days of the week."""

    def next_after(self, cron: str, zone: str, after: Micros) -> Micros | None:
        """The first planned time after ``after``; None if there is none."""
        ...
