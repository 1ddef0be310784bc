"""Names that disagree: what configuration has become of them, and what reaches whom."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from netfw.config.model import (
    ConsistencyException,
    ConsistencySection,
    DenyStyle,
    DestinationEntry,
    NameCheck,
    NameVerdict,
)
from netfw.names.host import host_from_text
from netfw.policy.model import Action
from netfw.proxy.consistency import Consistency
from netfw.testing.conversation import Conversation
from netfw.testing.proxy_process import domain_rule, policy

ALLOW, DENY, EVALUATE = NameVerdict.ALLOW, NameVerdict.DENY, NameVerdict.EVALUATE
SNI, HOST, MISSING = NameCheck.CONNECT_SNI, NameCheck.SNI_HOST, NameCheck.MISSING_SNI
CLIENT = ip_address("10.1.2.3")

CONNECT = b"CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n\r\n"
ESTABLISHED = b"HTTP/1.1 200 Connection Established\r\n\r\n"
ACCESS_DENIED = b"\x15\x03\x03\x00\x02\x02\x31"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
ONLY_ORIGIN = policy(pre_dns="DENY", groups={"g": {"PreDNS": [domain_rule("origin", "ALLOW", "origin.test")]}})
NOT_OTHER = policy(groups={"g": {"PreREQUEST": [domain_rule("not-other", "DENY", "other.test")]}})


# -- verdicts


@dataclass
class Caller:
    address: Any = CLIENT


@dataclass
class Subject:
    """What the checks write to."""

    caller: Caller = field(default_factory=Caller)
    decisions: list[Any] = field(default_factory=list)
    names: dict[str, Any] | None = None


def excepted(host: str, source: str | None = None, **verdicts: NameVerdict) -> ConsistencyException:
    return ConsistencyException(
        host, ip_network(source) if source else None, {NameCheck(name): verdict for name, verdict in verdicts.items()}
    )


def test_without_a_word_everything_is_denied():
    """No default opens anything."""
    made = Consistency(ConsistencySection(), {})
    assert [made.verdict(check, host_from_text("a.test"), CLIENT) for check in NameCheck] == [DENY, DENY, DENY]


def test_exceptions():
    """The first that fits host, client and check counts; the others' checks stay as they are."""
    made = Consistency(
        ConsistencySection(
            sni_host=EVALUATE,
            exceptions=(
                excepted("*.cdn.test", "192.168.0.0/16", sni_host=ALLOW),
                excepted("*.cdn.test", sni_host=DENY),
                excepted(".cdn.test", connect_sni=ALLOW, sni_host=ALLOW),
                excepted("v6.test", "fd00::/8", missing_sni=ALLOW),
            ),
        ),
        {},
    )
    a, cdn, v6 = (host_from_text(name) for name in ("a.cdn.test", "cdn.test", "v6.test"))
    assert made.verdict(HOST, a, ip_address("192.168.1.1")) is ALLOW
    assert made.verdict(HOST, a, CLIENT) is DENY
    assert made.verdict(SNI, a, CLIENT) is ALLOW
    assert made.verdict(HOST, cdn, CLIENT) is ALLOW
    assert made.verdict(MISSING, cdn, CLIENT) is DENY
    assert made.verdict(HOST, v6, CLIENT) is EVALUATE
    assert made.verdict(MISSING, v6, CLIENT) is DENY
    assert made.verdict(MISSING, v6, ip_address("fd00::1")) is ALLOW


@pytest.mark.parametrize("verdict", NameVerdict)
def test_what_is_put_down(verdict):
    """An alert with the names, the decision, and a count."""
    counts: dict[tuple[str, ...], int] = {}
    subject: Any = Subject()
    made = Consistency(ConsistencySection(connect_sni=verdict), counts)
    assert made.judge(subject, SNI, connect=host_from_text("a.test"), sni="b.test") is verdict
    assert subject.names == {
        "check": "connect_sni", "verdict": verdict.value, "connect": "a.test", "sni": "b.test", "host": None,
    }  # fmt: skip
    (decision,) = subject.decisions
    assert decision.action is (Action.DENY if verdict is DENY else Action.ALLOW)
    assert [match.action for match in decision.matches] == [Action.ALERT, decision.action]
    assert str(decision.rule) == "consistency/connect_sni"
    assert counts == {("connect_sni", verdict.value): 1}


