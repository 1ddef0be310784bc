"""The record's members and their forms."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from netfw import errors
from netfw.policy.decision import Decision, Match, RuleRef
from netfw.policy.model import Action, Phase
from netfw.proxy.exchange import Exchange
from netfw.telemetry.exchange_record import RecordedExchange, build_record, record_line


def test_the_members_of_the_live_service(make: Any) -> None:
    """An exchange as the vendor's live record shows one has exactly its values under its names."""
    alert = RuleRef("group-1", "alert-500", Phase.POST_RESPONSE)
    exchange = make.allowed(source_vpc="vpc-0b502cd779409e20d", method=b"HEAD", status=500, origin_status=500)
    exchange.decisions[2] = make.decide(Phase.POST_RESPONSE, Action.ALLOW, alerts=(alert,))
    record = build_record(exchange)
    live = {
        "event_timestamp": 1768021005,
        "proxy_name": "test-proxy",
        "client_src_ip": "10.0.142.68",
        "final_action": "allow",
        "src_vpc": "vpc-0b502cd779409e20d",
        "dest_domain": "httpbin.org.",
        "http_method": "HEAD",
        "dest_ip": "192.0.2.7",
        "http_status_code": 500,
        "final_rule_name": "default",
        "final_rule_group_name": "",
    }
    assert live == {name: record[name] for name in live}
    assert record["first_alert_match"] == "alert-500"
    assert record["all_matches"] == {
        "matches": [
            {"rule_id": "default", "hook": "pre_dns", "action": "allow"},
            {"rule_id": "default", "hook": "pre_request", "action": "allow"},
            {"rule_id": "group-1/alert-500", "hook": "post_response", "action": "alert"},
            {"rule_id": "default", "hook": "post_response", "action": "allow"},
        ]
    }


def test_the_url_object(make: Any) -> None:
    """All five members, always; the port only where it is not the scheme's; secrets masked."""
    exchange = make.allowed(
        scheme="https",
        authority=make.authority(make.host("www.amazon.com"), 443),
        path=b"/xyz",
        query=b"crid=1&token=t",
    )
    assert build_record(exchange)["url"] == {
        "scheme": "https",
        "authority": "www.amazon.com",
        "path": "/xyz",
        "query": "crid=1&token=***",
        "fragment": "",
    }
    exchange.authority = make.authority(make.host("2001:db8::1", True), 8443)
    assert build_record(exchange)["url"]["authority"] == "[2001:db8::1]:8443"
    assert build_record(exchange)["dest_domain"] == "2001:db8::1"


def test_a_denial_before_dns_has_no_address_and_no_origin(make: Any) -> None:
    """What was not reached is not in the record; the port that was asked for is."""
    decision = make.decide(Phase.PRE_DNS, Action.DENY, rule=RuleRef("base", "no-ads", Phase.PRE_DNS))
    exchange = make.exchange(
        kind="connect",
        method=b"CONNECT",
        scheme=None,
        path=None,
        authority=make.authority(make.host("ads.example"), 443),
        decisions=[decision],
        resolution=None,
        dest_ip=None,
        dest_port=None,
        status=403,
        origin_status=None,
        error=errors.Denied("denied by base/no-ads", decision=decision),
    )
    record = build_record(exchange)
    assert (record["final_action"], record["final_rule_group_name"], record["final_rule_name"]) == (
        "deny",
        "base",
        "no-ads",
    )
    assert record["dest_port"] == 443
    assert record["error"] == {"token": "http_request_denied", "fault": "policy", "message": "denied by base/no-ads"}
    assert not {"dest_ip", "url", "dns", "tls", "origin_status", "first_alert_match"} & set(record)


def test_a_connection_without_a_request(make: Any) -> None:
    """Next to nothing known is still a record, and a denial."""
    exchange = make.exchange(
        kind="connection",
        scheme=None,
        authority=None,
        method=None,
        path=None,
        http_version=None,
        user_agent=None,
        resolution=None,
        dest_ip=None,
        dest_port=None,
        status=400,
        origin_status=None,
        generation=None,
        durations={},
        error=errors.MalformedRequest("the request line is malformed", detail="\x00\x1b[2J"),
        close_reason="malformed",
    )
    record = build_record(exchange)
    assert (record["final_action"], record["final_rule_name"], record["final_rule_group_name"]) == ("deny", "", "")
    assert record["error"]["detail"] == "\x00\x1b[2J"
    assert record["duration_ms"] == 125
    assert b"\x00" not in record_line(exchange)
    assert b"\x1b" not in record_line(exchange)


def test_tunnel_members(make: Any) -> None:
    """A passed-through tunnel tells its TLS names and versions, the DNS answer, and bytes on the wire."""
    exchange = make.allowed(
        kind="tunnel",
        path=None,
        scheme=None,
        sni="files.example",
        client_tls_version="TLSv1.3",
        origin_tls_version="TLSv1.2",
        origin_certificate={"sha256": "ab:cd"},
        resolution=make.resolution((ip_address("192.0.2.7"), ip_address("2001:db8::7")), ("cdn.example",), 30),
    )
    record = build_record(exchange)
    assert record["tls"] == {
        "intercepted": False,
        "sni": "files.example",
        "client_version": "TLSv1.3",
        "origin_version": "TLSv1.2",
        "origin_certificate": {"sha256": "ab:cd"},
    }
    assert record["dns"] == {
        "source": "dns",
        "resolver": "192.0.2.53",
        "ttl": 30,
        "chain": ["cdn.example"],
        "addresses": ["192.0.2.7", "2001:db8::7"],
    }
    assert (record["bytes_in"], record["bytes_out"]) == (120, 1300)


def test_a_default_alert_is_two_entries(make: Any) -> None:
    """A default action of ALERT is told as an alert and an allow of the rule `default`."""
    rule = RuleRef("", "default", Phase.PRE_DNS)
    decision = Decision(Phase.PRE_DNS, Action.ALLOW, rule, (Match(rule, Action.ALERT), Match(rule, Action.ALLOW)), None)
    record = build_record(make.exchange(decisions=[decision]))
    assert [entry["action"] for entry in record["all_matches"]["matches"]] == ["alert", "allow"]
    assert record["first_alert_match"] == "default"


def test_an_origin_status_that_the_client_did_not_see(make: Any) -> None:
    """A denied response keeps what the origin had said."""
    exchange = make.allowed(status=403, origin_status=200)
    assert build_record(exchange)["origin_status"] == 200


def test_the_proxys_exchange_offers_what_a_record_needs() -> None:
    """Every attribute of the protocol is one of the proxy's exchange."""
    needed = {*RecordedExchange.__annotations__, *(name for name in vars(RecordedExchange) if not name.startswith("_"))}
    assert needed <= {*dir(Exchange), *Exchange.__annotations__}


def test_a_literal_address_has_no_dns(make: Any) -> None:
    """No lookup, no member."""
    exchange = make.allowed(resolution=make.resolution((ip_address("192.0.2.7"),), source="literal"))
    assert "dns" not in build_record(exchange)
