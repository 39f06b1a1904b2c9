"""The hash chain: every change of a stream shows. And the keys of calls, which never collide."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthive.core.journal.hash_chain import (
    GENESIS,
    RULES,
    VERSION,
    hash_record,
    seal_record,
    verify_chain,
)
from agenthive.core.journal.records import Record
from agenthive.core.model.idempotency import IdempotencyKeys
from agenthive.errors import JournalTooNew, StoreCorrupt


def stream(size: int = 4) -> list[Record]:
    found: list[Record] = []
    prev, seq = GENESIS, 1
    for number in range(size):
        bare = Record(
            stream="r", seq=seq, count=number % 2 + 1, at=5, type="run", payload=b"[%d]" % number
        )
        found.append(seal_record(bare, prev, 10 + number))
        prev, seq = found[-1].hash, seq + bare.count
    return found


def test_sealed() -> None:
    first, second = stream(2)
    assert (first.prev, first.pos, len(first.hash)) == (GENESIS, 10, 32)
    assert second.prev == first.hash
    assert bytes(32) == GENESIS


def test_the_format_is_fixed() -> None:
    """Whoever changes what the hash covers makes every journal unreadable: a new version then."""
    record = Record(
        stream="r", seq=1, count=2, at=3, type="run", payload=b"[]", rules=4, actor="a", cause="c"
    )
    assert VERSION == record.v == 1
    assert hash_record(record, GENESIS).hex() == DIGEST


DIGEST = "6ce1b36dd0bf58ae0c1647782a951a326b3cffff0df95e97f94151f6c23b2ac5"


def test_a_whole_stream_passes() -> None:
    records = stream()
    assert list(verify_chain(records)) == records
    assert list(verify_chain([])) == []


CHANGES: dict[str, Any] = {
    "stream": "s",
    "seq": 9,
    "count": 7,
    "at": 6,
    "type": "hive",
    "payload": b"[9]",
    "rules": 2,
    "actor": "x",
    "cause": "y",
    "prev": bytes(31) + b"1",
    "hash": bytes(32),
    "v": 0,
}


@pytest.mark.parametrize("field", CHANGES)
@pytest.mark.parametrize("number", range(4))
def test_every_change_shows(field: str, number: int) -> None:
    records = stream()
    records[number] = msgspec.structs.replace(records[number], **{field: CHANGES[field]})
    with pytest.raises(StoreCorrupt, match=r"stream .: the chain breaks at record \d+"):
        list(verify_chain(records))


def test_fields_cannot_borrow_from_each_other() -> None:
    base = {"seq": 1, "count": 1, "at": 1, "payload": b"[]"}
    one = Record(stream="r1", type="run", **base)
    other = Record(stream="r", type="1run", **base)
    assert hash_record(one, GENESIS) != hash_record(other, GENESIS)


def damaged() -> Iterator[tuple[str, list[Record]]]:
    whole = stream()
    yield "deleted", [whole[0], *whole[2:]]
    yield "the first is missing", whole[1:]
    yield "swapped", [whole[0], whole[2], whole[1], whole[3]]
    yield "doubled", [whole[0], whole[0], *whole[1:]]
    strange = seal_record(msgspec.structs.replace(whole[1], seq=whole[1].seq + 1), whole[0].hash, 1)
    yield "a gap, well chained", [whole[0], strange]


@pytest.mark.parametrize("records", [r for _, r in damaged()], ids=[name for name, _ in damaged()])
def test_order_and_gaps(records: list[Record]) -> None:
    with pytest.raises(StoreCorrupt):
        list(verify_chain(records))


def test_what_comes_before_the_damage_is_given() -> None:
    records = stream()
    records[2] = msgspec.structs.replace(records[2], at=0)
    checked = verify_chain(records)
    assert [next(checked), next(checked)] == records[:2]
    with pytest.raises(StoreCorrupt, match="at record 4") as refused:
        next(checked)
    assert "backup" in refused.value.hint


def test_a_record_of_a_later_version() -> None:
    later = seal_record(msgspec.structs.replace(stream(1)[0], v=2), GENESIS, 1)
    with pytest.raises(
        JournalTooNew, match=r"record 1 has version 2 and rules 1, .* up to 1 and 3"
    ):
        list(verify_chain([later]))


def test_a_record_of_later_rules() -> None:
    known = seal_record(msgspec.structs.replace(stream(1)[0], rules=RULES), GENESIS, 1)
    assert list(verify_chain([known])) == [known]
    later = seal_record(msgspec.structs.replace(stream(1)[0], rules=RULES + 1), GENESIS, 1)
    with pytest.raises(
        JournalTooNew, match=f"version 1 and rules {RULES + 1}, this version of agenthive"
    ):
        list(verify_chain([later]))


names = st.text(min_size=1, max_size=8)


def test_a_key_is_fixed() -> None:
    assert IdempotencyKeys("run")("task") == KEY
    assert IdempotencyKeys("run")("task", 1) == KEY
    assert IdempotencyKeys("run")("task", 2) != KEY


KEY = "ZwSCIYVpWl8no_A1GpcgnTWkD9hApVq_r9a12CaYtNY"


@given(names, names, st.integers(1, 20), names, names, st.integers(1, 20))
def test_keys_do_not_collide(
    run: str, task: str, number: int, run2: str, task2: str, number2: int
) -> None:
    one, two = IdempotencyKeys(run)(task, number), IdempotencyKeys(run2)(task2, number2)
    assert (one == two) == ((run, task, number) == (run2, task2, number2))
    assert len(one) == 43
    assert one.isascii()


def test_parts_of_keys_cannot_borrow_from_each_other() -> None:
    assert IdempotencyKeys("ab")("c") != IdempotencyKeys("a")("bc")
    assert IdempotencyKeys("r")("t1", 1) != IdempotencyKeys("r")("t", 11)