# -- in the data path


def client_hello(server_name: str | None) -> bytes:
    """The first flight of a real client."""
    context = ssl.create_default_context()
    context.check_hostname = server_name is not None
    out = ssl.MemoryBIO()
    connection = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=server_name)
    with pytest.raises(ssl.SSLWantReadError):
        connection.do_handshake()
    return out.read()


def opened(play: Conversation):
    client = play.client()
    client.says(CONNECT)
    client.hears(ESTABLISHED)
    return client


def request(host: str) -> bytes:
    return f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


def names(record: dict[str, Any]) -> list[Any]:
    return [record["names"][name] for name in ("check", "verdict", "connect", "sni", "host", "certificate")]


def first_alert(record: dict[str, Any]) -> tuple[str, str]:
    return record["first_alert_match"], record["final_action"]


def test_another_sni_denied_in_any_tunnel():
    """The alert shows what is known of the four names; nothing goes anywhere."""
    for intercept in (False, True):
        with Conversation(intercept=intercept) as play:
            client = opened(play)
            client.says(client_hello("other.test"))
            client.hears(ACCESS_DENIED)
            client.hears_end()
            record = play.record(of=1)
            assert names(record) == ["connect_sni", "deny", "origin.test", "other.test", None, None]
            assert first_alert(record) == ("connect_sni", "deny")
            assert (record["final_rule_group_name"], record["final_rule_name"]) == ("consistency", "connect_sni")
            assert play.resolver.asked == ["origin.test"]
            assert play.dialer.accepted[0].unheard == b""


def test_another_host_denied():
    """With the certificate that the origin has shown by then; nothing of the request reaches it."""
    with Conversation(intercept=True) as play:
        client = opened(play)
        client.starts_tls()
        origin = play.origin()
        origin.serves_tls()
        client.is_shaken()
        client.says(request("other.test"))
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 421 ")
        record = play.record(of=1)
        assert names(record) == ["sni_host", "deny", "origin.test", "origin.test", "other.test", "origin.test"]
        assert first_alert(record) == ("sni_host", "deny")
        assert origin.unheard == b""


def test_another_sni_evaluated_in_an_opaque_tunnel():
    """The other name is resolved and judged, and its own address dialled; the CONNECT's connection is not used."""
    with Conversation(consistency={"connect_sni": EVALUATE}) as play:
        client = opened(play)
        first = play.origin()
        hello = client_hello("other.test")
        client.says(hello)
        origin = play.origin()
        origin.hears(hello)
        first.hears_reset()
        assert play.dialled == [(("203.0.113.1",), 443), (("203.0.113.2",), 443)]
        assert play.resolver.asked == ["origin.test", "other.test"]
        origin.says(b"and back")
        client.hears(b"and back")
        client.leaves()
        origin.leaves()
        record = play.record(of=1)
        assert (record["kind"], record["dest_domain"], record["dest_ip"]) == ("tunnel", "other.test.", "203.0.113.2")
        assert names(record) == ["connect_sni", "evaluate", "origin.test", "other.test", None, None]
        assert first_alert(record) == ("connect_sni", "allow")
        assert [match["hook"] for match in record["all_matches"]["matches"]] == [
            "pre_dns", "pre_request", "pre_request", "pre_dns", "pre_request",
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("rules", "asked"), [(ONLY_ORIGIN, ["origin.test"]), (NOT_OTHER, ["origin.test", "other.test"])]
)
def test_another_sni_evaluated_and_denied(rules, asked):
    """PreDNS and PreREQUEST hold for the other name; after a PreDNS denial it is not even resolved."""
    with Conversation(rules, consistency={"connect_sni": EVALUATE}) as play:
        client = opened(play)
        first = play.origin()
        client.says(client_hello("other.test"))
        client.hears(ACCESS_DENIED)
        client.hears_end()
        first.hears_reset()
        assert play.resolver.asked == asked
        assert len(play.dialled) == 1
        record = play.record(of=1)
        assert (record["final_action"], record["dest_domain"]) == ("deny", "other.test.")


