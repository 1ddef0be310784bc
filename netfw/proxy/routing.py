"""Which kind of exchange a request head asks for: forwarded, a tunnel, or a page of our own.

Fills in what the head says about the destination. The target URI rules, the Host field follows it (RFC 9112, section
3.2.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from netfw.config.model import NameCheck, NameVerdict
from netfw.errors import LoopDetected, MalformedRequest, NetfwError, NotOffered, TooManyRequests
from netfw.http1.errors import FramingError
from netfw.http1.events import RequestHeadReceived
from netfw.http1.forwarding import FORWARD_LIMITED, max_forwards, via_contains
from netfw.http1.target import RequestTarget, TargetForm, parse_target
from netfw.http1.traits import request_traits
from netfw.policy.decision import Decision, Match, RuleRef
from netfw.policy.facts import ABSENT
from netfw.policy.model import Action, Phase
from netfw.proxy.binding import misdirected_request, other_authority
from netfw.proxy.connect import Tunnelling
from netfw.proxy.exchange import Exchange
from netfw.proxy.first_facts import first_facts
from netfw.proxy.forward import Forwarding
from netfw.proxy.forward_by_way import ForwardingByWay
from netfw.proxy.own_pages import wants_body

if TYPE_CHECKING:
    from netfw.names.authority import Authority
    from netfw.proxy.client_connection import ClientConnection
    from netfw.proxy.tunnel import Tunnel

_DEFAULT_PORTS = {"http": 80, "https": 443}
# Enum members by name of the module: looking one up in its class costs more than the comparison (Python 3.11).
_ABSOLUTE: Final = TargetForm.ABSOLUTE
_ASTERISK: Final = TargetForm.ASTERISK
_AUTHORITY: Final = TargetForm.AUTHORITY
_ORIGIN: Final = TargetForm.ORIGIN


def route(client: ClientConnection, exchange: Exchange, event: RequestHeadReceived) -> None:
    """Start serving this request; whatever is wrong with it is answered here."""
    if client.tunnel is not None:
        client.tunnel.describe(exchange)
    try:
        rate = client.caller.request_rate
        if rate is not None and (wait := rate.take()):
            raise TooManyRequests("this client asks too often", retry_after=wait)
        head = event.head
        target = parse_target(head.method, head.target)
        if request_traits(head).via is not None and via_contains(head.fields, client.plane.via):
            raise LoopDetected("this request has been through this proxy before")
        if head.method in FORWARD_LIMITED and max_forwards(head) == 0:
            raise NotOffered("this proxy answers no OPTIONS or TRACE itself, and Max-Forwards lets it ask nobody else")
        if client.tunnel is not None:
            _inner(client, exchange, event, target)
        elif client.caller.gate is None or _is_for_everybody(client, target):
            _outer(client, exchange, event, target)
        else:
            exchange.authority = target.authority  # for the record of a refusal
            client.caller.gate.pass_through(client, exchange, lambda: _outer(client, exchange, event, target))
    except FramingError as problem:
        client.answer(MalformedRequest(problem.message, status=problem.status_hint))
    except NetfwError as problem:
        client.answer(problem)


def _is_for_everybody(client: ClientConnection, target: RequestTarget) -> bool:
    """Our own pages: whoever sets a client up has not said who they are yet."""
    if target.form not in (TargetForm.AUTHORITY, TargetForm.ABSOLUTE):
        return True
    assert target.authority is not None
    return target.form is TargetForm.ABSOLUTE and client.plane.own_pages.is_own(target.authority)


def _outer(client: ClientConnection, exchange: Exchange, event: RequestHeadReceived, target: RequestTarget) -> None:
    form = target.form
    authority = target.authority
    if form is _ABSOLUTE:
        if target.scheme != b"http":
            raise NotOffered(
                "only http is asked for in absolute-form; https goes through CONNECT"
                if target.scheme == b"https"
                else "only http and https are offered"
            )
        assert authority is not None
        exchange.scheme = "http"
        exchange.authority = authority
        exchange.path = target.path
        exchange.query = target.query
        if client.plane.own_pages.is_own(authority):
            _own_page(client, exchange, target)
            return
        exchange.facts = facts = first_facts(exchange, protocol="http")
        facts.sni = ABSENT
        facts.tls_intercepted = False
        facts.show_request(event.head, target, authority)
        _forward(client, exchange, event, target, tls=False)
    elif form is _AUTHORITY:
        exchange.kind = "connect"
        exchange.scheme = "https"
        exchange.authority = authority
        exchange.facts = first_facts(exchange, protocol="https")
        Tunnelling(client, exchange).start()
    else:
        exchange.path, exchange.query = target.path, target.query
        _own_page(client, exchange, target)


def _inner(client: ClientConnection, exchange: Exchange, event: RequestHeadReceived, target: RequestTarget) -> None:
    tunnel = client.tunnel
    assert tunnel is not None
    exchange.path, exchange.query = target.path, target.query
    if tunnel.failure is not None:
        raise tunnel.failure
    if target.form is not _ORIGIN and target.form is not _ASTERISK:
        raise MalformedRequest("inside a tunnel a request has the origin-form")
    named = other_authority(tunnel.authority, _DEFAULT_PORTS[tunnel.scheme], event.head)
    if named is not None:
        _other_host(client, exchange, tunnel, named)
    inherits = exchange.authority is tunnel.authority
    exchange.facts = first_facts(exchange, protocol=tunnel.scheme, authority=tunnel.judged if inherits else None)
    exchange.facts.tls_intercepted = tunnel.scheme == "https"
    exchange.facts.sni = tunnel.sni or ABSENT
    exchange.facts.show_request(event.head, target, named or tunnel.authority)
    _forward(client, exchange, event, target, tls=tunnel.scheme == "https")


def _forward(
    client: ClientConnection, exchange: Exchange, event: RequestHeadReceived, target: RequestTarget, *, tls: bool
) -> None:
    # Each by its own name: compiled, a class in a variable is called like any other object.
    if client.plane.ways is None:
        Forwarding(client, exchange, event, target, tls=tls).start()
    else:
        ForwardingByWay(client, exchange, event, target, tls=tls).start()


def _other_host(client: ClientConnection, exchange: Exchange, tunnel: Tunnel, named: Authority) -> None:
    """A request inside a tunnel is for another host: refused, judged by itself, or let through as it is."""
    authority = tunnel.authority
    exchange.origin_certificate = tunnel.exchange.origin_certificate
    verdict = client.plane.consistency.judge(
        exchange,
        NameCheck.SNI_HOST,
        connect=tunnel.connect.host,
        sni=tunnel.sni,
        host=named.host_field(authority.port).decode("ascii"),
    )
    if verdict is NameVerdict.EVALUATE:
        exchange.authority = named
        exchange.resolution = exchange.origin_certificate = None
    elif verdict is NameVerdict.ALLOW:
        exchange.named = named
    else:
        raise misdirected_request(authority, named)


def _own_page(client: ClientConnection, exchange: Exchange, target: RequestTarget) -> None:
    assert exchange.head is not None
    answer = client.plane.own_pages.answer(exchange.head.method, target.path)
    exchange.status = answer.status
    exchange.close_reason = "own_page"
    exchange.decisions.append(_OWN_PAGE)
    client.write([answer.print(now=client.plane.now(), close=True, with_body=wants_body(exchange.head))])
    client.end_exchange(keep=False)


# No rule is asked for pages of our own; the record says so in the place where it names the rule.
_OWN_PAGE_RULE = RuleRef(group="", name="own-page", phase=Phase.PRE_DNS)
_OWN_PAGE = Decision(
    phase=Phase.PRE_DNS,
    action=Action.ALLOW,
    rule=_OWN_PAGE_RULE,
    matches=(Match(_OWN_PAGE_RULE, Action.ALLOW),),
    reason=None,
)
