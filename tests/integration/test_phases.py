"""The three phases, seen from outside: what reaches resolver, origin and client, and what the record says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from netfw.testing.dns_server import DnsServer
from netfw.testing.origins import HttpOrigin
from netfw.testing.proxy_process import ProxyProcess, condition, domain_rule, policy, rule
from netfw.testing.scripted_origin import OriginConnection, ScriptedOrigin
from netfw.testing.wire_client import ConnectRefused, RoutedClient, WireClient

WAYS = ("absolute", "tunnel", "tls")
MARK = b"origin-bytes-7261"


def entry(rule_id: str, hook: str, action: str) -> dict[str, str]:
    """One entry of a record's all_matches."""
    return {"rule_id": rule_id, "hook": hook, "action": action}


def answer_marked(
    fields: bytes = b"Content-Type: text/plain\r\n", before: bytes = b""
) -> Callable[[OriginConnection], None]:
    """A script that answers every request with bytes that a test can look for."""

    def script(connection: OriginConnection) -> None:
        while connection.read_head():
            connection.send(before + b"HTTP/1.1 200 OK\r\n" + fields + b"X-Mark: %s\r\n" % MARK)
            connection.send(b"Content-Length: %d\r\n\r\n%s" % (len(MARK), MARK))

    return script


@pytest.fixture
def scripted(certificates: Any) -> Callable[..., ScriptedOrigin]:
    """`scripted(way, script)`: a scripted origin that speaks TLS where the way asks for it."""

    def make(way: str, script: Any = None) -> ScriptedOrigin:
        tls = certificates.origin if way == "tls" else None
        return ScriptedOrigin(script, tls=tls) if script else ScriptedOrigin(tls=tls)

    return make


@pytest.fixture
def ca(certificates: Any) -> Path:
    """The interception CA's certificate."""
    path: Path = certificates.intercept[0]
    return path


# -- PreDNS -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_pre_dns_denial_asks_and_dials_nothing(
    way: str, intercepting: ProxyProcess, dns: DnsServer, scripted: Any, ca: Path
) -> None:
    """A name that PreDNS denies is neither looked up nor connected to; the answer is 403, inside a tunnel too."""
    since = len(intercepting.records())
    asked_before = dns.asked("denied.test")
    with (
        scripted(way) as origin,
        RoutedClient(intercepting.port(), way, "denied.test", origin.port, trust=ca) as client,
    ):
        response = client.fetch("/")
        assert response.status == 403
        record = intercepting.wait_for_record(lambda r: r.get("dest_domain") == "denied.test.", since=since)
        assert origin.connections == []
    assert dns.asked("denied.test") == asked_before
    assert record["id"] == response.single("X-Netfw-Id")
    assert record["final_action"] == "deny"
    assert record["all_matches"]["matches"] == [entry("base/no-denied", "pre_dns", "deny")]
    assert "dest_ip" not in record
    assert record["http_status_code"] == 403


def test_pre_dns_denial_of_a_passed_through_connect(passing: ProxyProcess, dns: DnsServer) -> None:
    """Without interception the CONNECT itself gets the 403, and the connection is closed."""
    asked_before = dns.asked("denied.test")
    with ScriptedOrigin() as origin, WireClient(passing.port()) as client:
        response = client.connect(f"denied.test:{origin.port}")
        assert response.status == 403
        assert client.ends() == "end"
        assert origin.connections == []
    assert dns.asked("denied.test") == asked_before


@pytest.mark.parametrize("spelling", ["DENIED.test", "denied.test.", "Denied.Test."])
def test_one_host_has_one_spelling(spelling: str, passing: ProxyProcess, origin: HttpOrigin) -> None:
    """Case and a final dot do not get a name past its rule."""
    before = origin.connections
    with RoutedClient(passing.port(), "absolute", spelling, origin.port) as client:
        assert client.fetch("/echo").status == 403
    assert origin.connections == before


# -- PreREQUEST ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_pre_request_denial_sends_the_origin_nothing(
    way: str, intercepting: ProxyProcess, scripted: Any, ca: Path
) -> None:
    """The origin may see a connection, never a byte of the request."""
    since = len(intercepting.records())
    with scripted(way) as origin:
        with RoutedClient(intercepting.port(), way, "origin.test", origin.port, trust=ca) as client:
            response = client.fetch("/forbidden/place?x=1", method="POST", body=b"payload")
            assert response.status == 403
            assert "base/no-forbidden" in response.reason
        record = intercepting.wait_for_record(lambda r: r["id"] == response.single("X-Netfw-Id"), since=since)
        assert origin.received == b""
    assert record["final_rule_name"] == "no-forbidden"
    assert record["url"]["path"] == "/forbidden/place"
    assert record["all_matches"]["matches"][-1] == entry("base/no-forbidden", "pre_request", "deny")