def test_another_sni_evaluated_towards_a_closed_address():
    """The guard holds for the other name."""
    hosts = {"origin.test": ("203.0.113.1",), "other.test": ("169.254.169.254",)}
    with Conversation(hosts=hosts, consistency={"connect_sni": EVALUATE}) as play:
        client = opened(play)
        play.origin()
        client.says(client_hello("other.test"))
        client.hears_end()
        assert len(play.dialled) == 1
        assert play.record(of=1)["error"]["token"] == "destination_ip_prohibited"


def test_another_sni_evaluated_and_intercepted():
    """The leaf, the origin's certificate, Host and rules are all the other name's."""
    with Conversation(intercept=True, consistency={"connect_sni": EVALUATE}) as play:
        client = opened(play)
        first = play.origin()
        client.starts_tls(server_name="other.test")
        origin = play.origin()
        origin.serves_tls("other.test")
        client.is_shaken()
        first.hears_reset()
        assert first.unheard == b""
        assert ("DNS", "other.test") in client.certificate()["subjectAltName"]
        client.says(request("other.test"))
        assert b"Host: other.test\r\n" in origin.hears_head()
        origin.says(OK)
        client.hears_answer()
        client.says(request("origin.test"))
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 421 ")
        record = play.record(0)
        assert (record["dest_domain"], record["dest_ip"]) == ("other.test.", "203.0.113.2")
        assert names(record) == ["connect_sni", "evaluate", "origin.test", "other.test", "other.test", "other.test"]


def test_another_sni_evaluated_denied_and_shown_inside():
    """A denial of the other name is said where it can be read: inside, with a leaf for it."""
    with Conversation(ONLY_ORIGIN, intercept=True, consistency={"connect_sni": EVALUATE}) as play:
        client = opened(play)
        first = play.origin()
        client.starts_tls(server_name="other.test")
        client.is_shaken()
        first.hears_reset()
        client.says(request("other.test"))
        head, _ = client.hears_answer()
        assert head.startswith(b"HTTP/1.1 403 ")
        assert play.resolver.asked == ["origin.test"]
        assert play.record(of=1)["final_action"] == "deny"


@pytest.mark.parametrize(("bypassed", "opaque"), [("origin.test", False), ("other.test", True)])
def test_the_other_name_says_whether_it_is_intercepted(bypassed, opaque):
    """By a bypassed CONNECT nobody gets an intercepted name passed through, nor the other way round."""
    bypass = {"tls_intercept": {"bypass": (DestinationEntry(bypassed, None),)}}
    with Conversation(intercept=True, consistency={"connect_sni": EVALUATE}, **bypass) as play:
        client = opened(play)
        first = play.origin()
        client.starts_tls(server_name="other.test")
        origin = play.origin()
        first.hears_reset()
        origin.serves_tls("other.test")
        client.is_shaken()
        issuers = [value for part in client.certificate()["issuer"] for name, value in part if name == "commonName"]
        assert issuers == (["Origins' CA"] if opaque else ["Interception CA"])
        if not opaque:
            client.says(request("other.test"))
            origin.hears_head()


def intercepted(play: Conversation, server_name: str | None = "origin.test", origin_name: str = "origin.test"):
    client = opened(play)
    client.starts_tls(server_name=server_name)
    origin = play.origin()
    origin.serves_tls(origin_name)
    client.is_shaken()
    return client, origin


