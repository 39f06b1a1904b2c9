"""Inputs: defaults, types, secrets by reference, and texts of a command line."""

from __future__ import annotations

from typing import Any

import pytest

from agenthive.authoring import check_inputs, inputs_from_texts, loads
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.errors import ConfigurationError

HEAD = """\
name: w
agents:
  - name: a
    type: http_api
    endpoint: "https://x"
  - {name: b, type: custom, endpoint: "custom://b"}
tasks:
  - {name: t, agent_name: a, action: go}
"""
DECLARED = """\
inputs:
  api: {type: string, required: true, description: where}
  count: 3
  ratio: {type: number}
  whole: {type: integer}
  flag: {type: boolean, default: false}
  on: true
  list: {type: array}
  map: {type: object}
  key: {type: secret}
  free:
"""


def spec(text: str = HEAD + DECLARED) -> WorkflowSpec:
    return loads(text).spec


def test_defaults_fill_in() -> None:
    assert check_inputs(spec(), {"api": "x"}) == {
        "api": "x",
        "count": 3,
        "ratio": None,
        "whole": None,
        "flag": False,
        "on": True,
        "list": None,
        "map": None,
        "key": None,
        "free": None,
    }


GIVEN: list[tuple[dict[str, Any], str]] = [
    ({}, "the input 'api' (where) is required; pass api=VALUE"),
    ({"api": 1}, "api: must be of type string, not a whole number"),
    ({"api": "x", "whole": 1.5}, "whole: must be of type integer"),
    ({"api": "x", "whole": True}, "whole: must be of type integer, not true or false"),
    ({"api": "x", "ratio": "1"}, "ratio: must be of type number"),
    ({"api": "x", "flag": 1}, "flag: must be of type boolean"),
    ({"api": "x", "list": {}}, "list: must be of type array, not a map"),
    ({"api": "x", "map": []}, "map: must be of type object"),
    ({"api": "x", "coumt": 1}, "declares no input 'coumt'. Did you mean 'count'?"),
    ({"api": "x", "key": "hunter2"}, "key: contains a secret; pass a reference instead"),
    ({"api": "x", "free": float("nan")}, "NaN"),
    ({"api": "x", "free": object()}, "cannot be converted to JSON"),
]


@pytest.mark.parametrize(("given", "why"), GIVEN)
def test_what_is_refused(given: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_inputs(spec(), given)
    assert why in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_secrets_by_reference_or_kept() -> None:
    given = check_inputs(spec(), {"api": "x", "key": "${env:KEY}"})
    assert given["key"] == "${env:KEY}"
    kept: list[tuple[str, str]] = []

    def keep(label: str, value: str) -> str:
        kept.append((label, value))
        return "${secret:kept}"

    assert check_inputs(spec(), {"api": "x", "key": "hunter2"}, keep_secret=keep)["key"] == (
        "${secret:kept}"
    )
    assert kept == [("w.inputs.key", "hunter2")]


def test_without_declarations_everything_is_accepted() -> None:
    assert check_inputs(spec(HEAD), {"x": [1, {"y": None}]}) == {"x": [1, {"y": None}]}


def test_texts_of_a_command_line() -> None:
    texts = {"api": "1", "count": "7", "flag": "true", "list": "[1]", "free": "2", "other": "3"}
    assert inputs_from_texts(spec(), texts) == {
        "api": "1",
        "count": 7,
        "flag": True,
        "list": [1],
        "free": "2",
        "other": "3",
    }
    with pytest.raises(ConfigurationError, match="whole: must be of type integer"):
        inputs_from_texts(spec(), {"whole": "many"})
    with pytest.raises(ConfigurationError, match="whole: must be of type integer"):
        inputs_from_texts(spec(), {"whole": ""})
