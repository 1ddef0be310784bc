"""How a denial or a failure is told: its bytes and styles, and what guard, DNS, dialling and certificates end in."""

from __future__ import annotations

import json
import re
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from netfw.testing.dns_server import DnsServer
from netfw.testing.origins import HttpOrigin
from netfw.testing.pki import TestAuthority
from netfw.testing.proxy_process import ProxyProcess, domain_rule, policy
from netfw.testing.scripted_origin import ScriptedOrigin
from netfw.testing.wire_client import ConnectRefused, RoutedClient, WireClient, WireResponse

DATE = rb"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT"
# The preview's bytes, in its field order; only the date changes.
VENDOR_403 = (
    rb"HTTP/1\.1 403 Forbidden\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n"
    rb"Date: " + DATE + rb"\r\nContent-Length: 10\r\n\r\nForbidden\n"
)


def token_of(response: WireResponse) -> str:
    """The error token of Proxy-Status."""
    match = re.search(r"error=([a-z_]+)", response.single("Proxy-Status") or "")
    assert match, response.head
    return match[1]


def closed_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture
def ca(certificates: Any) -> Path:
    """The interception CA's certificate."""
    path: Path = certificates.intercept[0]
    return path


# -- the text -----------------------------------------------------------------------------------------------------


def test_denial_as_text(passing: ProxyProcess) -> None:
    """Reason phrase, Proxy-Status, X-Netfw-Id and body name the same rule and id; the record has that id."""
    since = len(passing.records())
    with RoutedClient(passing.port(), "absolute", "denied.test", 80) as client:
        response = client.fetch("/")
    record = passing.wait_for_record(lambda r: r["final_action"] == "deny", since=since)
    name = record["id"]
    assert re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{5}-[0-9A-HJKMNP-TV-Z]{5}", name)
    assert response.single("X-Netfw-Id") == name
    assert response.reason == f"Blocked by netfw base/no-denied [{name}]"
    assert token_of(response) == "http_request_denied"
    assert f'details="PreDNS base/no-denied id={name}"' in (response.single("Proxy-Status") or "")
    assert response.single("Content-Type") == "text/plain; charset=utf-8"
    for word in (name, "base/no-denied", "PreDNS", "denied.test"):
        assert word.encode() in response.body


@pytest.mark.parametrize(
    "accept", ["application/json", "application/problem+json", "text/html, application/json;q=0.9"]
)
def test_denial_as_problem_json(accept: str, passing: ProxyProcess) -> None:
    """A client that accepts JSON gets RFC 9457's form."""
    with RoutedClient(passing.port(), "absolute", "denied.test", 80) as client:
        response = client.fetch("/", f"Accept: {accept}")
    assert response.single("Content-Type") == "application/problem+json"
    problem = json.loads(response.body)
    assert problem["status"] == 403
    assert problem["id"] == response.single("X-Netfw-Id")
    assert problem["rule"] == "base/no-denied"
    assert problem["phase"] == "PreDNS"
    assert problem["host"] == "denied.test"
    assert problem["retry"] is False


def test_denial_of_head_has_no_body(passing: ProxyProcess) -> None:
    """HEAD gets the fields only, and the connection goes on."""
    with RoutedClient(passing.port(), "absolute", "denied.test", 80) as client:
        assert client.fetch("/", method="HEAD").status == 403
        assert client.fetch("/").status == 403


def test_denial_reflects_nothing(passing: ProxyProcess) -> None:
    """No path, query or field of the request comes back."""
    with RoutedClient(passing.port(), "absolute", "denied.test", 80) as client:
        response = client.fetch("/zebra-4711?giraffe-4712", "X-Mine: okapi-4713", "User-Agent: gnu-4714")
    for animal in (b"zebra", b"giraffe", b"okapi", b"gnu-"):
        assert animal not in response.head + response.body


# -- styles -------------------------------------------------------------------------------------------------------

DENY_ONE = policy(groups={"base": {"PreDNS": [domain_rule("no-denied", "DENY", "denied.test")]}})


def test_style_auto_answers_inside_the_tunnel(intercepting: ProxyProcess, ca: Path) -> None:
    """200 to the CONNECT, then 403 behind a certificate of our CA."""
    with RoutedClient(intercepting.port(), "tls", "denied.test", 443, trust=ca) as client:
        response = client.fetch("/")
        assert response.status == 403
        assert "base/no-denied" in response.reason


