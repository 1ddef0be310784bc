"""What an intermediary changes."""

import pytest

from netfw.http1.errors import FramingError
from netfw.http1.fields import Fields
from netfw.http1.forwarding import (
    forward_request,
    forward_response,
    max_forwards,
    outgoing_framing,
    via_contains,
)
from netfw.http1.framing import Framing
from netfw.http1.heads import RequestHead, ResponseHead
from netfw.http1.target import parse_target
from netfw.http1.traits import keeps_connection, wanted_upgrade
from netfw.names.authority import parse_authority

A = parse_authority(b"a.example:80")


def request(
    *lines, method=b"GET", target=b"http://a.example/x?y", version=(1, 1), authority=A, framing=Framing.NONE, **more
):
    """Forward a request of these field lines; return the head that leaves."""
    head = RequestHead(method, target, version, Fields(list(lines)))
    return forward_request(
        head, parse_target(method, target), authority=authority, via=more.pop("via", b""), framing=framing, **more
    )


def response(*lines, status=200, version=(1, 1), framing=Framing.EMPTY, client_version=(1, 1), via=b"", **more):
    """Forward a response of these field lines; return the field lines that leave."""
    head = ResponseHead(version, status, b"Reason", Fields(list(lines)))
    return forward_response(head, via=via, framing=framing, client_version=client_version, **more).fields.lines


HOST = (b"Host", b"a.example")
EMPTY = (b"Content-Length", b"0")


def test_start_line_and_host():
    """The origin gets origin-form, version 1.1 and Host from the authority, first, whatever the client's Host was."""
    head = request((b"Host", b"evil"), (b"A", b"b"), version=(1, 0))
    assert (head.method, head.target, head.version) == (b"GET", b"/x?y", (1, 1))
    assert head.fields.lines == [HOST, (b"A", b"b")]
    assert request(method=b"OPTIONS", target=b"http://a.example").target == b"*"


@pytest.mark.parametrize(
    ("target", "authority", "default_port", "host"),
    [
        (b"http://a/", b"a:80", None, b"a"),
        (b"http://a/", b"a:443", None, b"a:443"),
        (b"https://a/", b"a:443", None, b"a"),
        (b"/", b"a:443", 443, b"a"),
        (b"/", b"a:80", 443, b"a:80"),
        (b"/", b"a:80", None, b"a"),
        (b"/", b"[::1]:8080", None, b"[::1]:8080"),
    ],
)
def test_host_leaves_out_the_default_port(target, authority, default_port, host):
    """The default is the scheme's or the caller's."""
    head = request(target=target, authority=parse_authority(authority), default_port=default_port)
    assert head.fields.lines == [(b"Host", host)]


@pytest.mark.parametrize(
    "name",
    [
        b"Connection",
        b"Keep-Alive",
        b"Proxy-Connection",
        b"Proxy-Authenticate",
        b"Proxy-Authorization",
        b"TE",
        b"Upgrade",
        b"Transfer-Encoding",
        b"Content-Length",
        b"Proxy",
        b"HTTP2-Settings",
        b"Host",
        b"pRoXy-AuThOrIzAtIoN",
    ],
)
def test_hop_by_hop_fields_do_not_reach_the_origin(name):
    """They are dropped, repeated or not, in any case."""
    assert request((name, b"x"), (b"A", b"b"), (name, b"x")).fields.lines == [HOST, (b"A", b"b")]


@pytest.mark.parametrize(
    "name",
    [b"Connection", b"Keep-Alive", b"Proxy-Connection", b"Proxy-Authenticate", b"Upgrade", b"Transfer-Encoding"],
)
def test_hop_by_hop_fields_do_not_reach_the_client(name):
    """They are dropped, repeated or not."""
    assert response((name, b"x"), (b"A", b"b"), (name, b"x")) == [(b"A", b"b"), EMPTY]


def test_end_to_end_fields_pass_as_they_are():
    """Order, case and repeats are kept; Date, Trailer, Expect and Set-Cookie are nobody's here."""
    lines = [
        (b"dAtE", b"1"),
        (b"Trailer", b"x"),
        (b"Set-Cookie", b"a"),
        (b"Expect", b"100-continue"),
        (b"set-cookie", b"b"),
    ]
    assert request(*lines).fields.lines == [HOST, *lines]
    assert response(*lines) == [*lines, EMPTY]


def test_nominated_fields_are_dropped():
    """Connection names what is for this hop only, over all of its lines."""
    lines = [(b"Connection", b"X-a, close"), (b"connection", b" x-B"), (b"X-A", b"1"), (b"x-b", b"2"), (b"X-C", b"3")]
    assert request(*lines).fields.lines == [HOST, (b"X-C", b"3")]
    assert response(*lines) == [(b"X-C", b"3"), EMPTY]


