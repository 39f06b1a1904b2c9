"""Secrets: found by reference, bound to a host, never shown."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from agenthive.errors import ConfigurationError, EgressRefused, StoreUnavailable
from agenthive.infra.secrets import MAX_SECRET, Secret, Secrets

VALUE = "s3cret-value"


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Secrets:
    monkeypatch.setenv("TOKEN", VALUE)
    monkeypatch.delenv("MISSING", raising=False)
    return Secrets(tmp_path / "secrets")


def test_a_secret_does_not_show_itself() -> None:
    secret = Secret(VALUE)
    assert secret.reveal() == VALUE
    shown = f"{secret} {secret!r} {[secret]}"
    assert VALUE not in shown
    assert "***" in shown
    with pytest.raises(TypeError):
        json.dumps(secret)
    assert not hasattr(secret, "__dict__")


# Where they are found.


def test_in_the_environment(secrets: Secrets) -> None:
    assert secrets.resolve("Bearer ${env:TOKEN}!").reveal() == f"Bearer {VALUE}!"
    assert secrets.resolve("no reference").reveal() == "no reference"
    assert secrets.resolve("${env:TOKEN}${env:TOKEN}").reveal() == VALUE * 2


def test_in_a_file(secrets: Secrets, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{VALUE}\n")
    assert secrets.resolve(f"${{file:{tmp_path / 'token'}}}").reveal() == VALUE


def test_in_the_home(secrets: Secrets) -> None:
    reference = secrets.store_literal("agents.api.token", VALUE)
    assert reference == "${secret:agents.api.token}"
    assert secrets.resolve(reference).reveal() == VALUE
    assert secrets.folder is not None
    file = secrets.folder / "agents.api.token"
    assert file.stat().st_mode & 0o777 == 0o600
    assert secrets.folder.stat().st_mode & 0o777 == 0o700
    assert secrets.store_literal("agents.api.token", "another") == reference
    assert secrets.resolve(reference).reveal() == "another"


def test_names_that_look_alike_are_not_one_secret(secrets: Secrets) -> None:
    names = ["a_b", "a b", "a/b", "../a_b", ".a_b", "a" * 200, "a" * 201]
    references = [secrets.store_literal(name, f"value of {name}") for name in names]
    assert len(set(references)) == len(names)
    for name, reference in zip(names, references, strict=True):
        assert secrets.resolve(reference).reveal() == f"value of {name}"


def test_nothing_is_kept_without_a_home() -> None:
    with pytest.raises(
        ConfigurationError, match="contains the value of the secret 'token'"
    ) as caught:
        Secrets().store_literal("token", VALUE)
    assert VALUE not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("${env:MISSING}", "the environment variable MISSING is not set"),
        ("${env:EMPTY}", "the environment variable EMPTY is not set"),
        ("${file:/no/such/file}", "cannot be read: No such file or directory"),
        ("${file:/}", "cannot be read: Is a directory"),
        ("${secret:nothing}", "cannot be read"),
        ("${secret:../journal.db}", "cannot be looked up"),
        ("${secret:.hidden}", "cannot be looked up"),
    ],
)
def test_what_leads_nowhere_is_named(
    secrets: Secrets, monkeypatch: pytest.MonkeyPatch, reference: str, words: str
) -> None:
    monkeypatch.setenv("EMPTY", "")
    with pytest.raises(ConfigurationError, match=words):
        secrets.resolve(f"Bearer ${{env:TOKEN}} {reference}")


def test_no_home_no_secret() -> None:
    with pytest.raises(ConfigurationError, match="no home"):
        Secrets().resolve("${secret:x}")


def test_files_that_are_no_secrets(secrets: Secrets, tmp_path: Path) -> None:
    large, binary = tmp_path / "large", tmp_path / "binary"
    large.write_text("x" * (MAX_SECRET + 1))
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="larger than 65,536 bytes"):
        secrets.resolve(f"${{file:{large}}}")
    with pytest.raises(ConfigurationError, match="cannot be read: it is not UTF-8 text"):
        secrets.resolve(f"${{file:{binary}}}")


# Where they go.


def test_a_secret_belongs_to_the_host_it_went_to_first(secrets: Secrets) -> None:
    secrets.resolve("${env:TOKEN}", "api.example.org")
    secrets.resolve("${env:TOKEN}", "api.example.org")
    with pytest.raises(EgressRefused, match=r"\$\{env:TOKEN\} was first sent to api\.example\.org"):
        secrets.resolve("x ${env:TOKEN}", "evil.example")
    secrets.resolve("${env:TOKEN}")  # for nobody: nothing to compare
    secrets.resolve("${env:PATH}", "evil.example")  # another secret is free


def test_a_secret_that_was_for_nobody_is_not_bound(secrets: Secrets) -> None:
    secrets.resolve("${env:TOKEN}")
    assert secrets.resolve("${env:TOKEN}", "a.example").reveal() == VALUE


def test_only_what_is_allowed_is_resolved(secrets: Secrets) -> None:
    text = "${env:TOKEN} ${env:PATH} ${env:MISSING}"
    assert (
        secrets.resolve_allowed(text, ["${env:TOKEN}"], "h")
        == f"{VALUE} ${{env:PATH}} ${{env:MISSING}}"
    )
    assert secrets.resolve_allowed(text, [], "h") == text
    with pytest.raises(EgressRefused):
        secrets.resolve_allowed(text, ["${env:TOKEN}"], "elsewhere")


def test_a_secret_that_looks_like_a_reference_is_not_followed(
    secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRICK", "${env:TOKEN}")
    both = ["${env:TRICK}", "${env:TOKEN}"]
    assert secrets.resolve("${env:TRICK}").reveal() == "${env:TOKEN}"
    assert secrets.resolve_allowed("${env:TRICK}", both, "h") == "${env:TOKEN}"


def test_resolving_within_json(secrets: Secrets) -> None:
    value: Any = {"a": ["${env:TOKEN}", 1, None, {"${env:TOKEN}": "${env:HOME}"}]}
    assert secrets.resolve_value(value, [], "h") is value
    assert secrets.resolve_value(value, ["${env:TOKEN}"], "h") == {
        "a": [VALUE, 1, None, {"${env:TOKEN}": "${env:HOME}"}]
    }


# Never shown.


def test_scrubbing(secrets: Secrets) -> None:
    text = f"the token is {VALUE}, {VALUE}"
    assert secrets.scrub(text) == text  # not resolved yet: not known
    assert secrets.scrub_value([text]) == [text]
    secrets.resolve("${env:TOKEN}")
    assert secrets.scrub(text) == "the token is ***, ***"
    assert secrets.scrub_value({VALUE: [text, 1, None, True, {"a": VALUE}]}) == {
        "***": ["the token is ***, ***", 1, None, True, {"a": "***"}]
    }


def test_keys_that_are_secrets_stay_apart(
    secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER", "another-value")
    secrets.resolve("${env:TOKEN}${env:OTHER}")
    leaked = {
        VALUE: 1,
        "another-value": {VALUE: VALUE, "another-value": 2},
        "*** (2)": 3,
        f"x {VALUE}": 4,
        "***": 5,
        "x another-value": 6,
    }
    assert secrets.scrub_value([leaked]) == [
        {
            "*** (3)": 1,
            "*** (4)": {"***": "***", "*** (2)": 2},
            "*** (2)": 3,
            "x ***": 4,
            "***": 5,
            "x *** (2)": 6,
        }
    ]


def test_the_longer_of_two_secrets_goes_first(
    secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LONGER", f"{VALUE}-and-more")
    secrets.resolve("${env:TOKEN} ${env:LONGER}")
    assert secrets.scrub(f"{VALUE}-and-more") == "***"


def test_short_values_are_left_alone(secrets: Secrets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHORT", "ab")
    secrets.resolve("${env:SHORT}")
    assert secrets.mark_secret("cd") == "cd"
    assert secrets.scrub("abcd") == "abcd"


def test_what_is_made_of_a_secret_is_hidden_too(secrets: Secrets) -> None:
    assert secrets.mark_secret("made-of-it") == "made-of-it"
    assert secrets.scrub("made-of-it!") == "***!"


def test_a_home_that_cannot_be_written(secrets: Secrets, tmp_path: Path) -> None:
    (tmp_path / "secrets").write_text("in the way")
    with pytest.raises(StoreUnavailable, match="'token' cannot be written to") as caught:
        secrets.store_literal("token", VALUE)
    assert VALUE not in str(caught.value)
    assert os.listdir(tmp_path) == ["secrets"]
