"""Values that a peer chose: masked, cut, never failing."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfw.telemetry.record_values import (
    VALUE_LIMIT,
    cut,
    is_secret_name,
    mask_also,
    path_text,
    peer_text,
    query_text,
)

SECRETS = """
    token access_token id_token X-Amz-Security-Token X-Amz-Signature X-Amz-Credential sig key api_key apikey apiKey
    API-KEY AWSAccessKeyId client_secret password passwd pass pwd code auth authCode oauth_token code_verifier jwt sid
    session SessionID SAMLResponse assertion ticket tok%65n %6bey hmac Authorization x.key user[password]
"""
NO_SECRETS = "page q author keyword design assign encoding codec state lang monkeys signal x"


@pytest.mark.parametrize("name", SECRETS.split())
def test_names_of_secrets(name: str) -> None:
    """A name that says secret in any usual spelling is one."""
    assert is_secret_name(name)


@pytest.mark.parametrize("name", NO_SECRETS.split())
def test_names_that_only_look_alike(name: str) -> None:
    """Words that only contain such letters are none: a record must stay useful."""
    assert not is_secret_name(name)


def test_values_of_secrets_are_masked_and_others_stay() -> None:
    """Only the secret's value is replaced; order, empty parameters and repeats stay."""
    assert query_text(b"a=1&token=abc&&b=x=y&TOKEN=d&token") == "a=1&token=***&&b=x=y&TOKEN=***&token"


def test_semicolons_separate_too() -> None:
    """Old form encoders separate with semicolons."""
    assert query_text(b"a=1;key=abc;b=2&sig=x") == "a=1;key=***;b=2&sig=***"


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (b"/fetch/https://user:pass@host/x", "/fetch/https://***@host/x"),
        (b"/fetch/https://us:p@ss@host/x", "/fetch/https://***@host/x"),
        (b"/fetch/https%3A%2F%2Fuser%3Apass%40host%2Fx", "/fetch/https%3A%2F%2F***@host%2Fx"),
        (b"/@scope/package", "/@scope/package"),
        (b"/a;jsessionid=0123/b;v=1", "/a;jsessionid=***/b;v=1"),
    ],
)
def test_paths(path: bytes, shown: str) -> None:
    """Userinfo of a URI within a path is masked, and session ids in matrix parameters; other paths stay."""
    assert path_text(path) == shown


def test_userinfo_in_a_query() -> None:
    """Also in a query, plain or percent-encoded."""
    assert query_text(b"u=https://me:pw@h/&n=http%3a%2f%2fme%40h%2f") == "u=https://***@h/&n=http%3a%2f%2f***@h%2f"


def test_a_value_at_the_limit_and_one_beyond() -> None:
    """The limit is a whole value; one more is cut, with an ellipsis as its last character."""
    assert cut("x" * VALUE_LIMIT) == "x" * VALUE_LIMIT
    assert cut("x" * (VALUE_LIMIT + 1)) == "x" * (VALUE_LIMIT - 1) + "\u2026"
    assert peer_text(b"x" * VALUE_LIMIT) == "x" * VALUE_LIMIT
    assert peer_text(b"x" * (VALUE_LIMIT + 1)) == "x" * (VALUE_LIMIT - 1) + "\u2026"


def test_a_secret_behind_the_cut_does_not_show() -> None:
    """Cutting comes first, masking then: half a secret is masked like a whole one."""
    assert query_text(b"a=" + b"x" * 2000 + b"&token=" + b"s" * 100).endswith("&token=***")


@given(st.binary(max_size=300))
def test_bytes_are_read_without_loss(raw: bytes) -> None:
    """Any bytes are text, and can be turned back."""
    assert peer_text(raw).encode("latin-1") == raw


@given(st.text("token=&;%@/:x4026F#", max_size=200))
def test_masking_never_fails_and_is_stable(text: str) -> None:
    """Masking what was masked changes nothing."""
    once = query_text(text.encode())
    assert query_text(once.encode()) == once
    path = path_text(text.encode())
    assert path_text(path.encode()) == path


@pytest.mark.parametrize("piece", [b"//", b"%2F%2F", b"%2F", b"@", b"//a@", b"%40", b";a=", b"&;", b"token=%"])
def test_long_hostile_values_are_bounded_in_time(piece: bytes) -> None:
    """64 KiB of whatever makes the patterns try again cost no more than their first 2,048 characters."""
    raw = piece * (65536 // len(piece))
    assert len(path_text(raw)) <= 2 * VALUE_LIMIT
    assert len(query_text(raw)) <= 8 * VALUE_LIMIT


def test_more_names_that_tell_a_secret():
    """As the operator says, in any case and spelling; said anew, the former ones are forgotten."""
    try:
        mask_also(["patient_*", "i?", "***x***"])
        assert query_text(b"patient_id=1&Patient%5Fname=2&id=3&is=4&six=5&big=6") == (
            "patient_id=***&Patient%5Fname=***&id=***&is=***&six=***&big=6"
        )
        assert path_text(b"/a;patient_id=7/b") == "/a;patient_id=***/b"
        mask_also(["big"])
        assert query_text(b"patient_id=1&big=6&password=7") == "patient_id=1&big=***&password=***"
    finally:
        mask_also([])
    assert query_text(b"patient_id=1&big=6") == "patient_id=1&big=6"


def test_no_pattern_takes_long():
    """Neither of the operator's stars nor of a client's name."""
    try:
        mask_also(["*a*a*a*a*a*a*a*a*b"])
        begun = time.process_time()
        query_text(b"a" * 2000 + b"=1")
        assert time.process_time() - begun < 1
    finally:
        mask_also([])
