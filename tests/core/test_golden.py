"""Old journals: their chains hold, and they lead where they led when they were written."""

from __future__ import annotations

from pathlib import Path

import pytest

from agenthive.core.graph.graph import Graph
from agenthive.core.history.replay import find_submission
from agenthive.core.history.report import build_report
from agenthive.core.journal.hash_chain import verify_chain
from agenthive.core.model import definition
from tests.core.golden import FOLDER, WANTED, loaded, standings

FILES = sorted(FOLDER.glob("*.json"))


def test_there_are_some_of_every_ending() -> None:
    for ending in WANTED:
        assert sum(f"-{ending}-" in file.name for file in FILES) >= 2


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_read_as_it_was_meant(file: Path) -> None:
    body, records, told = loaded(file)
    assert list(verify_chain(records)) == records
    assert find_submission(records).definition == definition.compute_digest(body)
    assert standings(body, records) == told
    assert build_report(Graph(definition.decode(body)), records).status == told[-1]["status"]