def test_style_auto_refuses_the_connect_of_a_bypassed_host(make_proxy: Any, certificates: Any) -> None:
    """A host that is not intercepted cannot be told inside the tunnel: the CONNECT gets the 403."""
    ca = {"certificate": str(certificates.intercept[0]), "private_key": str(certificates.intercept[1])}
    proxy = make_proxy(DENY_ONE, tls_intercept={"mode": "ENABLED", "ca": ca, "bypass": ["denied.test"]})
    with WireClient(proxy.port()) as client:
        assert client.connect("denied.test:443").status == 403


@pytest.mark.parametrize("intercept", [False, True])
def test_style_aws_gives_the_previews_bytes(intercept: bool, make_proxy: Any) -> None:
    """Exactly the header set and body that the preview answers with, on CONNECT and on absolute-form."""
    proxy = make_proxy(DENY_ONE, intercept=intercept, deny={"style": "aws"})
    with WireClient(proxy.port()) as client:
        response = client.connect("denied.test:443")
        assert re.fullmatch(VENDOR_403, response.head + response.body), response.head
    with RoutedClient(proxy.port(), "absolute", "denied.test", 80) as client:
        response = client.fetch("/")
        assert re.fullmatch(VENDOR_403, response.head + response.body), response.head


def test_established_is_bare(passing: ProxyProcess, origin: HttpOrigin) -> None:
    """The 200 to a CONNECT has no fields."""
    with WireClient(passing.port()) as client:
        assert client.connect(f"origin.test:{origin.port}").head == b"HTTP/1.1 200 Connection Established\r\n\r\n"


# -- the names of a tunnel ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("server_name", ["other.test", None])
def test_passed_through_tunnel_with_another_server_name(
    server_name: str | None, passing: ProxyProcess, certificates: Any
) -> None:
    """A ClientHello that names another host, or none, ends the tunnel before a byte of it reaches the origin."""
    since = len(passing.records())
    with ScriptedOrigin(tls=certificates.origin) as origin:
        with WireClient(passing.port()) as client:
            assert client.connect(f"origin.test:{origin.port}").status == 200
            with pytest.raises(OSError):
                client.start_tls(certificates.origin_ca, server_name)
        record = passing.wait_for_record(lambda r: r.get("dest_port") == origin.port, since=since)
        assert record["final_action"] == "deny"
        assert record["error"]["token"] == "http_request_denied"
        assert origin.received == b""


def test_intercepted_tunnel_with_another_server_name(intercepting: ProxyProcess, certificates: Any, ca: Path) -> None:
    """Interception refuses it just so."""
    with ScriptedOrigin(tls=certificates.origin) as origin, WireClient(intercepting.port()) as client:
        assert client.connect(f"origin.test:{origin.port}").status == 200
        with pytest.raises(OSError):
            client.start_tls(ca, "other.test")
        assert origin.received == b""


@pytest.mark.parametrize("way", ["tunnel", "tls"])
@pytest.mark.parametrize("host", ["other.test:{port}", "origin.test:{other}", "denied.test"])
def test_inner_request_for_another_host(
    way: str, host: str, intercepting: ProxyProcess, origin: HttpOrigin, tls_origin: HttpOrigin, ca: Path
) -> None:
    """A Host field inside the tunnel that is not the CONNECT's authority gets 421; nothing is forwarded."""
    server = tls_origin if way == "tls" else origin
    seen = len(server.requests)
    with RoutedClient(intercepting.port(), way, "origin.test", server.port, trust=ca) as client:
        response = client.ask("GET", "/echo", host.format(port=server.port, other=server.port + 1))
        assert response.status == 421
    assert len(server.requests) == seen


@pytest.mark.parametrize("way", ["tunnel", "tls"])
def test_absolute_form_inside_a_tunnel(
    way: str, intercepting: ProxyProcess, origin: HttpOrigin, tls_origin: HttpOrigin, ca: Path
) -> None:
    """It gets 400: inside a tunnel only origin-form names the resource."""
    server = tls_origin if way == "tls" else origin
    seen = len(server.requests)
    with RoutedClient(intercepting.port(), way, "origin.test", server.port, trust=ca) as client:
        response = client.ask("GET", f"http://other.test:{server.port}/echo", f"other.test:{server.port}")
        assert response.status in (400, 421)
    assert len(server.requests) == seen


# -- the guard ----------------------------------------------------------------------------------------------------


@pytest.fixture
def guarded(make_proxy: Any) -> ProxyProcess:
    """A proxy whose guard opens nothing."""
    proxy: ProxyProcess = make_proxy(policy(), guard={"allow": []}, timeouts={"drain": "1s", "connect": "1s"})
    return proxy


