"""What the proxy says itself: golden texts of each style, and nothing that a peer chose."""

from __future__ import annotations

import json
from ipaddress import ip_address

import pytest

from netfw import errors
from netfw.config.model import DenyStyle
from netfw.http1.fields import Fields
from netfw.http1.heads import RequestHead
from netfw.names.authority import parse_authority
from netfw.policy.compile import compile_policy
from netfw.policy.decision import Decision, Match, RuleRef
from netfw.policy.load import load_policy
from netfw.policy.model import Action, Phase
from netfw.proxy.exchange import Caller, Exchange
from netfw.proxy.responses import Explainer
from netfw.testing.proxy_process import policy

NOW = 1_800_000_000.0
POLICY = compile_policy(load_policy(policy(), "test"), 1, NOW)


def exchange(*fields: tuple[bytes, bytes], method: bytes = b"GET") -> Exchange:
    caller = Caller(address=ip_address("127.0.0.1"), port=1, listener_name="main")
    made = Exchange(kind="exchange", caller=caller, policy=POLICY, proxy_name="netfw", started=NOW)
    made.id = "7F3KQ-92XAB"
    made.describe_request(RequestHead(method, b"http://example.com/", (1, 1), Fields(list(fields))))
    made.authority = parse_authority(b"example.com:80")
    return made


def explainer(style: DenyStyle = DenyStyle.AUTO, help_url: str | None = None) -> Explainer:
    return Explainer(style=style, help_url=help_url, pseudonym="netfw", now=lambda: NOW)


def denied(phase: Phase = Phase.PRE_REQUEST, reason: str | None = None, name: str = "no-uploads") -> errors.Denied:
    rule = RuleRef("office", name, phase)
    decision = Decision(phase, Action.DENY, rule, (Match(rule, Action.DENY),), reason)
    return errors.Denied(f"Blocked by {phase.value} rule {rule}", decision=decision)


DENIAL = b"""HTTP/1.1 403 Blocked by netfw office/no-uploads [7F3KQ-92XAB]\r
Content-Type: text/plain; charset=utf-8\r
X-Content-Type-Options: nosniff\r
Cache-Control: no-store\r
Proxy-Status: netfw; error=http_request_denied; details="PreREQUEST office/no-uploads id=7F3KQ-92XAB"\r
X-Netfw-Id: 7F3KQ-92XAB\r
Date: Fri, 15 Jan 2027 08:00:00 GMT\r
Content-Length: 303\r
Connection: close\r
\r
Blocked by policy.

host    example.com:80
phase   PreREQUEST
rule    office/no-uploads
why     Files stay inside.
error   http_request_denied
id      7F3KQ-92XAB

This was blocked on purpose: trying again does not help.
Whoever runs this proxy finds the reason by the id above.
https://help.test/?id=7F3KQ-92XAB
"""


def printed(error: errors.NetfwError, subject: Exchange | None = None, **how) -> bytes:
    return explainer(**how).print(subject or exchange(), error, close=False, with_body=True)


def test_a_denial():
    """The whole of it."""
    said = explainer(help_url="https://help.test/?id={id}").print(
        exchange(), denied(reason="Files stay inside."), close=True, with_body=True
    )
    head, _, body = said.partition(b"\r\n\r\n")
    assert said == DENIAL.replace(b"Content-Length: 303", b"Content-Length: %d" % len(body))


def test_a_denied_response():
    """RFC 9209 has no token for it; ours says which phase."""
    said = printed(denied(Phase.POST_RESPONSE))
    assert b"error=proxy_internal_response; netfw-denied=PostRESPONSE; details=" in said


def test_an_origins_failure():
    """The standard phrase with the token, and why."""
    said = printed(errors.OriginRefused("example.com refused the connection"))
    assert said.startswith(b"HTTP/1.1 502 Bad Gateway (connection_refused) [7F3KQ-92XAB]\r\n")
    assert b"Bad Gateway: example.com refused the connection.\n" in said
    assert b"on purpose" not in said


def test_the_guard():
    """It has no rule to name."""
    said = printed(errors.DestinationProhibited("example.com is out of bounds: 127.0.0.1 is a loopback address"))
    assert said.startswith(b"HTTP/1.1 403 Blocked by netfw guard [7F3KQ-92XAB]\r\n")
    assert b"why     example.com is out of bounds" in said


def test_overload():
    """Retry-After."""
    assert b"\r\nRetry-After: 5\r\n" in printed(errors.Overloaded("full"))