def test_another_host_evaluated():
    """It is resolved, judged and sent over a connection of its own, proved for it; the next is the tunnel's again."""
    with Conversation(intercept=True, consistency={"sni_host": EVALUATE}) as play:
        client, first = intercepted(play)
        client.says(request("other.test"))
        second = play.origin()
        second.serves_tls("other.test")
        assert b"Host: other.test\r\n" in second.hears_head()
        assert play.dialled == [(("203.0.113.1",), 443), (("203.0.113.2",), 443)]
        assert first.unheard == b""
        second.says(OK)
        assert client.hears_answer()[1] == b"hi"
        client.says(request("origin.test"))
        assert b"Host: origin.test\r\n" in first.hears_head()
        first.says(OK)
        client.hears_answer()
        one, two = play.record(0), play.record(of=2)
        assert (one["dest_domain"], one["dest_ip"], one["url"]["authority"]) == (
            "other.test.", "203.0.113.2", "other.test",
        )  # fmt: skip
        assert names(one) == ["sni_host", "evaluate", "origin.test", "origin.test", "other.test", "other.test"]
        assert first_alert(one) == ("sni_host", "allow")
        assert (two["dest_domain"], two["dest_ip"]) == ("origin.test.", "203.0.113.1")
        assert "names" not in two


@pytest.mark.parametrize("rules", [ONLY_ORIGIN, NOT_OTHER])
def test_another_host_evaluated_and_denied(rules):
    """By PreDNS or PreREQUEST, which name it; nothing is dialled for it."""
    with Conversation(rules, intercept=True, consistency={"sni_host": EVALUATE}) as play:
        client, first = intercepted(play)
        client.says(request("other.test"))
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 403 ")
        assert len(play.dialled) == 1
        assert first.unheard == b""
        record = play.record(of=1)
        assert (record["final_action"], record["dest_domain"]) == ("deny", "other.test.")
        assert record["names"]["check"] == "sni_host"


def test_another_host_evaluated_must_prove_itself():
    """The other origin's certificate is checked for the other name."""
    with Conversation(intercept=True, consistency={"sni_host": EVALUATE}) as play:
        client, _ = intercepted(play)
        client.says(request("other.test"))
        second = play.origin()
        second.serves_tls("origin.test")
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 502 ")
        assert second.unheard == b""


def test_another_port_in_host_evaluated():
    """A port of its own is another authority; the guard's ports hold for it."""
    with Conversation(intercept=True, consistency={"sni_host": EVALUATE}) as play:
        client, _ = intercepted(play)
        client.says(request("origin.test:22"))
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 403 ")
        assert len(play.dialled) == 1


def test_another_host_evaluated_in_plain_http():
    """Inside CONNECT to port 80 as well."""
    with Conversation(consistency={"sni_host": EVALUATE}) as play:
        client = play.client()
        client.says(b"CONNECT origin.test:80 HTTP/1.1\r\nHost: origin.test:80\r\n\r\n")
        client.hears(ESTABLISHED)
        first = play.origin()
        client.says(request("other.test"))
        second = play.origin()
        assert b"Host: other.test\r\n" in second.hears_head()
        second.says(OK)
        client.hears_answer()
        assert first.unheard == b""
        assert names(play.record(of=1)) == ["sni_host", "evaluate", "origin.test", None, "other.test", None]


def test_another_host_allowed():
    """As fronting means it: the tunnel's connection carries the client's Host; rules judge the tunnel's name."""
    with Conversation(ONLY_ORIGIN, intercept=True, consistency={"sni_host": ALLOW}) as play:
        client, first = intercepted(play)
        client.says(request("other.test"))
        assert b"Host: other.test\r\n" in first.hears_head()
        first.says(OK)
        client.hears_answer()
        assert play.resolver.asked == ["origin.test"]
        record = play.record(of=1)
        assert record["dest_domain"] == "origin.test."
        assert names(record) == ["sni_host", "allow", "origin.test", "origin.test", "other.test", "origin.test"]
        assert first_alert(record) == ("sni_host", "allow")


