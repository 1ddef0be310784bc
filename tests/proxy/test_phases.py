"""The phases as steps: addresses one by one, alerts once, and every uncertainty a denial."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from twisted.internet.defer import Deferred

from netfw import errors
from netfw.errors import Denied, DestinationProhibited, PolicyFailure
from netfw.names.authority import parse_authority
from netfw.policy.compile import compile_policy
from netfw.policy.facts import Facts
from netfw.policy.load import load_policy
from netfw.policy.model import Action, Phase
from netfw.proxy import phases
from netfw.proxy.exchange import Caller, Exchange
from netfw.testing.conversation import Conversation
from netfw.testing.deferreds import failure_of, result_of
from netfw.testing.proxy_process import condition, policy, rule
from netfw.testing.scripted import EPOCH

A, B, C = (ip_address(f"203.0.113.{number}") for number in (1, 2, 3))


def exchange(document, authority: bytes = b"origin.test:80") -> Exchange:
    caller = Caller(address=ip_address("127.0.0.1"), port=1, listener_name="main")
    compiled = compile_policy(load_policy(document, "test"), 1, EPOCH)
    made = Exchange(kind="exchange", caller=caller, policy=compiled, proxy_name="netfw", started=EPOCH)
    made.authority = parse_authority(authority)
    made.facts = Facts(
        source_ip=caller.address, source_port=1, time=EPOCH, protocol="http",
        destination_domain=made.authority.host.text, destination_port=made.authority.port,
    )  # fmt: skip
    made.facts.hide_http()
    return made


def ip_rule(name: str, action: str, *networks: str):
    return rule(name, action, condition("request:DestinationIp", "IpAddress", *networks))


def rules(*entries, default: str = "ALLOW"):
    return policy(pre_request=default, groups={"g": {"PreREQUEST": list(entries)}})


def test_pre_dns():
    """Allow goes on, deny raises; both are in the record."""
    allowed = exchange(policy())
    phases.pre_dns(allowed)
    denied = exchange(policy(pre_dns="DENY"))
    with pytest.raises(Denied) as caught:
        phases.pre_dns(denied)
    assert [decision.action for decision in (*allowed.decisions, *denied.decisions)] == [Action.ALLOW, Action.DENY]
    assert caught.value.decision is denied.decisions[0]


def test_addresses_are_judged_one_by_one():
    """Those denied are left out; the first allowed one's decision counts."""
    subject = exchange(rules(ip_rule("not-a", "DENY", "203.0.113.1/32"), ip_rule("b", "ALLOW", "203.0.113.2/32")))
    assert phases.pre_request(subject, (A, B, C)) == (B, C)
    assert [str(decision.rule) for decision in subject.decisions] == ["g/b"]
    assert subject.facts.destination_ip == B


def test_all_addresses_denied():
    """The first one's rule is told."""
    subject = exchange(rules(ip_rule("one", "DENY", "203.0.113.1/32"), ip_rule("rest", "DENY", "203.0.113.0/24")))
    with pytest.raises(Denied) as caught:
        phases.pre_request(subject, (A, B))
    assert caught.value.decision.rule.name == "one"
    assert len(subject.decisions) == 1


def test_an_allow_for_one_address_is_none_for_the_others():
    """Default DENY: only the address that a rule allows may be dialled."""
    subject = exchange(rules(ip_rule("b", "ALLOW", "203.0.113.2/32"), default="DENY"))
    assert phases.pre_request(subject, (A, B, C)) == (B,)


def test_rules_without_addresses_are_evaluated_once():
    """And all addresses share the outcome."""
    subject = exchange(policy())
    assert phases.pre_request(subject, (A, B, C)) == (A, B, C)


def test_alerts_once():
    """An alert of several addresses is in the record once, and one of an address that was not taken too."""
    subject = exchange(
        rules(
            ip_rule("all", "ALERT", "203.0.113.0/24"),
            ip_rule("c", "ALERT", "203.0.113.3/32"),
            ip_rule("no", "DENY", "203.0.113.1/32"),
        )
    )
    assert phases.pre_request(subject, (A, B, C)) == (B, C)
    names = [match.rule.name for match in subject.decisions[0].matches]
    assert sorted(names) == ["all", "c", "default"]
    assert names[-1] == "default"


