"""netfw.tls.interception"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred, succeed
from zope.interface import implementer

from netfw.interfaces import ICertificateIssuer
from netfw.names.host import Host, host_from_text
from netfw.testing.deferreds import failure_of, result_of
from netfw.tls.interception import InterceptionContexts
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
    """The context shows a leaf for the host, over TLS 1.2 and 1.3, with ALPN."""
    contexts = InterceptionContexts(issuer, 10)
    waiting = contexts.context_for(HOST)
    assert isinstance(waiting, Deferred)
    issuer.pending[0].callback(leaf_for(bed, NAME))
    context = result_of(waiting)
    for version in ("TLSv1_2", "TLSv1_3"):
        stream, sock = bed.pair()
        connection = SSL.Connection(context, None)
        connection.set_accept_state()
        result = bed.start(stream, connection)
        client = bed.client_context(version)
        client.set_alpn_protocols(["http/1.1"])
        peer = bed.peer(sock, client, server=False, name=NAME)
        bed.secured(result)
        bed.until(lambda peer=peer: peer.secured)
        assert peer.tls.getpeercert()["subjectAltName"] == (("DNS", NAME),)


def test_a_hit_is_the_context_itself(bed: Any, issuer: SlowIssuer, leaf_for: Any) -> None:
    """Without a Deferred, and the same for the same host."""
    contexts = InterceptionContexts(issuer, 10)
    waiting = contexts.context_for(HOST)
    issuer.pending[0].callback(leaf_for(bed, NAME))
    assert contexts.context_for(HOST) is result_of(waiting)
    assert issuer.asked == [HOST] and len(contexts) == 1


def test_many_wait_for_one_leaf(bed: Any, issuer: SlowIssuer, leaf_for: Any) -> None:
    """The issuer is asked once; whoever cancels withdraws alone."""
    contexts = InterceptionContexts(issuer, 10)
    first, second, third = (contexts.context_for(HOST) for _ in range(3))
    assert issuer.asked == [HOST]
    second.cancel()
    failure_of(second, CancelledError)
    issuer.pending[0].callback(leaf_for(bed, NAME))
    assert result_of(first) is result_of(third) is contexts.context_for(HOST)


def test_a_failure_reaches_everybody_and_is_not_kept(bed: Any, issuer: SlowIssuer, leaf_for: Any) -> None:
    """The next caller asks again."""
    contexts = InterceptionContexts(issuer, 10)
    first, second = contexts.context_for(HOST), contexts.context_for(HOST)
    issuer.pending[0].errback(RuntimeError("no key"))
    failure_of(first, RuntimeError)
    failure_of(second, RuntimeError)
    third = contexts.context_for(HOST)
    issuer.pending[1].callback(leaf_for(bed, NAME))
    assert isinstance(result_of(third), SSL.Context)


def test_a_context_is_renewed_at_half_the_life_of_its_leaf(bed: Any, issuer: SlowIssuer, leaf_for: Any) -> None:
    """Just before it is still given; then another leaf is asked for."""
    leaf = leaf_for(bed, NAME)
    now = [leaf.renew_at.timestamp() - 1]
    contexts = InterceptionContexts(issuer, 10, seconds=lambda: now[0])
    waiting = contexts.context_for(HOST)
    issuer.pending[0].callback(leaf)
    old = result_of(waiting)
    assert contexts.context_for(HOST) is old
    now[0] += 1
    renewed = contexts.context_for(HOST)
    issuer.pending[1].callback(leaf_for(bed, NAME))
    assert result_of(renewed) is not old


def test_an_older_leaf_serves_while_the_issuer_fails(bed: Any, issuer: SlowIssuer, leaf_for: Any) -> None:
    """As long as it is valid; not a second longer."""
    leaf = leaf_for(bed, NAME)
    now = [leaf.renew_at.timestamp() - 1]
    contexts = InterceptionContexts(issuer, 10, seconds=lambda: now[0])
    waiting = contexts.context_for(HOST)
    issuer.pending[0].callback(leaf)
    old = result_of(waiting)
    now[0] = leaf.validity.ends.timestamp() - 1
    renewed = contexts.context_for(HOST)
    issuer.pending[1].errback(RuntimeError("away"))
    assert result_of(renewed) is old
    now[0] = leaf.validity.ends.timestamp()
    late = contexts.context_for(HOST)
    issuer.pending[2].errback(RuntimeError("away"))
    failure_of(late, RuntimeError)


def test_a_leaf_beyond_the_origins_certificate_is_not_shown(bed: Any, issuer: SlowIssuer, leaf_for: Any) -> None:
    """A narrower one is asked for; that one serves whoever may be shown more, too."""
    contexts = InterceptionContexts(issuer, 10)
    waiting = contexts.context_for(HOST)
    leaf = leaf_for(bed, NAME)
    issuer.pending[0].callback(leaf)
    wide, second = result_of(waiting), timedelta(seconds=1)
    assert contexts.context_for(HOST, leaf.validity) is wide
    for narrow in (
        Validity(leaf.validity.begins, leaf.validity.ends - second),
        Validity(leaf.validity.begins + second, leaf.validity.ends),
    ):
        assert isinstance(contexts.context_for(HOST, narrow), Deferred)
        assert issuer.bounds[-1] == narrow
    issuer.pending[-1].callback(leaf_for(bed, NAME, within=narrow))
    assert contexts.context_for(HOST, narrow) is contexts.context_for(HOST) is not wide
    assert len(contexts) == 1


def test_who_waits_gets_a_leaf_within_its_own_bounds(bed: Any, issuer: SlowIssuer, leaf_for: Any) -> None:
    """Two that want the same share one; who knows of another certificate has another."""
    contexts = InterceptionContexts(issuer, 10)
    now = datetime.now(UTC).replace(microsecond=0)
    one, other = (Validity(now - timedelta(days=1), now + timedelta(days=days)) for days in (1, 2))
    first, again, second = (contexts.context_for(HOST, bounds) for bounds in (one, one, other))
    assert issuer.bounds == [one, other]
    for pending, bounds in zip(issuer.pending, issuer.bounds, strict=True):
        pending.callback(leaf_for(bed, NAME, within=bounds))
    assert result_of(first) is result_of(again) is not result_of(second)


def test_an_older_leaf_serves_only_within_the_origins_certificate(bed: Any, issuer: SlowIssuer, leaf_for: Any) -> None:
    """While the issuer fails, too."""
    leaf = leaf_for(bed, NAME)
    contexts = InterceptionContexts(issuer, 10, seconds=lambda: leaf.renew_at.timestamp() + 1)
    contexts.context_for(HOST)
    issuer.pending[0].callback(leaf)
    narrow = Validity(leaf.validity.begins, leaf.validity.ends - timedelta(seconds=1))
    for bounds, serves in ((leaf.validity, True), (narrow, False)):
        waiting = contexts.context_for(HOST, bounds)
        issuer.pending[-1].errback(RuntimeError("away"))
        if serves:
            assert isinstance(result_of(waiting), SSL.Context)
        else:
            failure_of(waiting, RuntimeError)


def test_contexts_are_bounded(bed: Any, leaf_for: Any) -> None:
    """The least recently used goes first."""

    @implementer(ICertificateIssuer)
    class Issuer:
        def issue(self, host: Host, within: Validity | None = None) -> Deferred[Any]:
            return succeed(leaf_for(bed, host.text))

    contexts = InterceptionContexts(Issuer(), 2)
    a, b, c = (host_from_text(f"{letter}.example") for letter in "abc")
    for host in (a, b):
        result_of(contexts.context_for(host))
    contexts.context_for(a)
    result_of(contexts.context_for(c))
    assert len(contexts) == 2
    assert [isinstance(contexts.context_for(host), SSL.Context) for host in (a, c, b)] == [True, True, False]


def test_everything_can_be_forgotten(bed: Any, issuer: SlowIssuer, leaf_for: Any) -> None:
    """After a change of the authority."""
    contexts = InterceptionContexts(issuer, 2)
    contexts.context_for(HOST)
    issuer.pending[0].callback(leaf_for(bed, NAME))
    contexts.forget_all()
    assert len(contexts) == 0 and isinstance(contexts.context_for(HOST), Deferred)


def test_a_leaf_of_the_former_authority_is_not_kept(bed: Any, issuer: SlowIssuer, leaf_for: Any) -> None:
    """It was on its way when the authority changed: who waited has it, and the next asks anew."""
    contexts = InterceptionContexts(issuer, 2)
    waiting = contexts.context_for(HOST)
    contexts.forget_all()
    issuer.pending[0].callback(leaf_for(bed, NAME))
    assert isinstance(result_of(waiting), SSL.Context)
    assert len(contexts) == 0 and isinstance(contexts.context_for(HOST), Deferred)


def test_no_room_is_a_mistake(issuer: SlowIssuer) -> None:
    """A capacity below one is refused."""
    with pytest.raises(ValueError):
        InterceptionContexts(issuer, 0)
