"""Old journals: their chains hold, and they lead where they led when they were written."""

from __future__ import annotations

from pathlib import Path

import pytest

from agenthive.core.graph.graph import Graph
from agenthive.core.history.replay import find_submission, replay
from agenthive.core.history.report import build_report
from agenthive.core.history.waiting_reasons import list_reasons
from agenthive.core.journal.hash_chain import RULES, verify_chain
from agenthive.core.model import definition
from agenthive.core.model.states import CLOSED, ReasonKind, RunStatus
from tests.core.golden import FOLDER, WANTED, continued, loaded, standings

FILES = sorted(FOLDER.glob("*.json"))


def test_there_are_some_of_every_ending() -> None:
    for ending in WANTED:
        assert sum(f"-{ending}-" in file.name for file in FILES) >= 2


OLDER = [file for file in FILES if not file.stem.startswith(f"rules{RULES}-")]


@pytest.mark.parametrize("file", OLDER, ids=lambda file: file.stem)
def test_a_run_of_older_rules_is_taken_over_and_ends_under_them(file: Path) -> None:
    _, old, _ = loaded(file)
    body, records = continued(file)
    half = (len(old) + 1) // 2
    assert [record.hash for record in records[:half]] == [record.hash for record in old[:half]]
    assert {record.rules for record in records} == {old[0].rules}
    assert list(verify_chain(records)) == records
    graph = Graph(definition.decode(body))
    status = RunStatus(build_report(graph, records).status)
    # A file holds one stream: a child run that was open cannot be continued.
    reasons = {reason.kind for reason in list_reasons(replay(graph, records))}
    assert status in CLOSED or ReasonKind.CHILD in reasons


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_read_as_it_was_meant(file: Path) -> None:
    body, records, told = loaded(file)
    assert list(verify_chain(records)) == records
    assert find_submission(records).definition == definition.compute_digest(body)
    assert standings(body, records) == told
    assert build_report(Graph(definition.decode(body)), records).status == told[-1]["status"]
