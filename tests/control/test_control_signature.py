"""Signature Version 4: the published example, and every single change that must be noticed."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from netfw.control.refusals import IncompleteSignature, InvalidSignature, MissingAuthenticationToken, Refusal
from netfw.control.signature import SKEW, SignedRequest, check_signature, read_claim, sign, signing_key

SERVICE = "network-firewall"
SECRET = "s" * 40
DATE = "20261128T120000Z"
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC).timestamp()
FIELDS = (
    ("host", "127.0.0.1:9901"),
    ("content-type", "application/x-amz-json-1.0"),
    ("x-amz-date", DATE),
    ("x-amz-target", "NetworkFirewall_20201112.ListProxies"),
)
BODY = b"{}"


def signed(*, secret: str = SECRET, fields: tuple[tuple[str, str], ...] = FIELDS, date: str = DATE) -> SignedRequest:
    """A request as a client sends it."""
    authorization = sign(fields, BODY, key="NFWKTEST", secret=secret, region="us-east-2", service=SERVICE, date=date)
    return SignedRequest((*fields, ("authorization", authorization)), BODY)


def check(request: SignedRequest, now: float = NOW) -> str:
    """The key that a request is signed with."""
    claim = read_claim(request, SERVICE, now)
    check_signature(request, claim, SECRET)
    return claim.key


def changed(request: SignedRequest, name: str, value: str | None) -> SignedRequest:
    """With another value of a field, or without it."""
    fields = [(known, old if known != name else value) for known, old in request.fields]
    return replace(request, fields=tuple((known, new) for known, new in fields if new is not None))


def test_the_published_example_gives_the_published_key() -> None:
    """From the vendor's description of deriving a signing key."""
    key = signing_key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20150830", "us-east-1", "iam")
    assert key.hex() == "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"


def test_a_signed_request_is_from_its_key() -> None:
    """And may come again: clients repeat signatures within a second."""
    assert [check(signed()), check(signed())] == ["NFWKTEST", "NFWKTEST"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("host", "127.0.0.1:9902"),
        ("content-type", "application/json"),
        ("x-amz-target", "NetworkFirewall_20201112.DeleteProxy"),
        ("x-amz-date", "20261128T120001Z"),
        ("host", None),
    ],
)
def test_a_changed_field_is_noticed(name: str, value: str | None) -> None:
    """Each signed one."""
    with pytest.raises(InvalidSignature):
        check(changed(signed(), name, value))


def test_a_changed_body_is_noticed() -> None:
    """One byte."""
    with pytest.raises(InvalidSignature):
        check(replace(signed(), body=b"{ }"))


def test_another_secret_is_noticed() -> None:
    """Of the right length, too."""
    with pytest.raises(InvalidSignature):
        check(signed(secret="t" * 40))


@pytest.mark.parametrize("offset", [-SKEW, 0.0, SKEW])
def test_a_clock_may_be_five_minutes_off(offset: float) -> None:
    """Either way."""
    assert check(signed(), NOW + offset) == "NFWKTEST"


@pytest.mark.parametrize("offset", [-SKEW - 1, SKEW + 1])
def test_more_than_five_minutes_are_refused(offset: float) -> None:
    """In words that tell the client whose clock to set."""
    with pytest.raises(InvalidSignature, match="Signature not current"):
        check(signed(), NOW + offset)


def test_space_in_values_does_not_count() -> None:
    """As the algorithm says: trimmed, and runs of it made one."""
    request = signed(fields=(*FIELDS, ("x-amz-meta", "a b")))
    assert check(changed(request, "x-amz-meta", "  a   b ")) == "NFWKTEST"


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256", IncompleteSignature),
        ("Signature=", "Signatur=", IncompleteSignature),
        ("SignedHeaders=content-type;host;", "SignedHeaders=content-type;", IncompleteSignature),
        (";x-amz-target", "", IncompleteSignature),
        ("x-amz-date;", "x-amz-date;x-amz-date;", IncompleteSignature),
        ("/network-firewall/", "/s3/", InvalidSignature),
        ("/20261128/", "/20261127/", InvalidSignature),
        ("/us-east-2/", "/us-east-1/", InvalidSignature),
        ("aws4_request", "aws4", IncompleteSignature),
        ("Credential=", "Credential=x, Credential=", IncompleteSignature),
        ("Credential=NFWKTEST", "Credential=\x00", IncompleteSignature),
    ],
)
def test_a_changed_authorization_is_refused(old: str, new: str, kind: type[Refusal]) -> None:
    """Before any key is looked at, where it is not even a claim."""
    authorization = signed().values("authorization")[0]
    assert old in authorization
    with pytest.raises(kind):
        check(changed(signed(), "authorization", authorization.replace(old, new, 1)))


def test_an_unsigned_request_is_told_how_to_sign() -> None:
    """It names the command that makes keys."""
    with pytest.raises(MissingAuthenticationToken, match="netfw key create"):
        check(SignedRequest(FIELDS, BODY))


def test_two_authorizations_are_none() -> None:
    """Which of them counts would be anybody's guess."""
    request = signed()
    with pytest.raises(IncompleteSignature):
        check(replace(request, fields=(*request.fields, request.fields[-1])))


@pytest.mark.parametrize("date", ["20261328T120000Z", "2026-11-28", "", "20261128T120000Z\n"])
def test_a_date_that_is_none_is_refused(date: str) -> None:
    """And nothing breaks."""
    with pytest.raises(IncompleteSignature):
        check(changed(signed(), "x-amz-date", date))
