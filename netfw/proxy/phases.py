"""The three phases and what stands between them, each a step that takes an exchange.

A step returns, or raises one of `errors`; who chains the steps sends every failure to one errback (`responses` turns it
into an answer). Evaluation itself is pure and synchronous. An exception inside it is a denial: an error never allows.

PreDNS: nothing has left the machine. PreREQUEST: names were resolved and addresses judged; nothing was sent.
PostRESPONSE: the origin's head is known; nothing of it was handed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from netfw.errors import Denied, DestinationProhibited, DnsTimeout, NameNotFound, NetfwError, PolicyFailure
from netfw.names.authority import Authority
from netfw.policy.decision import Decision, Open
from netfw.policy.evaluate import evaluate
from netfw.policy.model import Action, Phase
from netfw.proxy.data_plane import DataPlane
from netfw.proxy.exchange import Exchange
from netfw.transport.resolution import Resolution, literal_resolution

Address = IPv4Address | IPv6Address
_log = Logger()

DESTINATION_IP: Final = "request:DestinationIp"
_DNS_RESULTS: dict[type[NetfwError], str] = {NameNotFound: "not_found", DnsTimeout: "timeout"}
# Enum members by name of the module: looking one up in its class costs more than the comparison (Python 3.11).
_PRE_DNS: Final = Phase.PRE_DNS
_PRE_REQUEST: Final = Phase.PRE_REQUEST
_POST_RESPONSE: Final = Phase.POST_RESPONSE
_ALLOW: Final = Action.ALLOW
_ALERT: Final = Action.ALERT


def judge(exchange: Exchange, phase: Phase) -> Decision | Open:
    """Evaluate a phase without taking it. Raises `PolicyFailure` where evaluation itself breaks."""
    try:
        return evaluate(exchange.policy, phase, exchange.facts)
    except Exception as problem:
        _log.failure("policy evaluation failed in {phase} for exchange {id}", phase=phase.value, id=exchange.id)
        raise PolicyFailure(
            f"the policy could not be evaluated in {phase.value}; this is a denial", detail=repr(problem)
        ) from problem


def take(exchange: Exchange, decision: Decision) -> None:
    """Make a decision count: it is in the record, and a DENY ends the exchange (raises `Denied`)."""
    exchange.decisions.append(decision)
    if decision.action is not _ALLOW:
        raise _denied(decision)


def _denied(decision: Decision) -> Denied:
    return Denied(f"Blocked by {decision.phase.value} rule {decision.rule}", decision=decision)


def certain(outcome: Decision | Open) -> Decision:
    """The decision where every fact must be known by now; anything still open is a failure of ours, so a denial."""
    if isinstance(outcome, Decision):
        return outcome
    raise PolicyFailure(f"rule {outcome.pending} could not be decided in {outcome.phase.value}; this is a denial")


def decide(exchange: Exchange, phase: Phase) -> None:
    """Evaluate a phase and take it: every fact is known by now. Raises `Denied`, or `PolicyFailure`."""
    outcome = judge(exchange, phase)
    if type(outcome) is not Decision:
        outcome = certain(outcome)
    exchange.decisions.append(outcome)
    if outcome.action is not _ALLOW:
        raise _denied(outcome)


def pre_dns(exchange: Exchange) -> None:
    """Take PreDNS. Nothing has been asked or sent yet."""
    decide(exchange, _PRE_DNS)


def resolve(exchange: Exchange, plane: DataPlane) -> Resolution | Deferred[Resolution]:
    """Find the addresses of the exchange's host; a literal is its own answer."""
    authority = exchange.authority
    assert authority is not None
    host = authority.host
    why = plane.guard.prohibits_port(authority.port)
    if why is not None:
        raise _closed_port(authority, why)
    if host.is_address:
        exchange.resolution = literal_resolution(host)
        return exchange.resolution
    known = plane.resolver.known(host)
    if known is not None:
        exchange.resolution = known
        return known
    begun = plane.monotonic()

    def found(resolution: Resolution) -> Resolution:
        exchange.resolution = resolution
        exchange.dns_seconds = spent = plane.monotonic() - begun
        plane.recording.metrics.dns_lookup("ok", spent)
        return resolution

    def failed(failure: Failure) -> Failure:
        exchange.dns_seconds = spent = plane.monotonic() - begun
        if isinstance(failure.value, NetfwError):
            plane.recording.metrics.dns_lookup(_DNS_RESULTS.get(type(failure.value), "error"), spent)
        return failure

    return plane.resolver.resolve(host).addCallbacks(found, failed)


def _closed_port(authority: Authority, why: str) -> DestinationProhibited:
    return DestinationProhibited(f"{authority} is out of bounds: {why}")


def leave_name_to_parent(exchange: Exchange, plane: DataPlane) -> None:
    """What stands in place of `resolve` and `judged_addresses` where a parent proxy looks the name up: the guard knows
    the port, and that this name would be the parent's own machine. Raises `DestinationProhibited`.
    """
    authority = exchange.authority
    assert authority is not None
    why = plane.guard.prohibits_port(authority.port)
    if why is not None:
        raise _closed_port(authority, why)
    if f".{authority.host.text}".endswith(".localhost"):  # RFC 6761, section 6.3
        raise DestinationProhibited(f"{authority} is out of bounds: to the parent proxy it would be its own machine")