def test_addresses_that_the_guard_keeps_closed(guarded: ProxyProcess) -> None:
    """Loopback, private, link-local and metadata addresses, as names and as literals in every disguise, are refused
    without a dial, and the answer names the setting that would open them."""
    hosts = [
        "origin.test", "both.test", "mapped.test", "private.test", "metadata.test", "127.0.0.1", "127.1.2.3",
        "10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "[::1]", "[::]",
        "[::ffff:127.0.0.1]", "[::ffff:10.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fe80::1]",
        "[fd00:ec2::254]", "224.0.0.1", "255.255.255.255",
    ]  # fmt: skip
    with ScriptedOrigin() as origin:
        for host in hosts:
            with RoutedClient(guarded.port(), "absolute", host, origin.port) as client:
                response = client.fetch("/")
            assert (response.status, token_of(response)) == (403, "destination_ip_prohibited"), host
            assert b"guard." in response.body, host
            with WireClient(guarded.port()) as client:
                response = client.connect(f"{host}:{origin.port}")
            assert (response.status, token_of(response)) == (403, "destination_ip_prohibited"), host
        assert origin.connections == []
    records = guarded.wait_for_records(lambda r: r["final_action"] == "deny", 2 * len(hosts))
    assert all(record["final_rule_name"] == "" for record in records)


@pytest.mark.parametrize(
    "host", ["0x7f.1", "2130706433", "0177.0.0.1", "127.1", "[::1%25lo]", "127.0.0.1.", "[127.0.0.1]"]
)
def test_other_spellings_of_addresses(host: str, guarded: ProxyProcess) -> None:
    """Legacy spellings of IPv4 and zones are malformed, or the guard's: never dialled."""
    with ScriptedOrigin() as origin, RoutedClient(guarded.port(), "absolute", host, origin.port) as client:
        assert client.fetch("/").status in (400, 403)
        assert origin.connections == []


def test_a_rebinding_name_is_not_dialled_elsewhere(make_proxy: Any, dns: DnsServer) -> None:
    """The addresses that were judged are the ones dialled: one answer of DNS serves judging and dialling."""
    dns.answers.zone["rebind.test"] = {"ttl": 0, "sequence": [["10.1.2.3"], ["127.0.0.1"]], "minimum": 0}
    proxy = make_proxy(policy())
    with ScriptedOrigin() as origin, RoutedClient(proxy.port(), "absolute", "rebind.test", origin.port) as client:
        assert client.fetch("/").status == 403
        assert origin.connections == []


def test_the_proxy_itself_is_no_destination(passing: ProxyProcess) -> None:
    """Its own listener stays closed although the guard opens loopback."""
    with WireClient(passing.port()) as client:
        response = client.connect(f"127.0.0.1:{passing.port()}")
        assert (response.status, token_of(response)) == (403, "destination_ip_prohibited")
    with WireClient(passing.port()) as client:
        assert client.connect(f"origin.test:{passing.port('tls')}").status == 403


def test_a_request_that_was_here_before(passing: ProxyProcess, origin: HttpOrigin) -> None:
    """Via names the proxy's own pseudonym: 508."""
    with RoutedClient(passing.port(), "absolute", "origin.test", origin.port) as client:
        via = json.loads(client.fetch("/echo").body)["fields"]
        own = dict(via)["Via"]
        assert client.fetch("/echo", f"Via: {own}").status == 508


# -- failures -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hasty(proxy_maker: Any) -> Any:
    """Intercepts, and waits for nothing long."""
    timeouts = {"drain": "1s", "resolve": "1s", "connect": "1s", "handshake": "3s", "response": "2s"}
    with proxy_maker("hasty", policy(), intercept=True, timeouts=timeouts, dns={"timeout": "0.3s"}) as proxy:
        yield proxy


@pytest.mark.parametrize("way", ["absolute", "tls"])
@pytest.mark.parametrize(
    ("host", "status", "token"),
    [("missing.test", 502, "dns_error"), ("broken.test", 502, "dns_error"), ("silent.test", 504, "dns_timeout")],
)
def test_dns_failures(way: str, host: str, status: int, token: str, hasty: ProxyProcess) -> None:
    """They are 502 or 504 before any 200, with the token in answer and record."""
    since = len(hasty.records())
    if way == "tls":
        with pytest.raises(ConnectRefused) as refused:
            RoutedClient(hasty.port(), way, host, 443)
        response = refused.value.response
    else:
        with RoutedClient(hasty.port(), way, host, 80) as client:
            response = client.fetch("/")
    assert (response.status, token_of(response)) == (status, token)
    record = hasty.wait_for_record(lambda r: r.get("dest_domain") == f"{host}.", since=since)
    assert record["error"]["token"] == token
    assert record["final_action"] == "allow"