def test_another_sni_allowed_in_an_opaque_tunnel():
    """The bytes go where the CONNECT was judged for."""
    with Conversation(ONLY_ORIGIN, consistency={"connect_sni": ALLOW}) as play:
        client = opened(play)
        hello = client_hello("other.test")
        client.says(hello)
        origin = play.origin()
        origin.hears(hello)
        client.leaves()
        origin.leaves()
        record = play.record(of=1)
        assert record["dest_domain"] == "origin.test."
        assert names(record) == ["connect_sni", "allow", "origin.test", "other.test", None, None]


def test_another_sni_allowed_and_intercepted():
    """The address judged for the CONNECT is asked for, and has to prove, the name that the client asks for."""
    with Conversation(ONLY_ORIGIN, intercept=True, consistency={"connect_sni": ALLOW}) as play:
        client, origin = intercepted(play, "other.test", "other.test")
        assert play.dialled == [(("203.0.113.1",), 443)]
        client.says(request("other.test"))
        assert b"Host: other.test\r\n" in origin.hears_head()
        origin.says(OK)
        client.hears_answer()
        client.says(request("origin.test"))
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 421 ")
        assert play.resolver.asked == ["origin.test"]
        assert names(play.record(0)) == ["connect_sni", "allow", "origin.test", *["other.test"] * 3]


def test_what_is_kept_open_stays_with_its_name():
    """A connection that proved another name than the CONNECT's is not taken for the CONNECT's, nor the reverse."""
    with Conversation(intercept=True, consistency={"connect_sni": ALLOW}) as play:
        client, other = intercepted(play, "other.test", "other.test")
        client.says(request("other.test"))
        other.hears_head()
        other.says(OK)
        client.hears_answer()
        client.leaves()
        honest, origin = intercepted(play)
        honest.says(request("origin.test"))
        assert b"Host: origin.test\r\n" in origin.hears_head()
        origin.says(OK)
        honest.hears_answer()
        honest.leaves()
        again = opened(play)
        again.starts_tls(server_name="other.test")
        again.is_shaken()
        again.says(request("other.test"))
        assert b"Host: other.test\r\n" in other.hears_head()
        assert len(play.dialled) == 2  # each of them was kept, under the name that it proved


BOTH = domain_rule("both", "ALLOW", "origin.test", "203.0.113.1")
BY_ADDRESS = policy(pre_dns="DENY", groups={"g": {"PreDNS": [BOTH]}})


@pytest.mark.parametrize(("rules", "passes"), [(BY_ADDRESS, True), (ONLY_ORIGIN, False)])
def test_no_sni_evaluated(rules, passes):
    """What no server name binds to the CONNECT's host is judged as what it is: a tunnel to an address."""
    with Conversation(rules, consistency={"missing_sni": EVALUATE}) as play:
        client = opened(play)
        first = play.origin()
        hello = client_hello(None)
        client.says(hello)
        if passes:
            origin = play.origin()
            origin.hears(hello)
            client.leaves()
            origin.leaves()
        else:
            client.hears(ACCESS_DENIED)
            client.hears_end()
        first.hears_reset()
        record = play.record(of=1)
        assert (record["final_action"], record["dest_domain"]) == ("allow" if passes else "deny", "203.0.113.1")
        assert names(record) == ["missing_sni", "evaluate", "origin.test", None, None, None]


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize(("rules", "passes"), [(BY_ADDRESS, True), (ONLY_ORIGIN, False)])
def test_no_sni_evaluated_and_intercepted(rules, passes, kept):
    """The same: rules see the address, for the tunnel and for each request; what it proves is the CONNECT's host."""
    with Conversation(rules, intercept=True, consistency={"missing_sni": EVALUATE}) as play:
        if kept:
            honest, origin = intercepted(play)
            honest.says(request("origin.test"))
            origin.hears_head()
            origin.says(OK)
            honest.hears_answer()
            honest.leaves()
        client = opened(play)
        client.starts_tls(server_name=None)
        first = None if kept else play.origin()
        if passes and not kept:
            origin = play.origin()
            origin.serves_tls()
        client.is_shaken()
        client.says(request("origin.test"))
        if passes:
            assert b"Host: origin.test\r\n" in origin.hears_head()
            origin.says(OK)
        answer = client.hears_answer()[0]
        assert answer.startswith(b"HTTP/1.1 200 " if passes else b"HTTP/1.1 403 ")
        if first is not None:
            first.hears_reset()
        record = play.record(int(kept), of=int(kept) + 1)
        assert record["dest_domain"] == ("origin.test." if passes else "203.0.113.1")
        assert names(record)[:4] == ["missing_sni", "evaluate", "origin.test", None]
        assert first_alert(record) == ("missing_sni", "allow" if passes else "deny")