@pytest.mark.parametrize("way", WAYS)
def test_connection_goes_on_after_a_denial(
    way: str, intercepting: ProxyProcess, origin: HttpOrigin, tls_origin: HttpOrigin, ca: Path
) -> None:
    """A denied request leaves a connection that the next one may use."""
    server = tls_origin if way == "tls" else origin
    with RoutedClient(intercepting.port(), way, "origin.test", server.port, trust=ca) as client:
        assert client.fetch("/echo/forbidden").status == 403
        assert client.fetch("/echo/fine").status == 200
        assert client.fetch("/echo", method="DELETE").status == 403
        assert client.fetch("/echo/finer").status == 200
    assert server.seen("/echo/forbidden") == []


@pytest.mark.parametrize("way", WAYS)
def test_default_deny_with_one_allowed_method(
    way: str, make_proxy: Any, origin: HttpOrigin, tls_origin: HttpOrigin, ca: Path
) -> None:
    """Default PreREQUEST DENY with one rule ALLOW GET lets a GET through and stops a POST on the same connection."""
    only_get = rule("only-get", "ALLOW", condition("request:Http:Method", "StringEquals", "GET"))
    proxy = make_proxy(policy(pre_request="DENY", groups={"reading": {"PreREQUEST": [only_get]}}), intercept=True)
    server = tls_origin if way == "tls" else origin
    with RoutedClient(proxy.port(), way, "origin.test", server.port, trust=ca) as client:
        assert client.fetch(f"/echo/{way}").status == 200
        refused = client.fetch(f"/echo/{way}-post", method="POST", body=b"x")
        assert refused.status == 403
        assert "default" in refused.reason
    assert server.seen(f"/echo/{way}-post") == []
    record = proxy.wait_for_record(lambda r: r.get("http_method") == "POST")
    assert (record["final_rule_name"], record["final_rule_group_name"]) == ("default", "")
    record = proxy.wait_for_record(lambda r: r.get("http_method") == "GET")
    assert entry("reading/only-get", "pre_request", "allow") in record["all_matches"]["matches"]


def test_http_rules_do_not_open_a_passed_through_tunnel(make_proxy: Any, tls_origin: HttpOrigin) -> None:
    """What an opaque tunnel will carry is never seen, so a rule that allows by method does not match it."""
    only_get = rule("only-get", "ALLOW", condition("request:Http:Method", "StringEquals", "GET"))
    proxy = make_proxy(policy(pre_request="DENY", groups={"reading": {"PreREQUEST": [only_get]}}))
    before = tls_origin.connections
    with WireClient(proxy.port()) as client:
        response = client.connect(f"origin.test:{tls_origin.port}")
        assert response.status == 403
        assert "default" in response.reason
    assert tls_origin.connections == before


def test_a_denied_address_is_not_dialled(make_proxy: Any, ca: Path) -> None:
    """A PreREQUEST denial by address is certain at the CONNECT: nothing is dialled."""
    by_address = rule("no-loopback", "DENY", condition("request:DestinationIp", "IpAddress", "127.0.0.1/32"))
    proxy = make_proxy(policy(groups={"net": {"PreREQUEST": [by_address]}}), intercept=True)
    with ScriptedOrigin() as origin:
        for way in WAYS:
            with RoutedClient(proxy.port(), way, "origin.test", origin.port, trust=ca) as client:
                response = client.fetch("/")
                assert response.status == 403
                assert "net/no-loopback" in response.reason
        assert origin.connections == []


def test_only_allowed_addresses_are_dialled(make_proxy: Any, dns: DnsServer) -> None:
    """Of a name's addresses those that PreREQUEST denies are left out; the record names the one dialled."""
    dns.answers.zone["two.test"] = {"A": ["127.0.0.1", "127.0.0.2"]}
    by_address = rule("no-first", "DENY", condition("request:DestinationIp", "IpAddress", "127.0.0.1"))
    proxy = make_proxy(policy(groups={"net": {"PreREQUEST": [by_address]}}))
    with (
        HttpOrigin(address="127.0.0.2") as second,
        RoutedClient(proxy.port(), "absolute", "two.test", second.port) as client,
    ):
        assert client.fetch("/echo").status == 200
        record = proxy.wait_for_record(lambda r: r.get("dest_domain") == "two.test.")
        assert record["dest_ip"] == "127.0.0.2"


