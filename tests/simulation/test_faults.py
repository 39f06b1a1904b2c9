"""The little language of faults, and what it refuses."""

from __future__ import annotations

import pytest

from agenthive.errors import ConfigurationError
from agenthive.simulation.faults import MEANINGS, PRESETS, FaultPlan, parse_faults


def test_chances_by_name() -> None:
    text = "crash=0.01,fail=0.1,slow=0.2,refuse=0.05,jump=0.01,duplicate=0.1,lose=0.05,hang=0.02"
    found = parse_faults(f"{text}, 429 = 0.1 ,garbage=5e-2,late=1,absent=0,stall=0.3")
    assert found == FaultPlan(
        crash=0.01,
        fail=0.1,
        slow=0.2,
        refuse=0.05,
        jump=0.01,
        duplicate=0.1,
        lose=0.05,
        hang=0.02,
        limit=0.1,
        garbage=0.05,
        late=1,
        stall=0.3,
    )
    assert parse_faults(str(found)) == found
    assert found.faults.stale == 1
    assert found.faults.slow == 0.3


def test_presets() -> None:
    assert parse_faults("none") == FaultPlan()
    assert str(parse_faults("none")) == "none"
    assert parse_faults("some") == PRESETS["some"] != parse_faults("hostile")
    changed = parse_faults("hostile,crash=0,fail=0.5")
    assert (changed.crash, changed.fail, changed.hang) == (0.0, 0.5, PRESETS["hostile"].hang)


def test_every_name_is_explained_and_means_something() -> None:
    for name in MEANINGS:
        assert parse_faults(f"{name}=0.25") != FaultPlan()
    assert len(MEANINGS) == len(FaultPlan.__struct_fields__)
    for preset in PRESETS.values():
        assert parse_faults(str(preset)) == preset


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("crsh=0.1", "there is no 'crsh'; did you mean 'crash'?"),
        ("", "there is no ''"),
        ("fail", "fail= is not a probability from 0 to 1"),
        ("fail=", "fail= is not a probability"),
        ("fail=often", "fail=often is not a probability"),
        ("fail=1.1", "fail=1.1 is not a probability from 0 to 1"),
        ("fail=-0.1", "fail=-0.1 is not a probability"),
        ("fail=nan", "fail=nan is not a probability"),
        ("crash=0.9", "crash=0.9 is not a probability from 0 to 0.5"),
        ("refuse=1", "refuse=1 is not a probability from 0 to 0.9"),
        ("fail=0.1,fail=0.2", "'fail' is given twice"),
        ("fail=0.1,some", "the preset 'some' must come first, and only one is allowed"),
        ("hostile=0.1", "the preset 'hostile' must come first"),
    ],
)
def test_bad_ones_are_refused(text: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_faults(text)
    assert any(says in problem for problem in refused.value.problems)
    assert "429" in refused.value.hint


def test_all_that_is_wrong_is_said() -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_faults("nothing,fail=2,slow=x")
    assert len(refused.value.problems) == 3
