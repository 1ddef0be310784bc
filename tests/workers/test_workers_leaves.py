"""Leaves over the channel: signed by the supervisor for keys that it never sees, or not at all."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from netfw.interfaces import ICertificateIssuer
from netfw.names.host import host_from_text
from netfw.testing.deferreds import failure_of, result_of
from netfw.transport.deadlines import Deadlines
from netfw.workers.leaf_signer import LeafSigner
from netfw.workers.messages import IssueLeaf, LeafIssued, LeafRefused
from netfw.workers.plain import from_plain, to_plain
from netfw.workers.remote_issuer import NoLeaf, RemoteIssuer
from netfw.x509.authority import create_root, load_authority
from netfw.x509.reading import Validity, certificates_from_pem, is_signed_by, validity

NOW = datetime(2030, 1, 2, tzinfo=UTC)
SECONDS = NOW.timestamp()
AUTHORITY = load_authority(*create_root("test CA", NOW, 30), NOW)
SIGNER = LeafSigner(AUTHORITY, lambda: SECONDS)


class Asking:
    """An issuer and what it asked."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.asked: list[IssueLeaf] = []
        self.issuer = RemoteIssuer(
            deadlines=Deadlines(self.clock), send=self.asked.append, seconds=lambda: SECONDS, answer_within=5.0
        )


@pytest.fixture
def asking() -> Asking:
    """A fresh one."""
    return Asking()


@pytest.mark.parametrize("text", ["origin.test", "192.0.2.7", "2001:db8::7", "my_host.test", "xn--bcher-kva.example"])
def test_a_leaf_comes_back_for_the_host_and_our_key(asking: Asking, text: str) -> None:
    """Signed by the authority, with its dates and the middle of its life."""
    host = host_from_text(text)
    wanted = asking.issuer.issue(host)
    (question,) = asking.asked
    assert question.host == text
    answer = SIGNER.answer(question)
    assert isinstance(answer, LeafIssued)
    asking.issuer.issued(answer)
    leaf = result_of(wanted)
    assert leaf.host == host
    assert is_signed_by(leaf.certificate, AUTHORITY.certificate)
    assert leaf.certificate.public_key().public_numbers() == leaf.private_key.public_key().public_numbers()
    assert NOW < leaf.renew_at < leaf.validity.ends
    assert leaf.chain == ()


def test_the_bounds_of_the_origins_certificate_go_with_the_question(asking: Asking) -> None:
    """And the leaf keeps within them, or there is none."""
    within = Validity(NOW - timedelta(minutes=3), NOW + timedelta(hours=2))
    wanted = asking.issuer.issue(host_from_text("origin.test"), within)
    answer: Any = SIGNER.answer(from_plain(IssueLeaf, to_plain(asking.asked[0])))
    asking.issuer.issued(answer)
    leaf = result_of(wanted)
    assert validity(leaf.certificate) == leaf.validity == within
    asking.issuer.issue(host_from_text("origin.test"), Validity(NOW - timedelta(days=1), NOW))
    refusal = SIGNER.answer(asking.asked[1])
    assert isinstance(refusal, LeafRefused)
    assert "the origin's certificate is valid from" in refusal.reason


def test_it_is_an_issuer(asking: Asking) -> None:
    """As the one that signs by itself."""
    assert verifyObject(ICertificateIssuer, asking.issuer)


def test_answers_find_their_questions(asking: Asking) -> None:
    """In whatever order they come."""
    hosts = [host_from_text(f"h{number}.test") for number in range(3)]
    wanted = [asking.issuer.issue(host) for host in hosts]
    for question in reversed(asking.asked):
        answer: Any = SIGNER.answer(question)
        asking.issuer.issued(answer)
    assert [result_of(one).host for one in wanted] == hosts


def test_without_an_answer_in_time_there_is_no_leaf(asking: Asking) -> None:
    """And one that comes too late is dropped."""
    wanted = asking.issuer.issue(host_from_text("origin.test"))
    for _ in range(22):
        asking.clock.advance(0.25)
    assert "in time" in str(failure_of(wanted, NoLeaf))
    asking.issuer.issued(SIGNER.answer(asking.asked[0]))  # type: ignore[arg-type]
    assert asking.clock.getDelayedCalls() == []