@pytest.mark.parametrize(
    "name",
    [
        b"Host",
        b"Content-Length",
        b"Content-Type",
        b"Content-Encoding",
        b"Cache-Control",
        b"Authorization",
        b"Cookie",
        b"Set-Cookie",
        b"Via",
        b"X-Forwarded-For",
        b"Forwarded",
        b"Origin",
        b"Range",
        b"Expect",
        b"If-None-Match",
    ],
)
def test_end_to_end_fields_cannot_be_nominated_away(name):
    """A client must not strip what others rely on by nominating it."""
    lines = [(b"Connection", b"close, " + name), (name, b"7")]
    forwarded = request(*lines, framing=Framing.of_length(7)).fields
    assert forwarded.has(name.lower())
    assert forwarded.get_all(b"host") == [b"a.example"]
    assert forwarded.get_all(b"content-length") == [b"7"]


def test_repeated_nominations_are_harmless():
    """Nominating again and again, Connection itself included, only drops (CVE-2023-49606)."""
    lines = [(b"Connection", b"connection, x, x, connection, "), (b"Connection", b"x"), (b"X", b"1")]
    assert request(*lines).fields.lines == [HOST]


@pytest.mark.parametrize(
    ("framing", "line"),
    [
        (Framing.NONE, []),
        (Framing.EMPTY, [EMPTY]),
        (Framing.of_length(12), [(b"Content-Length", b"12")]),
        (Framing.CHUNKED, [(b"Transfer-Encoding", b"chunked")]),
    ],
)
def test_the_framing_field_is_ours(framing, line):
    """Whatever framing fields came, the one that leaves is printed from the framing."""
    came = [(b"content-length", b"99"), (b"transfer-encoding", b"x")]
    assert request(*came, framing=framing).fields.lines == [HOST, *line]
    if framing is not Framing.NONE:
        assert response(*came, framing=framing) == line


def test_via():
    """Our pseudonym is appended with the version that was received; without one nothing is."""
    assert request((b"Via", b"1.0 x"), via=b"netfw").fields.joined(b"via") == b"1.0 x, 1.1 netfw"
    assert request(via=b"netfw", version=(1, 0)).fields.lines == [HOST, (b"Via", b"1.0 netfw")]
    assert response(via=b"netfw", version=(1, 0)) == [(b"Via", b"1.0 netfw"), EMPTY]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"1.1 netfw", True),
        (b"1.1 NetFW", True),
        (b"1.0 a, HTTP/1.1 netfw (netfw 0.1)", True),
        (b"1.1 a,1.1 netfw", True),
        (b"1.1\tnetfw", True),
        (b"1.1 netfw2", False),
        (b"1.1 a (netfw)", False),
        (b"netfw", False),
        (b"netfw 1.1", False),
        (b"", False),
    ],
)
def test_loops_are_seen_in_via(value, found):
    """The received-by of any element counts, without case; comments and protocols do not."""
    assert via_contains(Fields([(b"Via", value)]), b"netfw") is found
    assert via_contains(Fields([(b"Via", b"1.1 b"), (b"via", value)]), b"netfw") is found


def test_loops_without_via():
    """No Via, no loop."""
    assert not via_contains(Fields.EMPTY, b"netfw")


@pytest.mark.parametrize("value", [b"trailers", b"gzip;q=0.5, Trailers ", b"trailers;q=1"])
def test_te_trailers_is_told_on(value):
    """A client that takes trailers is passed on as `TE: trailers`, nominated as it must be."""
    lines = request((b"TE", value), (b"Connection", b"TE")).fields.lines
    assert lines == [HOST, (b"TE", b"trailers"), (b"Connection", b"TE")]


def test_other_te_is_dropped():
    """No transfer coding but chunked is spoken."""
    assert request((b"TE", b"gzip"), (b"Connection", b"TE")).fields.lines == [HOST]


def test_connection_towards_the_origin():
    """Close, TE and Upgrade are one Connection field of ours."""
    assert request(close=True).fields.lines == [HOST, (b"Connection", b"close")]
    lines = request((b"TE", b"trailers"), (b"Upgrade", b"h2c"), close=True, upgrade=b"websocket").fields
    assert lines.get_all(b"connection") == [b"close, TE, Upgrade"]
    assert lines.get_all(b"upgrade") == [b"websocket"]


def test_connection_towards_the_client():
    """Close is said when we close, keep-alive to a 1.0 client that is kept, else nothing."""
    assert response(close=True) == [EMPTY, (b"Connection", b"close")]
    assert response() == [EMPTY]
    assert response(client_version=(1, 0)) == [EMPTY, (b"Connection", b"keep-alive")]
    assert response(client_version=(1, 0), close=True) == [EMPTY, (b"Connection", b"close")]
    assert response(framing=Framing.UNTIL_CLOSE) == [(b"Connection", b"close")]


def test_switching_protocols():
    """A 101 says what to; other interim responses have no Connection field."""
    upgrade = [(b"Upgrade", b"websocket"), (b"Connection", b"Upgrade")]
    assert response((b"Upgrade", b"x"), status=101, framing=Framing.NONE, upgrade=b"websocket") == upgrade
    assert response((b"Link", b"x"), status=103, framing=Framing.NONE, close=True) == [(b"Link", b"x")]


