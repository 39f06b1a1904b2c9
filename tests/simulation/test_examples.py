"""What somebody says of tasks is read, and refused with all that is wrong."""

from __future__ import annotations

import pytest

from agenthive.errors import ConfigurationError
from agenthive.simulation.examples import read_examples

TASKS = ["fetch", "write", "write#undo"]


def test_every_key() -> None:
    found = read_examples(
        {
            "fetch": {"result": {"items": [1]}, "duration": 4, "fail": 0.5, "cost": 0.25},
            "write": 2.5,
            "write#undo": {"duration": {"p50": 1, "p95": 9}, "result": None},
        },
        TASKS,
    )
    fetch = found["fetch"]
    assert (fetch.result, fetch.fail) == (({"items": [1]},), 0.5)
    assert fetch.duration is not None
    assert fetch.cost is not None
    assert fetch.duration.quantile(0.5) == pytest.approx(4)
    assert fetch.cost.values == (250_000_000,)
    write = found["write"]
    assert write.duration is not None
    assert write.duration.quantile(0.5) == pytest.approx(2.5)
    assert (write.result, write.fail, write.cost) == (None, None, None)
    undo = found["write#undo"]
    assert undo.duration is not None
    assert undo.duration.quantile(0.95) == pytest.approx(9)
    assert undo.result == (None,)


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ({"fetsh": 1}, "no task 'fetsh'; did you mean 'fetch'?"),
        ({"x": 1}, "no task 'x'"),
        ({"fetch": "soon"}, "fetch: duration must be a number"),
        ({"fetch": True}, "fetch: duration must be a number"),
        ({"fetch": -1}, "fetch: duration must be a number from 0 to 1e+09"),
        ({"fetch": float("nan")}, "fetch: duration must be a number"),
        ({"fetch": {"time": 1}}, "unknown key 'time'; known keys: result, duration, fail, cost"),
        ({"fetch": {"fail": 1.5}}, "fail must be a number from 0 to 1"),
        ({"fetch": {"cost": "1"}}, "cost must be a number"),
        ({"fetch": {"duration": {"p50": 1}}}, "a map of p50 and p95"),
        ({"fetch": {"duration": {"p50": 3, "p95": 1}}}, "p95 is less than p50"),
        ({"fetch": {"result": {1, 2}}}, "the result cannot be used"),
        ({"fetch": {"result": float("nan")}}, "the result cannot be used"),
    ],
)
def test_bad_ones_are_refused(answers: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_examples(answers, TASKS)
    assert any(says in problem for problem in refused.value.problems), refused.value.problems