def test_evaluation_that_breaks_is_a_denial():
    """PolicyFailure is 403, and the log has why."""
    with Conversation() as play:
        play.policies.spoil()
        client = play.client()
        client.says(b"GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 403 ")
        assert play.dialled == []
        assert play.record(of=1)["final_action"] == "deny"
        assert "IndexError" in play.errors.pop()
        assert play.errors == []


def test_open_at_the_end_is_a_denial():
    """A fact that should be known and is not never lets anything pass."""
    subject = exchange(rules(rule("m", "DENY", condition("request:Http:Method", "StringEquals", "POST"))))
    subject.facts.await_http()
    with pytest.raises(PolicyFailure, match="g/m"):
        phases.pre_request(subject, (A,))
    assert subject.decisions == []
    assert issubclass(PolicyFailure, errors.NetfwError)
    assert PolicyFailure.status == 403


def test_a_connects_addresses():
    """What may still be allowed stays; what is certain already is left out; nothing is taken."""
    method = condition("request:Http:Method", "StringEquals", "GET")
    subject = exchange(rules(ip_rule("no", "DENY", "203.0.113.1/32"), rule("get", "ALLOW", method), default="DENY"))
    subject.facts.await_http()
    assert phases.not_certainly_denied(subject, (A, B, C)) == (B, C)
    assert subject.decisions == []


def test_a_connect_that_is_certainly_denied():
    """It is taken, so that the record has it."""
    subject = exchange(rules(ip_rule("no", "DENY", "203.0.113.0/24")))
    subject.facts.await_http()
    with pytest.raises(Denied):
        phases.not_certainly_denied(subject, (A, B))
    assert len(subject.decisions) == 1


def test_resolving_a_literal():
    """Nobody is asked."""
    with Conversation() as play:
        subject = exchange(policy(), b"203.0.113.9:80")
        found = phases.resolve(subject, play.plane)
        assert found.addresses == (ip_address("203.0.113.9"),)
        assert subject.resolution is found
        assert play.resolver.asked == []


def test_resolving_a_name():
    """The resolution and the time it took are kept, in failure too."""
    with Conversation() as play:
        play.resolver.held |= {"origin.test", "missing.test"}
        subject = exchange(policy())
        found = phases.resolve(subject, play.plane)
        assert isinstance(found, Deferred)
        play.reactor.advance(0.5)
        play.resolver.answer("origin.test")
        assert result_of(found) is subject.resolution
        assert subject.durations["dns"] == 0.5
        missing = exchange(policy(), b"missing.test:80")
        found = phases.resolve(missing, play.plane)
        play.reactor.advance(0.25)
        play.resolver.answer("missing.test")
        failure_of(found, errors.NameNotFound)
        assert missing.durations["dns"] == 0.25


def test_judged_addresses():
    """The guard's, in their order; without one the reason is told."""
    with Conversation() as play:
        subject = exchange(policy())
        addresses = tuple(ip_address(text) for text in ("10.0.0.1", "203.0.113.2", "127.0.0.1", "203.0.113.1"))
        assert phases.judged_addresses(subject, play.plane, addresses) == (B, A)
        with pytest.raises(DestinationProhibited, match=r"origin\.test is out of bounds: 127\.0\.0\.1"):
            phases.judged_addresses(subject, play.plane, (ip_address("127.0.0.1"),))
        with pytest.raises(DestinationProhibited):
            phases.judged_addresses(subject, play.plane, ())


def test_post_response_default():
    """The last phase needs the response's facts; hidden HTTP is judged as such."""
    with pytest.raises(Denied) as caught:
        phases.post_response(exchange(policy(post_response="DENY")))
    assert caught.value.decision.phase is Phase.POST_RESPONSE
