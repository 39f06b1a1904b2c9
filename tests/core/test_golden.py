"""Old journals: their chains hold, and they lead where they led when they were written."""

from __future__ import annotations

from pathlib import Path

import pytest

from agenthive.core.graph.graph import Graph
from agenthive.core.history.replay import submission
from agenthive.core.history.report import report
from agenthive.core.journal.hash_chain import check
from agenthive.core.model import definition
from tests.core.golden import FOLDER, WANTED, loaded, standings

FILES = sorted(FOLDER.glob("*.json"))


def test_there_are_some_of_every_ending() -> None:
    for ending in WANTED:
        assert sum(f"-{ending}-" in file.name for file in FILES) >= 2


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_read_as_it_was_meant(file: Path) -> None:
    body, records, told = loaded(file)
    assert list(check(records)) == records
    assert submission(records).definition == definition.digest(body)
    assert standings(body, records) == told
    assert report(Graph(definition.decode(body)), records).status == told[-1]["status"]
