"""The readers against other readers: same data, or refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from agenthive.authoring.readers import yaml as yaml_reader
from agenthive.authoring.readers.problems import Problems
from agenthive.authoring.readers.size_limits import OPERATOR
from agenthive.authoring.readers.sources import from_python, read_text
from agenthive.authoring.readers.yaml import resolve_plain
from agenthive.errors import ConfigurationError

SCALARS: list[tuple[str, Any]] = [
    ("no", "no"),
    ("yes", "yes"),
    ("on", "on"),
    ("12:30:45", "12:30:45"),
    ("2024-01-01", "2024-01-01"),
    ("1_000", "1_000"),
    ("0b1", "0b1"),
    ("0o14", 12),
    ("014", 14),
    ("0xFF", 255),
    ("0x", "0x"),
    ("0o9", "0o9"),
    ("1", 1),
    ("-7", -7),
    ("+7", 7),
    ("1.", 1.0),
    (".5", 0.5),
    ("1e3", 1000.0),
    ("-1.5E-2", -0.015),
    (".", "."),
    ("-", "-"),
    ("1e", "1e"),
    ("e1", "e1"),
    ("1.2.3", "1.2.3"),
    ("~", None),
    ("null", None),
    ("Null", None),
    ("", None),
    ("true", True),
    ("FALSE", False),
    ("tRue", "tRue"),
    ("\u0661", "\u0661"),
]


@pytest.mark.parametrize(("text", "value"), SCALARS)
def test_core_schema_scalars(text: str, value: Any) -> None:
    found = resolve_plain(text)
    assert found == value
    assert type(found) is type(value)


def plain(text: str, format: str) -> Any:
    return read_text(text, format, OPERATOR, Problems("x")).to_plain()


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=5), inner
        )
    ),
    max_leaves=12,
)


@given(JSON, st.sampled_from([None, 1]), st.booleans())
def test_json_is_read_as_others_read_it(value: Any, indent: int | None, ascii: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii)
    found = plain(text, "json")
    assert found == value
    assert json.dumps(found) == json.dumps(value)


@given(st.text(alphabet='{}[]":,0123456789.eE+-truefalsn \n\\', max_size=30))
def test_json_is_accepted_if_and_only_if_others_accept_it(text: str) -> None:
    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(found)) == len(found)
        return dict(found)

    def refuse(word: str) -> Any:
        raise ValueError(word)

    try:
        value = json.loads(text, object_pairs_hook=pairs, parse_constant=refuse)
        json.dumps(value, allow_nan=False)
    except (ValueError, AssertionError):
        with pytest.raises(ConfigurationError):
            plain(text, "json")
        return
    try:
        assert plain(text, "json") == value
    except ConfigurationError as fault:
        assert "64 bits" in str(fault)  # noqa: PT017


@given(JSON)
def test_yaml_that_was_written_is_read_back(value: Any) -> None:
    text = yaml.safe_dump({"x": value}, allow_unicode=True)
    try:
        found = plain(text, "yaml")
    except ConfigurationError as fault:
        assert "key must be text" in str(fault) or "anchors" in str(fault)  # noqa: PT017
        return
    assert json.dumps(found["x"]) == json.dumps(value) or "e" in text or "_" in text or ":" in text


@given(st.text(alphabet="ab:-?[]{},&*!|>'\"#%@` \n0.~", max_size=40))
def test_any_yaml_is_read_or_refused_with_a_place(text: str) -> None:
    try:
        plain(text, "yaml")
    except ConfigurationError as fault:
        assert str(fault).startswith("x:")  # noqa: PT017


@given(JSON)
def test_python_data_goes_through_unchanged(value: Any) -> None:
    assert from_python(value, Problems("x")).to_plain() == value


PURE = [
    ("a: [1, {b: no}]\n", {"a": [1, {"b": "no"}]}),
    ("a: 'x'\nb: |\n  text\n", {"a": "x", "b": "text\n"}),
]


@pytest.mark.parametrize(("text", "value"), PURE)
def test_without_the_c_parser(text: str, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_reader, "_LOADER", yaml.Loader)
    assert plain(text, "yaml") == value
    with pytest.raises(ConfigurationError, match="64 levels"):
        plain("[" * 100_000, "yaml")
    with pytest.raises(ConfigurationError, match="x:1:4: tags"):
        plain("a: !!str b", "yaml")