def test_a_refusal_and_a_supervisor_that_is_gone_are_no_leaves(asking: Asking) -> None:
    """Now and from then on."""
    refused, lost = (asking.issuer.issue(host_from_text(name)) for name in ("a.test", "b.test"))
    asking.issuer.refused(LeafRefused(asking.asked[0].request, "expired"))
    assert "expired" in str(failure_of(refused, NoLeaf))
    asking.issuer.close()
    assert failure_of(lost, NoLeaf)
    assert failure_of(asking.issuer.issue(host_from_text("c.test")), NoLeaf)
    assert len(asking.asked) == 2


def test_a_leaf_for_another_key_is_none(asking: Asking) -> None:
    """It could not be used; nor can what is no certificate, or several."""
    other = Asking()
    other.issuer.issue(host_from_text("origin.test"))
    answer: Any = SIGNER.answer(other.asked[0])
    for certificate in (answer.certificate, "", "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"):
        wanted = asking.issuer.issue(host_from_text("origin.test"))
        asking.issuer.issued(LeafIssued(asking.asked[-1].request, certificate, ()))
        assert failure_of(wanted, NoLeaf)


def test_who_is_cancelled_is_forgotten(asking: Asking) -> None:
    """Its answer changes nothing."""
    wanted = asking.issuer.issue(host_from_text("origin.test"))
    wanted.addErrback(lambda _: None)
    wanted.cancel()
    asking.issuer.issued(SIGNER.answer(asking.asked[0]))  # type: ignore[arg-type]


def public_pem(key: Any) -> str:
    """As it is sent."""
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    pem: bytes = key.public_key().public_bytes(serialization.Encoding.PEM, public)
    return pem.decode("ascii")


P256 = public_pem(ec.generate_private_key(ec.SECP256R1()))


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("", P256), ("Origin.test", P256), ("origin.test.", P256), ("bücher.example", P256), ("[::1]", P256),
        ("*.test", P256), ("a b", P256), ("origin.test", ""), ("origin.test", "x"),
        ("origin.test", public_pem(ec.generate_private_key(ec.SECP384R1()))),
        ("origin.test", public_pem(rsa.generate_private_key(65537, 2048))),
    ],
    ids=[
        "no name", "capitals", "final dot", "not ASCII", "brackets", "wildcard", "space", "no key", "no PEM", "P-384",
        "RSA",
    ],
)  # fmt: skip
def test_the_signer_signs_canonical_hosts_and_p256_keys_only(host: str, key: str) -> None:
    """And says no at once, so that nobody waits."""
    assert isinstance(SIGNER.answer(IssueLeaf(7, host, key)), LeafRefused)


def test_an_expired_authority_signs_nothing() -> None:
    """With the reason."""
    signer = LeafSigner(AUTHORITY, lambda: SECONDS + 40 * 86400)
    answer = signer.answer(IssueLeaf(7, "origin.test", P256))
    assert isinstance(answer, LeafRefused)
    assert "valid from" in answer.reason


def test_the_chain_goes_with_it() -> None:
    """A subordinate authority's leaves need its certificate; the root is the client's."""
    question = IssueLeaf(7, "origin.test", P256)
    answer: Any = SIGNER.answer(question)
    (certificate,) = certificates_from_pem(answer.certificate.encode())
    assert certificate.issuer == AUTHORITY.certificate.subject
    assert answer.chain == ()


SUBJECTS = [("Egress Ltd", "CN=origin.test,O=Egress Ltd"), ("", "CN=origin.test")]


@pytest.mark.parametrize(("organization", "subject"), SUBJECTS)
def test_the_subject_says_what_is_configured(organization: str, subject: str) -> None:
    """Beside the host, or nothing."""
    signer = LeafSigner(AUTHORITY, lambda: SECONDS, organization=organization)
    answer: Any = signer.answer(IssueLeaf(7, "origin.test", P256))
    (certificate,) = certificates_from_pem(answer.certificate.encode())
    assert certificate.subject.rfc4514_string() == subject