def judged_addresses(exchange: Exchange, plane: DataPlane, addresses: tuple[Address, ...]) -> tuple[Address, ...]:
    """The addresses that the guard lets through; raises `DestinationProhibited` where none is left."""
    assert exchange.authority is not None
    open_ones, why = plane.guard.open_ones(addresses, exchange.authority.port)
    if not open_ones:
        raise DestinationProhibited(f"{exchange.authority.host} is out of bounds: {why}")
    return open_ones


def pre_request(exchange: Exchange, addresses: Sequence[Address]) -> tuple[Address, ...]:
    """Take PreREQUEST for each address and return those that it allows; raises `Denied` where none is left.

    The decision that counts is that of the first allowed address, since it is the one dialled first; a denial is the
    first address's. Alerts of the other addresses are added to it once a rule.
    """
    if len(addresses) == 1 or DESTINATION_IP not in exchange.policy.needs(_PRE_REQUEST):
        exchange.facts.destination_ip = addresses[0]
        decide(exchange, _PRE_REQUEST)
        return tuple(addresses)
    decisions, allowed = _outcomes(exchange, addresses)
    taken = next((d for d in decisions if isinstance(d, Decision) and d.action is _ALLOW), None)
    if taken is None:
        first = decisions[0]
        take(exchange, certain(first))
    assert taken is not None
    take(exchange, _with_alerts_of(taken, decisions))
    return allowed


def pre_request_by_name(exchange: Exchange) -> None:
    """Take PreREQUEST where a parent proxy looks the name up: the address is not known, now or later.

    Raises `Denied`, and `PolicyFailure` where a rule that asks for the address could turn the outcome.
    """
    outcome = judge(exchange, _PRE_REQUEST)
    if isinstance(outcome, Open):
        raise PolicyFailure(
            f"rule {outcome.pending} asks for an address that only the parent proxy looks up; this is a denial "
            "(`by: address` in the route has it looked up here)"
        )
    take(exchange, outcome)


def not_certainly_denied_by_name(exchange: Exchange) -> None:
    """Raises `Denied` where PreREQUEST denies whatever the address and the requests inside will be."""
    outcome = judge(exchange, _PRE_REQUEST)
    if isinstance(outcome, Decision) and outcome.action is not _ALLOW:
        take(exchange, outcome)


def not_certainly_denied(exchange: Exchange, addresses: Sequence[Address]) -> tuple[Address, ...]:
    """The addresses for which PreREQUEST may still allow, without taking the phase.

    For a CONNECT whose inner requests are yet to come: only what is certain already ends it here.
    """
    decisions, _ = _outcomes(exchange, addresses)
    possible = tuple(
        address
        for address, outcome in zip(_spread(addresses, decisions), decisions, strict=False)
        if isinstance(outcome, Open) or outcome.action is _ALLOW
    )
    if not possible:
        take(exchange, certain(decisions[0]))
    return tuple(addresses) if len(decisions) == 1 else possible


def _outcomes(exchange: Exchange, addresses: Sequence[Address]) -> tuple[list[Decision | Open], tuple[Address, ...]]:
    """The outcome for each address, and the addresses allowed. One evaluation serves all where no rule asks for the
    address.
    """
    facts = exchange.facts
    if DESTINATION_IP not in exchange.policy.needs(_PRE_REQUEST) or len(addresses) == 1:
        facts.destination_ip = addresses[0]
        outcome = judge(exchange, _PRE_REQUEST)
        is_allowed = isinstance(outcome, Decision) and outcome.action is _ALLOW
        return [outcome], tuple(addresses) if is_allowed else ()
    outcomes: list[Decision | Open] = []
    allowed: list[Address] = []
    for address in addresses:
        facts.destination_ip = address
        outcome = judge(exchange, _PRE_REQUEST)
        outcomes.append(outcome)
        if isinstance(outcome, Decision) and outcome.action is _ALLOW:
            allowed.append(address)
    facts.destination_ip = allowed[0] if allowed else addresses[0]
    return outcomes, tuple(allowed)


def _spread(addresses: Sequence[Address], outcomes: Sequence[object]) -> Sequence[Address]:
    return addresses if len(outcomes) == len(addresses) else addresses[:1]


def _with_alerts_of(taken: Decision, outcomes: Sequence[Decision | Open]) -> Decision:
    if len(outcomes) == 1:
        return taken
    seen = {match.rule for match in taken.matches}
    extra = []
    for outcome in outcomes:
        if not isinstance(outcome, Decision):
            continue
        for match in outcome.matches:
            if match.action is _ALERT and match.rule not in seen:
                seen.add(match.rule)
                extra.append(match)
    if not extra:
        return taken
    return Decision(
        phase=taken.phase, action=taken.action, rule=taken.rule, matches=(*extra, *taken.matches), reason=taken.reason
    )


def post_response(exchange: Exchange) -> None:
    """Take PostRESPONSE on the origin's head; `facts.show_response` has been called."""
    decide(exchange, _POST_RESPONSE)