@pytest.mark.parametrize("how", [{}, {"deny": {"style": DenyStyle.CONNECT}}])
def test_no_sni_refused_and_intercepted(how):
    """Said inside, in each request, where denials are; nothing is asked of the origin. Elsewhere an alert says it."""
    with Conversation(intercept=True, **how) as play:
        client = opened(play)
        client.starts_tls(server_name=None)
        first = play.origin()
        if how:
            play.until(lambda: client.alert, "an alert")
            shown = None
        else:
            client.is_shaken()
            client.says(request("origin.test"))
            head, page = client.hears_answer()
            assert head.startswith(b"HTTP/1.1 421 ")
            assert b"consistency.missing_sni" in page
            shown = "origin.test"
        first.hears_reset()
        record = play.record(of=1)
        assert (record["final_action"], record["dest_domain"]) == ("deny", "origin.test.")
        assert names(record) == ["missing_sni", "deny", "origin.test", None, shown, None]
        assert first_alert(record) == ("missing_sni", "deny")


def test_no_sni_allowed_and_intercepted():
    """The CONNECT's host is the tunnel's name: the leaf is for it, and the origin proves it."""
    with Conversation(ONLY_ORIGIN, intercept=True, consistency={"missing_sni": ALLOW}) as play:
        client, origin = intercepted(play, server_name=None)
        client.says(request("origin.test"))
        assert b"Host: origin.test\r\n" in origin.hears_head()
        origin.says(OK)
        client.hears_answer()
        client.says(request("other.test"))
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 421 ")
        assert names(play.record(0, of=2)) == ["missing_sni", "allow", "origin.test", None, *["origin.test"] * 2]


def test_no_sni_allowed():
    """The address judged for the CONNECT gets it."""
    with Conversation(consistency={"missing_sni": ALLOW}) as play:
        client = opened(play)
        hello = client_hello(None)
        client.says(hello)
        origin = play.origin()
        origin.hears(hello)
        client.leaves()
        origin.leaves()
        assert first_alert(play.record(of=1)) == ("missing_sni", "allow")


def test_a_certificate_for_another_host_shows_the_names():
    """No setting has it accepted."""
    everything = {"connect_sni": ALLOW, "sni_host": ALLOW, "missing_sni": ALLOW}
    with Conversation(intercept=True, consistency=everything) as play:
        client = opened(play)
        client.starts_tls()
        origin = play.origin()
        origin.serves_tls("evil.test")
        client.is_shaken()
        client.says(request("origin.test"))
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 502 ")
        assert origin.unheard == b""
        assert names(play.record(of=1)) == ["certificate", "deny", *["origin.test"] * 3, "evil.test"]


def test_the_client_leaves_while_the_other_name_is_resolved():
    """The lookup is withdrawn."""
    with Conversation(consistency={"connect_sni": EVALUATE}) as play:
        play.resolver.held.add("other.test")
        client = opened(play)
        play.origin()
        client.says(client_hello("other.test"))
        play.until(lambda: "other.test" in play.resolver.asked, "a lookup")
        client.resets()
        play.until(lambda: play.resolver.cancelled == ["other.test"], "its end")
        assert play.record(of=1)["close_reason"]
