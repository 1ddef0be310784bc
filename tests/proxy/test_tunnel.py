"""What a CONNECT hands down to the requests inside it."""

from __future__ import annotations

from netfw.testing.conversation import Conversation
from netfw.testing.proxy_process import condition, policy, rule

CONNECT = b"CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n"
SENT = b"GET / HTTP/1.1\r\nHost: origin.test\r\nVia: 1.1 netfw\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def intercepted(play: Conversation):
    client = play.client()
    client.says(CONNECT)
    client.hears_head()
    client.starts_tls()
    origin = play.origin()
    origin.serves_tls()
    client.is_shaken()
    return client, origin


def hooks(record) -> list[str]:
    return [match["hook"] for match in record["all_matches"]["matches"]]


def test_nothing_is_looked_up_twice():
    """Inner requests inherit PreDNS, the resolution and the judged addresses."""
    with Conversation(hosts={"origin.test": ("10.0.0.1", "203.0.113.1", "203.0.113.2")}) as play:
        client = play.client()
        client.says(CONNECT.replace(b"443", b"80"))
        client.hears_head()
        for _ in range(2):
            client.says(GET)
            origin = play.origin()
            origin.hears(SENT)
            origin.says(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            client.hears_answer()
        assert play.resolver.asked == ["origin.test"]
        assert [addresses for addresses, _ in play.dialled] == [("203.0.113.1", "203.0.113.2")] * 2
        first, second = play.records
        assert hooks(first) == hooks(second) == ["pre_dns", "pre_request", "post_response"]
        assert first["dns"] == second["dns"]


def test_the_first_connection_is_used_only_where_its_address_is_allowed():
    """An inner request that may not go there gets another one."""
    rules = policy(groups={"g": {"PreREQUEST": [
        rule("no", "DENY",
             condition("request:DestinationIp", "IpAddress", "203.0.113.1/32"),
             condition("request:Http:Uri", "StringEquals", "/other"))
    ]}})  # fmt: skip
    with Conversation(rules, hosts={"origin.test": ("203.0.113.1", "203.0.113.2")}, intercept=True) as play:
        client, origin = intercepted(play)
        client.says(GET.replace(b" / ", b" /other "))
        second = play.origin()
        second.serves_tls()
        assert second.hears_head().startswith(b"GET /other ")
        assert play.dialled[1] == (("203.0.113.2",), 443)
        assert origin.unheard == b""


def test_the_connects_facts_are_in_inner_records():
    """The server name, TLS versions, the parent, the client."""
    with Conversation(intercept=True) as play:
        client, origin = intercepted(play)
        client.says(GET)
        origin.hears(SENT)
        origin.says(OK)
        client.hears_answer()
        tls = play.record(of=1)["tls"]
        assert tls["sni"] == "origin.test"
        assert tls["client_version"].startswith("TLSv1.")
        assert tls["origin_version"].startswith("TLSv1.")
        assert tls["client_alpn"] == "http/1.1"


def test_rules_know_that_tls_was_opened():
    """And which server name was shown."""
    rules = policy(
        pre_request="DENY",
        groups={"g": {"PreREQUEST": [rule("get", "ALLOW", condition("request:Http:Method", "StringEquals", "GET"))]}},
    )
    with Conversation(rules, intercept=True) as play:
        client, origin = intercepted(play)
        client.says(GET)
        origin.hears(SENT)
        origin.says(OK)
        client.hears_answer()
        assert play.record(of=1)["final_rule_name"] == "default"
        assert [match["rule_id"] for match in play.records[0]["all_matches"]["matches"]][1] == "g/get"


def test_the_first_connection_ends_before_it_is_used():
    """The first inner request dials again."""
    with Conversation(intercept=True) as play:
        client, origin = intercepted(play)
        origin.leaves()
        play.settle()
        client.says(GET)
        second = play.origin()
        second.serves_tls()
        second.hears(SENT)
        second.says(OK)
        client.hears_answer()
        assert len(play.dialled) == 2