@pytest.mark.parametrize("way", ["absolute", "tls"])
def test_a_refused_connection(way: str, hasty: ProxyProcess) -> None:
    """502 connection_refused, on the CONNECT too: there is no 200 without a connection."""
    port = closed_port()
    if way == "tls":
        with pytest.raises(ConnectRefused) as refused:
            RoutedClient(hasty.port(), way, "origin.test", port)
        response = refused.value.response
    else:
        with RoutedClient(hasty.port(), way, "origin.test", port) as client:
            response = client.fetch("/")
    assert (response.status, token_of(response)) == (502, "connection_refused")


@pytest.mark.parametrize(
    ("host", "how", "word"),
    [
        ("expired.test", {"expired": True}, "expired"),
        ("misnamed.test", {"names": ["somebody-else.test"]}, "misnamed.test"),
        ("untrusted.test", {"authority": "other"}, "issuer"),
    ],
)
def test_a_bad_origin_certificate(
    host: str, how: dict[str, Any], word: str, hasty: ProxyProcess, certificates: Any, ca: Path
) -> None:
    """502 inside the tunnel with the reason; the origin gets no byte of the request, and the client no page of it."""
    authority = TestAuthority(common_name="Nobody's CA") if "authority" in how else certificates.origins
    files = certificates.issue(authority, f"bad-{host}", *how.get("names", [host]), expired=how.get("expired", False))
    since = len(hasty.records())
    with (
        ScriptedOrigin(tls=files) as origin,
        RoutedClient(hasty.port(), "tls", host, origin.port, trust=ca) as client,
    ):
        response = client.fetch("/secret-path")
        assert (response.status, token_of(response)) == (502, "tls_certificate_error")
        assert word in response.body.decode().lower() or word in (response.single("Proxy-Status") or ""), response.body
        assert b"secret-path" not in origin.received
    record = hasty.wait_for_record(lambda r: r["id"] == response.single("X-Netfw-Id"), since=since)
    assert record["error"]["token"] == "tls_certificate_error"


def test_an_origin_that_does_not_speak_tls(hasty: ProxyProcess, origin: HttpOrigin, ca: Path) -> None:
    """An intercepted tunnel to a plain port is 502 inside."""
    with RoutedClient(hasty.port(), "tls", "origin.test", origin.port, trust=ca) as client:
        response = client.fetch("/")
        assert response.status == 502
        assert token_of(response) == "tls_protocol_error"


@pytest.mark.parametrize(
    ("answer", "status", "token"),
    [
        (b"", 502, "connection_terminated"),
        (b"HTTP/1.1 200 OK\r\nContent-", 502, "connection_terminated"),
        (b"SSH-2.0-server\r\n\r\n", 502, "http_protocol_error"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 502, "http_protocol_error"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            502,
            "http_protocol_error",
        ),
        (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", 502, "http_protocol_error"),
        (b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n", 502, "http_protocol_error"),
        (None, 504, "http_response_timeout"),
    ],
)
def test_an_origin_that_breaks_the_rules(answer: bytes | None, status: int, token: str, hasty: ProxyProcess) -> None:
    """Whatever cannot be read with certainty is 502 and none of it is passed on; silence is 504."""

    def script(connection: Any) -> None:
        connection.read_head()
        if answer is None:
            connection.read_to_end()
        else:
            connection.send(answer)
        connection.close()

    with ScriptedOrigin(script) as origin, RoutedClient(hasty.port(), "absolute", "origin.test", origin.port) as client:
        response = client.fetch("/", method="POST", body=b"once")
        assert (response.status, token_of(response)) == (status, token)
        assert len(origin.connections) == 1


def test_a_client_that_does_not_trust_the_ca(
    intercepting: ProxyProcess, tls_origin: HttpOrigin, certificates: Any
) -> None:
    """Its alert ends the tunnel; the record says that the client refused our certificate."""
    since = len(intercepting.records())
    with pytest.raises(ssl.SSLCertVerificationError):
        RoutedClient(intercepting.port(), "tls", "origin.test", tls_origin.port, trust=certificates.origin_ca)
    record = intercepting.wait_for_record(lambda r: r.get("dest_domain") == "origin.test.", since=since)
    assert record["error"]["token"] in ("tls_protocol_error", "tls_alert_received")
