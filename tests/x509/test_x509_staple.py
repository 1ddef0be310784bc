"""netfw.x509.staple"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp
from hypothesis import given
from hypothesis import strategies as st

from netfw.testing.pki import DAY, TestAuthority
from netfw.testing.revocation import make_responder, make_staple, try_later
from netfw.x509.reading import certificates_from_pem
from netfw.x509.staple import LONGEST_WITHOUT_END, SKEW, StapleProblem, judge_staple, must_staple

NOW = datetime.now(UTC)


@cache
def authority() -> TestAuthority:
    """The issuer."""
    return TestAuthority("Issuer")


@cache
def certificate() -> x509.Certificate:
    """What is judged."""
    return certificates_from_pem(authority().issue("www.example.com")[0])[0]


def staple(**how: Any) -> bytes:
    return make_staple(certificate(), authority(), **how)


def judge(data: bytes, now: datetime = NOW) -> bool:
    return judge_staple(data, certificate(), authority().certificate, now)


def refused(data: bytes, now: datetime = NOW) -> str:
    with pytest.raises(StapleProblem) as caught:
        judge(data, now)
    assert caught.value.detail
    return caught.value.reason


@pytest.mark.parametrize("algorithm", [hashes.SHA1(), hashes.SHA256()])
def test_a_good_one_counts(algorithm: Any) -> None:
    """Signed by the issuer, or by whom it appointed, whichever hash names the certificate."""
    assert judge(staple(algorithm=algorithm))
    assert judge(staple(responder=make_responder(authority())))


def test_revoked_is_revoked() -> None:
    """Also when the response is old by now."""
    assert refused(staple(status=ocsp.OCSPCertStatus.REVOKED)) == "revoked"
    old = staple(status=ocsp.OCSPCertStatus.REVOKED, start=NOW - 9 * DAY, end=NOW - 2 * DAY)
    assert refused(old) == "revoked"


def test_a_responder_that_cannot_say_says_nothing() -> None:
    """Nobody signs such a response."""
    assert judge(try_later()) is False


def test_whose_signature_counts() -> None:
    """The issuer's, and nobody's else: not a stranger's, nor one that was certified for something else."""
    assert refused(staple(forged=True)) == "bad_staple"
    stranger = TestAuthority("Issuer")
    assert refused(make_staple(certificate(), stranger)) == "bad_staple"
    assert refused(staple(responder=make_responder(stranger))) == "bad_staple"
    assert refused(staple(responder=make_responder(authority(), purpose=False))) == "bad_staple"
    assert refused(staple(responder=make_responder(authority(), end=NOW - DAY))) == "bad_staple"
    assert refused(staple(responder=make_responder(authority()), forged=True)) == "bad_staple"


def test_it_must_be_about_this_certificate() -> None:
    """Another one's of the same issuer says nothing of it; unknown is no answer either."""
    other = certificates_from_pem(authority().issue("www.example.com")[0])[0]
    assert refused(make_staple(other, authority())) == "bad_staple"
    assert refused(staple(status=ocsp.OCSPCertStatus.UNKNOWN)) == "bad_staple"


def test_it_must_be_of_now() -> None:
    """To the second, but for clocks that are minutes apart."""
    start, end = NOW - DAY, NOW + DAY
    data = staple(start=start, end=end)
    assert judge(data, start - SKEW + timedelta(seconds=1))
    assert refused(data, start - SKEW - timedelta(seconds=1)) == "stale_staple"
    assert judge(data, end + SKEW - timedelta(seconds=1))
    assert refused(data, end + SKEW + timedelta(seconds=1)) == "stale_staple"
    endless = staple(start=start, endless=True)
    assert judge(endless, start + LONGEST_WITHOUT_END)
    assert refused(endless, start + LONGEST_WITHOUT_END + 2 * SKEW) == "stale_staple"


@given(st.one_of(st.binary(max_size=64), st.integers(0, 5000)), st.integers(0, 255))
def test_no_bytes_make_it_crash_or_believe(damage: bytes | int, octet: int) -> None:
    """Neither noise nor a good response with an octet changed."""
    good = staple_of_all()
    if isinstance(damage, bytes):
        data = damage
    else:
        at = damage % len(good)
        data = good[:at] + bytes([octet]) + good[at + 1 :]
    try:
        believed = judge(data)
    except StapleProblem:
        return
    assert not believed or data == good or _means_the_same(data, good)


def _means_the_same(data: bytes, good: bytes) -> bool:
    """What is signed is the same, octet for octet: only its wrapping differs."""
    one, other = ocsp.load_der_ocsp_response(data), ocsp.load_der_ocsp_response(good)
    return one.tbs_response_bytes == other.tbs_response_bytes


@cache
def staple_of_all() -> bytes:
    return staple(start=NOW - DAY, end=NOW + 3 * DAY)


def test_who_promises_a_staple() -> None:
    """By the extension of RFC 7633."""
    (promises,) = certificates_from_pem(authority().issue("www.example.com", must_staple=True)[0])
    assert must_staple(promises) and not must_staple(certificate())