@pytest.mark.parametrize(
    "accept", [b"application/json", b"text/html, Application/Problem+JSON;q=0.9", b"application/json, */*"]
)
def test_problem_json(accept):
    """By Accept."""
    said = printed(denied(), exchange((b"Accept", accept)), help_url="https://help.test/{id}")
    head, _, body = said.partition(b"\r\n\r\n")
    assert b"\r\nContent-Type: application/problem+json\r\n" in head
    assert json.loads(body) == {
        "type": "about:blank", "title": "Blocked by policy", "status": 403, "error": "http_request_denied",
        "detail": "Blocked by PreREQUEST rule office/no-uploads", "id": "7F3KQ-92XAB", "retry": False,
        "host": "example.com", "port": 80, "phase": "PreREQUEST", "rule": "office/no-uploads",
        "help": "https://help.test/7F3KQ-92XAB",
    }  # fmt: skip


def test_problem_json_of_a_failure():
    """Trying again may help there."""
    said = printed(errors.DnsTimeout("no answer"), exchange((b"Accept", b"application/json")))
    problem = json.loads(said.partition(b"\r\n\r\n")[2])
    assert (problem["retry"], problem["status"], problem["title"]) == (True, 504, "Gateway Timeout")


def test_the_vendors_bytes():
    """`aws`: the preview's fields in the preview's order, whatever the error."""
    said = printed(denied(), style=DenyStyle.AWS)
    assert said == (
        b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n"
        b"Date: Fri, 15 Jan 2027 08:00:00 GMT\r\nContent-Length: 10\r\n\r\nForbidden\n"
    )
    assert printed(errors.DnsTimeout("x"), style=DenyStyle.AWS).endswith(b"Content-Length: 16\r\n\r\nGateway Timeout\n")


def test_head():
    """The length without the body."""
    said = explainer().print(exchange(method=b"HEAD"), denied(), close=False, with_body=False)
    assert said.endswith(b"\r\n\r\n")
    assert b"Content-Length: 0" not in said


@pytest.mark.parametrize("style", list(DenyStyle))
@pytest.mark.parametrize("accept", [b"*/*", b"application/json"])
def test_nothing_that_a_peer_chose(style, accept):
    """Neither fields nor path nor details of an error come back."""
    hostile = '<script>\r\nX-Evil: 1\x1b\u202e"'
    subject = exchange(
        (b"Accept", accept), (b"Cookie", b"<script>secret"), (b"User-Agent", b"<script>"), (b"Authorization", b"secret")
    )
    subject.path, subject.query, subject.sni = b"/<script>", b"secret", "<script>"
    for error in (
        denied(), errors.OriginProtocolError("the answer is not HTTP", detail=hostile),
        errors.OriginCertificateInvalid("the certificate is not for this host", detail=hostile),
        errors.MalformedRequest("the head is broken", detail=hostile),
    ):  # fmt: skip
        said = printed(error, subject, style=style)
        for bad in (b"<", b"\x1b", b"secret", b"X-Evil", b"\xe2\x80\xae"):
            assert bad not in said


@pytest.mark.parametrize("name", ['a"b', "a\\b", "\u00e4\u202e", "x" * 500])
def test_names_of_rules_are_quoted(name):
    """An operator's name may be anything; the head stays one."""
    said = printed(denied(name=name))
    head = said.partition(b"\r\n\r\n")[0]
    assert len(head.split(b"\r\n")) == 8
    assert head.isascii()
    assert len(head.split(b"\r\n")[0]) < 130
    details = head.partition(b'details="')[2].partition(b"\r\n")[0]
    assert details.endswith(b'"')
    inside = details[:-1].replace(b"\\\\", b"").replace(b'\\"', b"")
    assert b'"' not in inside
    assert b"\\" not in inside


def test_no_request_at_all():
    """An exchange of which nothing is known is answered too."""
    caller = Caller(address=ip_address("127.0.0.1"), port=1, listener_name="main")
    subject = Exchange(kind="connection", caller=caller, policy=POLICY, proxy_name="netfw", started=NOW)
    said = explainer().print(subject, errors.MalformedRequest("no request", status=431), close=True, with_body=True)
    assert said.startswith(b"HTTP/1.1 431 Request Header Fields Too Large (http_request_error) [")


def test_every_error_has_an_answer():
    """Whatever class: its own status, a token, an id."""
    made: list[type[errors.NetfwError]] = [errors.NetfwError]
    for kind in made:
        made += kind.__subclasses__()
    for kind in made:
        more = {errors.OriginTlsAlert: {"alert": "x"}, errors.TooManyRequests: {"retry_after": 1}}
        error = kind("words", **more.get(kind, {}))
        said = printed(error)
        assert said.startswith(b"HTTP/1.1 %d " % error.status)
        assert b"error=" + error.token.encode() in said
        assert b"X-Netfw-Id: 7F3KQ-92XAB" in said