def test_a_rule_on_the_server_name_is_taken_at_the_client_hello(make_proxy: Any, certificates: Any) -> None:
    """PreREQUEST on request:Sni waits for the ClientHello and then ends the tunnel before a byte goes to the origin."""
    by_name = rule("no-sni", "DENY", condition("request:Sni", "StringEquals", "origin.test"))
    proxy = make_proxy(policy(groups={"net": {"PreREQUEST": [by_name]}}))
    with ScriptedOrigin() as origin:
        with WireClient(proxy.port()) as client:
            assert client.connect(f"origin.test:{origin.port}").status == 200
            with pytest.raises(OSError, match="(?i)access.denied|reset|EOF"):
                client.start_tls(certificates.origin_ca, "origin.test")
        record = proxy.wait_for_record(lambda r: r["final_action"] == "deny")
        assert record["final_rule_name"] == "no-sni"
        assert record["tls"]["sni"] == "origin.test"
        assert origin.received == b""


@pytest.mark.parametrize("opaque", ["connect", "after_200"])
def test_when_an_opaque_tunnel_is_denied(opaque: str, make_proxy: Any, certificates: Any) -> None:
    """`deny.opaque` says whether a PreREQUEST denial shows on the CONNECT or as a tunnel that closes."""
    only_get = rule("only-get", "ALLOW", condition("request:Http:Method", "StringEquals", "GET"))
    rules = policy(pre_request="DENY", groups={"reading": {"PreREQUEST": [only_get]}})
    proxy = make_proxy(rules, deny={"opaque": opaque})
    with ScriptedOrigin() as origin, WireClient(proxy.port()) as client:
        response = client.connect(f"origin.test:{origin.port}")
        if opaque == "connect":
            assert response.status == 403
        else:
            assert response.status == 200
            with pytest.raises(OSError):
                client.start_tls(certificates.origin_ca, "origin.test")
        assert proxy.wait_for_record(lambda r: r["final_action"] == "deny")["final_rule_name"] == "default"
        assert origin.received == b""


@pytest.mark.parametrize(("opaque", "status"), [("connect", 403), ("after_200", 200)])
def test_when_an_opaque_tunnel_is_denied_by_address(
    opaque: str, status: int, make_proxy: Any, certificates: Any
) -> None:
    """A denial that is certain before the dial shows as `deny.opaque` says, and nothing is dialled for it."""
    by_address = rule("no-loopback", "DENY", condition("request:DestinationIp", "IpAddress", "127.0.0.1/32"))
    proxy = make_proxy(policy(groups={"net": {"PreREQUEST": [by_address]}}), deny={"opaque": opaque})
    with ScriptedOrigin() as origin, WireClient(proxy.port()) as client:
        assert client.connect(f"origin.test:{origin.port}").status == status
        if status == 200:
            with pytest.raises(OSError):
                client.start_tls(certificates.origin_ca, "origin.test")
        record = proxy.wait_for_record(lambda r: r["final_action"] == "deny")
        assert record["final_rule_name"] == "no-loopback"
        assert origin.connections == []


# -- PostRESPONSE -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_post_response_denial_gives_the_client_nothing(
    way: str, intercepting: ProxyProcess, scripted: Any, ca: Path
) -> None:
    """Not one byte of the origin's answer comes through, and the origin's connection is not used again."""
    since = len(intercepting.records())
    with scripted(way, answer_marked(b"Content-Type: text/x-secret; charset=utf-8\r\n")) as origin:
        with RoutedClient(intercepting.port(), way, "origin.test", origin.port, trust=ca) as client:
            response = client.fetch("/some")
            assert response.status == 403
            assert "base/no-secrets" in response.reason
            assert MARK not in response.head + response.body
            assert "PostRESPONSE" in (response.single("Proxy-Status") or "")
        origin.wait_for_connection().done.wait(10)
        assert origin.connections[0].received.count(b"GET ") == 1
        record = intercepting.wait_for_record(lambda r: r["id"] == response.single("X-Netfw-Id"), since=since)
    assert record["final_rule_name"] == "no-secrets"
    assert record["origin_status"] == 200
    assert record["http_status_code"] == 403


@pytest.mark.parametrize("way", ["absolute", "tls"])
def test_no_interim_field_passes_before_post_response(
    way: str, intercepting: ProxyProcess, scripted: Any, ca: Path
) -> None:
    """A 103 with fields is not handed over while a PostRESPONSE rule may still deny."""
    hints = b"HTTP/1.1 103 Early Hints\r\nX-Hint: %s\r\n\r\n" % MARK
    with (
        scripted(way, answer_marked(b"Content-Type: text/x-secret\r\n", before=hints)) as origin,
        RoutedClient(intercepting.port(), way, "origin.test", origin.port, trust=ca) as client,
    ):
        response = client.fetch("/some")
        assert response.status == 403
        heads = b"".join(interim.head for interim in response.interim)
        assert MARK not in heads + response.head + response.body


