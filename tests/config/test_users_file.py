"""netfw.config.users_file and netfw.config.password_hash"""

from __future__ import annotations

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfw.config.password_hash import HashRefused, make_hash, read_hash
from netfw.config.users_file import UsersFileProblem, read_users, with_user

SCRYPT = make_hash("pässword".encode())
# Always the same one: it stands in the names of cases.
BCRYPT = "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"


def test_a_hash_knows_its_password() -> None:
    """scrypt, and bcrypt as Apache writes it; nothing else, longer or shorter, will do."""
    assert SCRYPT.matches("pässword".encode())
    assert not SCRYPT.matches(b"password") and not SCRYPT.matches(b"")
    assert read_hash(BCRYPT).matches(b"secret")
    assert not read_hash(BCRYPT).matches(b"secret\x00") and not read_hash(BCRYPT).matches(b"Secret")
    long = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()
    assert read_hash(long).matches(b"x" * 72) and not read_hash(long).matches(b"x" * 73)


def test_two_hashes_of_a_password_differ() -> None:
    """By their salt."""
    assert make_hash(b"the same").text != make_hash(b"the same").text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "neither"),
        ("secret", "neither"),
        ("$apr1$abcdefgh$abcdefghijklmnopqrstuv", "MD5 or SHA-1"),
        ("{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "MD5 or SHA-1"),
        ("$5$rounds=5000$x$y", "neither"),
        ("$scrypt$ln=20,r=8,p=1$c29tZSBzYWx0IGhlcmU$" + "A" * 43, "more memory"),
        ("$scrypt$ln=10,r=8,p=99$c29tZSBzYWx0IGhlcmU$" + "A" * 43, "more memory"),
        (BCRYPT.replace("$04$", "$31$"), "cost"),
    ],
)
def test_hashes_that_are_not_taken(text: str, words: str) -> None:
    """Each with the reason: none, quick to try out, or too slow to serve by."""
    with pytest.raises(HashRefused, match=words):
        read_hash(text)


def test_a_file() -> None:
    """Names and hashes; notes and empty lines are skipped."""
    users = read_users(f"# who may\r\n\r\nalice:{SCRYPT.text}\r\n\nbob smith:{BCRYPT}\n")
    assert {name: found.text for name, found in users.items()} == {"alice": SCRYPT.text, "bob smith": BCRYPT}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "nobody"),
        ("# only a note\n", "nobody"),
        ("alice\n", "line 1: is not name:hash"),
        (f"alice:{BCRYPT}\nalice:{BCRYPT}\n", "line 2: 'alice' is there a second time"),
        (f":{BCRYPT}\n", "line 1: '' is no user name"),
        (f"\n{'x' * 129}:{BCRYPT}\n", "line 2: .* no user name"),
        (f"al\x1bice:{BCRYPT}\n", "no user name"),
        ("alice:plain\n", "line 1: the hash of 'alice' is neither"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, words: str) -> None:
    """And no hash is shown."""
    with pytest.raises(UsersFileProblem, match=words) as caught:
        read_users(text)
    assert BCRYPT not in str(caught.value) and "plain" not in str(caught.value)


@given(st.lists(st.sampled_from(["alice", "bob", "carol"]), max_size=6))
def test_adding_replaces_and_removing_leaves_the_others(names: list[str]) -> None:
    """Whatever was there; notes stay."""
    text = "# note\n"
    for name in names:
        text = with_user(text, name, SCRYPT)
    assert text.startswith("# note\n")
    for name in set(names):
        after = with_user(text, name, None)
        left = set(names) - {name}
        assert (set(read_users(after)) if left else set()) == left
