"""netfw.tls.interception"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from zope.interface import implementer

from netfw.interfaces import ICertificateIssuer
from netfw.names.host import Host, host_from_text
from netfw.testing.deferreds import failure_of, result_of
from netfw.tls.interception import HostIdentities, HostIdentity
from netfw.tls.issuer import LocalIssuer
from netfw.x509.authority import load_authority
from netfw.x509.reading import Validity

NAME = "www.example.com"
HOST = host_from_text(NAME)


@implementer(ICertificateIssuer)
class SlowIssuer:
    """Hands out Deferreds that a test fires."""

    def __init__(self) -> None:
        self.asked: list[Host] = []
        self.bounds: list[Validity | None] = []
        self.pending: list[Deferred[Any]] = []

    def issue(self, host: Host, within: Validity | None = None) -> Deferred[Any]:
        self.asked.append(host)
        self.bounds.append(within)
        self.pending.append(Deferred())
        return self.pending[-1]


@pytest.fixture
def issuer() -> SlowIssuer:
    return SlowIssuer()


def test_a_client_that_trusts_the_authority_is_content(bed: Any, issuer: SlowIssuer, leaf_for: Any) -> None:
    """The connection shows a leaf for the host, over TLS 1.2 and 1.3, with ALPN."""
    identities = HostIdentities(issuer, 10)
    waiting = identities.identity_for(HOST)
    assert isinstance(waiting, Deferred)
    issuer.pending[0].callback(leaf_for(bed, NAME))
    identity = result_of(waiting)
    for version in ("TLSv1_2", "TLSv1_3"):
        stream, sock = bed.pair()
        result = bed.start(stream, identity.connection())
        client = bed.client_context(version)
        client.set_alpn_protocols(["http/1.1"])
        peer = bed.peer(sock, client, server=False, name=NAME)
        bed.secured(result)
        bed.until(lambda peer=peer: peer.secured)
        assert peer.tls.getpeercert()["subjectAltName"] == (("DNS", NAME),)


def test_a_hit_is_the_identity_itself(bed: Any, issuer: SlowIssuer, leaf_for: Any) -> None:
    """Without a Deferred, and the same for the same host."""
    identities = HostIdentities(issuer, 10)
    waiting = identities.identity_for(HOST)
    issuer.pending[0].callback(leaf_for(bed, NAME))
    assert identities.identity_for(HOST) is result_of(waiting)
    assert issuer.asked == [HOST] and len(identities) == 1


def test_many_wait_for_one_leaf(bed: Any, issuer: SlowIssuer, leaf_for: Any) -> None:
    """The issuer is asked once; whoever cancels withdraws alone."""
    identities = HostIdentities(issuer, 10)
    first, second, third = (identities.identity_for(HOST) for _ in range(3))
    assert issuer.asked == [HOST]
    second.cancel()
    failure_of(second, CancelledError)
    issuer.pending[0].callback(leaf_for(bed, NAME))
    assert result_of(first) is result_of(third) is identities.identity_for(HOST)


def test_a_failure_reaches_everybody_and_is_not_kept(bed: Any, issuer: SlowIssuer, leaf_for: Any) -> None:
    """The next caller asks again."""
    identities = HostIdentities(issuer, 10)
    first, second = identities.identity_for(HOST), identities.identity_for(HOST)
    issuer.pending[0].errback(RuntimeError("no key"))
    failure_of(first, RuntimeError)
    failure_of(second, RuntimeError)
    third = identities.identity_for(HOST)
    issuer.pending[1].callback(leaf_for(bed, NAME))
    assert isinstance(result_of(third), HostIdentity)


def test_an_identity_is_renewed_at_half_the_life_of_its_leaf(bed: Any, issuer: SlowIssuer, leaf_for: Any) -> None:
    """Just before it is still given; then another leaf is asked for."""
    leaf = leaf_for(bed, NAME)
    now = [leaf.renew_at.timestamp() - 1]
    identities = HostIdentities(issuer, 10, seconds=lambda: now[0])
    waiting = identities.identity_for(HOST)
    issuer.pending[0].callback(leaf)
    old = result_of(waiting)
    assert identities.identity_for(HOST) is old
    now[0] += 1
    renewed = identities.identity_for(HOST)
    issuer.pending[1].callback(leaf_for(bed, NAME))
    assert result_of(renewed) is not old


def test_an_older_leaf_serves_while_the_issuer_fails(bed: Any, issuer: SlowIssuer, leaf_for: Any) -> None:
    """As long as it is valid; not a second longer."""
    leaf = leaf_for(bed, NAME)
    now = [leaf.renew_at.timestamp() - 1]
    identities = HostIdentities(issuer, 10, seconds=lambda: now[0])
    waiting = identities.identity_for(HOST)
    issuer.pending[0].callback(leaf)
    old = result_of(waiting)
    now[0] = leaf.validity.ends.timestamp() - 1
    renewed = identities.identity_for(HOST)
    issuer.pending[1].errback(RuntimeError("away"))
    assert result_of(renewed) is old
    now[0] = leaf.validity.ends.timestamp()
    late = identities.identity_for(HOST)
    issuer.pending[2].errback(RuntimeError("away"))
    failure_of(late, RuntimeError)


def test_a_leaf_beyond_the_origins_certificate_is_not_shown(bed: Any, issuer: SlowIssuer, leaf_for: Any) -> None:
    """A narrower one is asked for; that one serves whoever may be shown more, too."""
    identities = HostIdentities(issuer, 10)
    waiting = identities.identity_for(HOST)
    leaf = leaf_for(bed, NAME)
    issuer.pending[0].callback(leaf)
    wide, second = result_of(waiting), timedelta(seconds=1)
    assert identities.identity_for(HOST, leaf.validity) is wide
    for narrow in (
        Validity(leaf.validity.begins, leaf.validity.ends - second),
        Validity(leaf.validity.begins + second, leaf.validity.ends),
    ):
        assert isinstance(identities.identity_for(HOST, narrow), Deferred)
        assert issuer.bounds[-1] == narrow
    issuer.pending[-1].callback(leaf_for(bed, NAME, within=narrow))
    assert identities.identity_for(HOST, narrow) is identities.identity_for(HOST) is not wide
    assert len(identities) == 1


def test_who_waits_gets_a_leaf_within_its_own_bounds(bed: Any, issuer: SlowIssuer, leaf_for: Any) -> None:
    """Two that want the same share one; who knows of another certificate has another."""
    identities = HostIdentities(issuer, 10)
    now = datetime.now(UTC).replace(microsecond=0)
    one, other = (Validity(now - timedelta(days=1), now + timedelta(days=days)) for days in (1, 2))
    first, again, second = (identities.identity_for(HOST, bounds) for bounds in (one, one, other))
    assert issuer.bounds == [one, other]
    for pending, bounds in zip(issuer.pending, issuer.bounds, strict=True):
        pending.callback(leaf_for(bed, NAME, within=bounds))
    assert result_of(first) is result_of(again) is not result_of(second)


def test_an_older_leaf_serves_only_within_the_origins_certificate(bed: Any, issuer: SlowIssuer, leaf_for: Any) -> None:
    """While the issuer fails, too."""
    leaf = leaf_for(bed, NAME)
    identities = HostIdentities(issuer, 10, seconds=lambda: leaf.renew_at.timestamp() + 1)
    identities.identity_for(HOST)
    issuer.pending[0].callback(leaf)
    narrow = Validity(leaf.validity.begins, leaf.validity.ends - timedelta(seconds=1))
    for bounds, serves in ((leaf.validity, True), (narrow, False)):
        waiting = identities.identity_for(HOST, bounds)
        issuer.pending[-1].errback(RuntimeError("away"))
        if serves:
            assert isinstance(result_of(waiting), HostIdentity)
        else:
            failure_of(waiting, RuntimeError)


def test_identities_are_bounded(bed: Any, leaf_for: Any) -> None:
    """The least recently used goes first."""

    @implementer(ICertificateIssuer)
    class Issuer:
        def issue(self, host: Host, within: Validity | None = None) -> Deferred[Any]:
            return succeed(leaf_for(bed, host.text))

    identities = HostIdentities(Issuer(), 2)
    a, b, c = (host_from_text(f"{letter}.example") for letter in "abc")
    for host in (a, b):
        result_of(identities.identity_for(host))
    identities.identity_for(a)
    result_of(identities.identity_for(c))
    assert len(identities) == 2
    assert [isinstance(identities.identity_for(host), HostIdentity) for host in (a, c, b)] == [True, True, False]


# -- contexts and what they resume


def identities_of(bed: Any, *, subordinate: bool = False) -> HostIdentities:
    """With the leaf key and the authority of one process, as they are in service."""
    signer = bed.authority.subordinate() if subordinate else bed.authority
    return HostIdentities(LocalIssuer(load_authority(signer.certificate_pem, signer.key_pem, datetime.now(UTC))), 10)


def visit(bed: Any, identities: HostIdentities, name: str, client: Any, inner: Any, session: Any = None) -> Any:
    """Python's side of one connection, once it has had data, and with them the tickets of TLS 1.3."""
    identity = result_of(maybeDeferred(identities.identity_for, host_from_text(name)))
    stream, sock = bed.pair()
    result = bed.start(stream, identity.connection())
    peer = bed.peer(sock, client, server=False, name="any.example", session=session)
    tls = bed.secured(result)
    tls.start(inner())
    tls.write(b"x")
    bed.until(lambda: peer.received)
    assert peer.tls.getpeercert()["subjectAltName"] == (("DNS", name),)
    return peer.tls


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_no_session_resumes_for_another_host(bed: Any, inner: Any, version: str) -> None:
    """Neither what a host's first connection was given nor what a later one was, at a host's first connection nor at
    a later one. What resumes for the same host resumes for it alone.
    """
    client = bed.client_context(version)
    client.check_hostname = False
    identities = identities_of(bed)
    first = visit(bed, identities, "a.example", client, inner).session
    second = visit(bed, identities, "a.example", client, inner, first)
    assert not second.session_reused
    assert visit(bed, identities, "a.example", client, inner, second.session).session_reused
    for number, session in enumerate((first, second.session)):
        for name in (f"b{number}.example", f"b{number}.example", f"b{number}.example"):
            assert not visit(bed, identities, name, client, inner, session).session_reused


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_hosts_that_are_asked_for_once_have_no_context_of_their_own(bed: Any, inner: Any, version: str) -> None:
    """Nor does a session of one resume anywhere, not even there."""
    client = bed.client_context(version)
    client.check_hostname = False
    identities = identities_of(bed)
    session = None
    hosts = [host_from_text(f"{letter}.example") for letter in "abc"]
    for host in hosts:
        seen = visit(bed, identities, host.text, client, inner, session)
        assert not seen.session_reused
        session = seen.session
    again: list[Any] = [identities.identity_for(host) for host in hosts]
    assert len({identity.connection().get_context() for identity in again}) == 3