@pytest.mark.parametrize(
    ("framing", "to_1_0", "to_1_1"),
    [
        (Framing.NONE, Framing.NONE, Framing.NONE),
        (Framing.EMPTY, Framing.EMPTY, Framing.EMPTY),
        (Framing.of_length(3), Framing.of_length(3), Framing.of_length(3)),
        (Framing.CHUNKED, Framing.UNTIL_CLOSE, Framing.CHUNKED),
        (Framing.UNTIL_CLOSE, Framing.UNTIL_CLOSE, Framing.CHUNKED),
    ],
)
def test_outgoing_framing(framing, to_1_0, to_1_1):
    """A 1.0 client never gets chunks; a 1.1 client gets them instead of a close. Doing it twice changes nothing."""
    assert outgoing_framing(framing, (1, 0)) == outgoing_framing(to_1_0, (1, 0)) == to_1_0
    assert outgoing_framing(framing, (1, 1)) == outgoing_framing(to_1_1, (1, 1)) == to_1_1


def test_chunks_for_a_1_0_client_are_a_mistake():
    """A caller that forgot `outgoing_framing` hears of it."""
    with pytest.raises(ValueError, match="outgoing_framing"):
        response(framing=Framing.CHUNKED, client_version=(1, 0))


@pytest.mark.parametrize("status", [200, 304])
def test_the_length_of_what_is_not_sent_is_kept(status):
    """HEAD and 304 tell the length that GET would have brought."""
    length = (b"Content-Length", b"7")
    assert response(length, status=status, framing=Framing.NONE) == [length]
    assert response((b"Content-Length", b"+7"), status=status, framing=Framing.NONE) == []


@pytest.mark.parametrize("status", [100, 103, 204])
def test_no_length_where_there_cannot_be_one(status):
    """1xx and 204 carry no Content-Length (RFC 9110, section 8.6)."""
    assert response((b"Content-Length", b"0"), status=status, framing=Framing.NONE) == []


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [
        ((1, 1), None, True),
        ((1, 1), b"keep-alive", True),
        ((1, 1), b"Close", False),
        ((1, 1), b"x, close", False),
        ((1, 1), b"keep-alive, close", False),
        ((1, 1), b"closed", True),
        ((1, 0), None, False),
        ((1, 0), b"Keep-Alive", True),
        ((1, 0), b"x,keep-alive", True),
        ((1, 0), b"keep-alive, close", False),
        ((1, 0), b"x", False),
    ],
)
def test_persistence(version, connection, kept):
    """RFC 9112, section 9.3: close ends, 1.1 persists, 1.0 persists when asked."""
    fields = Fields([] if connection is None else [(b"Connection", connection)])
    assert keeps_connection(RequestHead(b"GET", b"/", version, fields)) is kept
    assert keeps_connection(ResponseHead(version, 200, b"", fields)) is kept


def test_proxy_connection_counts_for_nothing():
    """RFC 9112, appendix C.2.2: it is ignored."""
    fields = Fields([(b"Proxy-Connection", b"keep-alive")])
    assert not keeps_connection(RequestHead(b"GET", b"/", (1, 0), fields))


@pytest.mark.parametrize(
    ("version", "lines", "wanted"),
    [
        ((1, 1), [(b"Connection", b"Upgrade"), (b"Upgrade", b"WebSocket")], b"websocket"),
        ((1, 1), [(b"Connection", b"keep-alive, upgrade"), (b"Upgrade", b"a"), (b"Upgrade", b"b/1")], b"a, b/1"),
        ((1, 1), [(b"Upgrade", b"websocket")], None),
        ((1, 1), [(b"Connection", b"Upgrade")], None),
        ((1, 1), [(b"Connection", b"Upgrade"), (b"Upgrade", b" ,")], None),
        ((1, 0), [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")], None),
        ((1, 1), [], None),
    ],
)
def test_upgrades(version, lines, wanted):
    """An upgrade is wanted where Connection says so, in 1.1."""
    assert wanted_upgrade(RequestHead(b"GET", b"/", version, Fields(lines))) == wanted


def test_max_forwards():
    """TRACE and OPTIONS are counted down; at 0 they are not forwarded; other methods are not limited."""
    assert request((b"Max-Forwards", b"3"), method=b"TRACE").fields.lines == [HOST, (b"Max-Forwards", b"2")]
    assert request((b"Max-Forwards", b"3"), method=b"GET").fields.lines == [HOST, (b"Max-Forwards", b"3")]
    with pytest.raises(ValueError, match="Max-Forwards 0"):
        request((b"Max-Forwards", b"0"), method=b"OPTIONS")

    def limit(method, *values):
        return max_forwards(RequestHead(method, b"/", (1, 1), Fields([(b"Max-Forwards", value) for value in values])))

    assert limit(b"OPTIONS", b"0") == 0
    assert limit(b"TRACE", b"10") == 10
    assert limit(b"TRACE") is None
    assert limit(b"GET", b"nonsense") is None
    for values in ([b"-1"], [b"x"], [b""], [b"1" * 10], [b"1", b"1"], [b"\xb2"]):
        with pytest.raises(FramingError):
            limit(b"TRACE", *values)