# -- alerts and defaults ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_alerts_are_recorded_and_let_pass(
    way: str, intercepting: ProxyProcess, origin: HttpOrigin, tls_origin: HttpOrigin, ca: Path
) -> None:
    """Each phase's alert is in the record beside the terminal matches; the first is named apart."""
    server = tls_origin if way == "tls" else origin
    since = len(intercepting.records())
    with RoutedClient(intercepting.port(), way, "alerted.test", server.port, trust=None) as client:
        assert client.fetch("/echo/watched/418").status == 200
        assert client.fetch("/status/418").status == 418
    first, second = intercepting.wait_for_records(lambda r: r.get("dest_domain") == "alerted.test.", 2, since=since)
    assert first["final_action"] == second["final_action"] == "allow"
    assert first["first_alert_match"] == "watch"
    assert first["all_matches"]["matches"] == [
        entry("base/watch", "pre_dns", "alert"),
        entry("default", "pre_dns", "allow"),
        entry("base/watch-path", "pre_request", "alert"),
        entry("default", "pre_request", "allow"),
        entry("default", "post_response", "allow"),
    ]
    assert second["all_matches"]["matches"][-2:] == [
        entry("base/watch-418", "post_response", "alert"),
        entry("default", "post_response", "allow"),
    ]


@pytest.mark.parametrize("phase", ["pre_dns", "pre_request", "post_response"])
def test_the_default_action_is_the_rule_default(phase: str, make_proxy: Any, origin: HttpOrigin) -> None:
    """A denial by default says so in answer and record."""
    proxy = make_proxy(policy(**{phase: "DENY"}))
    with RoutedClient(proxy.port(), "absolute", "origin.test", origin.port) as client:
        response = client.fetch("/echo")
    assert response.status == 403
    assert response.reason == f"Blocked by netfw default [{response.single('X-Netfw-Id')}]"
    record = proxy.wait_for_record(lambda r: True)
    assert (record["final_rule_name"], record["final_rule_group_name"]) == ("default", "")
    assert record["all_matches"]["matches"][-1] == entry("default", phase, "deny")


def test_the_default_action_alert_allows_and_records(make_proxy: Any, origin: HttpOrigin) -> None:
    """Default ALERT lets the phase pass with an alert by the rule default."""
    proxy = make_proxy(policy(pre_dns="ALERT"))
    with RoutedClient(proxy.port(), "absolute", "origin.test", origin.port) as client:
        assert client.fetch("/echo").status == 200
    record = proxy.wait_for_record(lambda r: True)
    assert record["first_alert_match"] == "default"
    assert entry("default", "pre_dns", "alert") in record["all_matches"]["matches"]


def test_an_opaque_tunnel_has_one_record_at_its_end(
    passing: ProxyProcess, tls_origin: HttpOrigin, certificates: Any
) -> None:
    """It tells the bytes of both directions, and no method."""
    since = len(passing.records())
    with RoutedClient(passing.port(), "tls", "origin.test", tls_origin.port, trust=certificates.origin_ca) as client:
        assert len(client.fetch("/bytes/100000").body) == 100000
    record = passing.wait_for_record(lambda r: r["kind"] == "tunnel", since=since)
    assert record["final_action"] == "allow"
    assert record["tls"] == {**record["tls"], "intercepted": False, "sni": "origin.test"}
    assert record["bytes_out"] > 100000
    assert record["bytes_in"] > 100


# -- the policy changes -------------------------------------------------------------------------------------------


def test_a_new_policy_counts_for_new_requests(make_proxy: Any, origin: HttpOrigin) -> None:
    """SIGHUP takes the new file for the next request, also on a connection that is open; a bad file changes nothing."""
    proxy = make_proxy(policy())
    with RoutedClient(proxy.port(), "absolute", "origin.test", origin.port) as client:
        assert client.fetch("/echo").status == 200
        proxy.write_policy(policy(groups={"new": {"PreDNS": [domain_rule("closed", "DENY", "origin.test")]}}))
        generation = proxy.status()["generation"]
        proxy.reload()
        proxy.wait_until(lambda: proxy.status()["generation"] > generation)
        refused = client.fetch("/echo")
        assert refused.status == 403
        assert "new/closed" in refused.reason
        proxy.policy_path.write_text("ProxyConfiguration: {nonsense: true}\n")
        status, _ = proxy.admin("/reload", "POST")
        assert status >= 400
        assert client.fetch("/echo").status == 403


def test_connect_refused_is_raised_where_the_style_is_connect(make_proxy: Any) -> None:
    """`deny.style: connect` refuses the CONNECT also where TLS would be intercepted."""
    rules = policy(groups={"base": {"PreDNS": [domain_rule("no", "DENY", "denied.test")]}})
    proxy = make_proxy(rules, intercept=True, deny={"style": "connect"})
    with pytest.raises(ConnectRefused) as refused:
        RoutedClient(proxy.port(), "tls", "denied.test", 443)
    assert refused.value.response.status == 403
    assert "base/no" in refused.value.response.reason