def test_a_first_connection_shows_the_chain(bed: Any, inner: Any) -> None:
    """And so does the second: a client that knows only the root is content."""
    identities = identities_of(bed, subordinate=True)
    client = bed.client_context()
    client.check_hostname = False
    for _ in range(2):
        visit(bed, identities, NAME, client, inner)


def test_a_leaf_with_another_key_or_chain_is_shown_with_these(bed: Any, issuer: SlowIssuer, leaf_for: Any) -> None:
    """The context that first connections have in common is made anew."""
    identities = HostIdentities(issuer, 10)
    contexts = []
    for number, below in enumerate((False, True)):
        waiting = identities.identity_for(host_from_text(f"{number}.example"))
        issuer.pending[-1].callback(leaf_for(bed, f"{number}.example", subordinate=below))
        contexts.append(result_of(waiting).connection().get_context())
    assert contexts[0] is not contexts[1]


# -- when an authority changes


def test_everything_can_be_forgotten(bed: Any, issuer: SlowIssuer, leaf_for: Any) -> None:
    """After a change of the authority."""
    identities = HostIdentities(issuer, 2)
    identities.identity_for(HOST)
    issuer.pending[0].callback(leaf_for(bed, NAME))
    identities.forget_all()
    assert len(identities) == 0 and isinstance(identities.identity_for(HOST), Deferred)


def test_a_leaf_of_the_former_authority_is_not_kept(bed: Any, issuer: SlowIssuer, leaf_for: Any) -> None:
    """It was on its way when the authority changed: who waited has it, and the next asks anew."""
    identities = HostIdentities(issuer, 2)
    waiting = identities.identity_for(HOST)
    identities.forget_all()
    issuer.pending[0].callback(leaf_for(bed, NAME))
    assert isinstance(result_of(waiting), HostIdentity)
    assert len(identities) == 0 and isinstance(identities.identity_for(HOST), Deferred)


def test_no_room_is_a_mistake(issuer: SlowIssuer) -> None:
    """A capacity below one is refused."""
    with pytest.raises(ValueError):
        HostIdentities(issuer, 0)
