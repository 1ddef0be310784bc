"""From a parent proxy's name to a connection that it can be asked on: look up, dial, and for https verify its TLS.

The parent is the operator's choice, so the guard's networks do not rule it; but it is never this proxy itself. Not
here: what it is asked (`parent_tunnel`), and what is done when it cannot be reached (`way_opening`).
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Any

from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.python.failure import Failure

from netfw.errors import NetfwError, OriginUnroutable, Overloaded, ParentError
from netfw.proxy.data_plane import DataPlane
from netfw.proxy.parents import Parent
from netfw.proxy.ways import Sources

Address = IPv4Address | IPv6Address


class NoSource(OriginUnroutable):
    """The pool has no address of any family that the destination has."""


_UNREACHABLE = "the parent proxy cannot be reached"


def dial_parent(plane: DataPlane, parent: Parent, sources: Sources | None) -> Deferred[Any]:
    """A Deferred of a transport to the parent that nobody reads yet: a Stream, or a TlsStream over one.

    `sources`: what it leaves from. Fails with `ParentError`. Cancelling it closes whatever is there.
    """
    authority = parent.authority

    def dial(addresses: tuple[Address, ...]) -> Deferred[Any]:
        others = [address for address in addresses if not plane.guard.is_own(address, authority.port)]
        if not others:
            problem = ParentError(
                "the parent proxy is this proxy itself", status=508, token="proxy_loop_detected", detail=parent.name
            )
            return fail(Failure(problem))
        return dial_from(plane, others, authority.port, sources, whose=f"the parent proxy {parent.name}")

    def secure(stream: Any) -> Any:
        if parent.tls is None:
            return stream
        timeouts = plane.configuration.timeouts
        return parent.tls.secure(
            stream,
            authority.host,
            authority.port,
            deadlines=plane.deadlines,
            handshake_timeout=timeouts.handshake,
            abort_timeout=timeouts.abort,
        )

    def explain(failure: Failure) -> Failure:
        problem = failure.value
        # To be out of descriptors is our own misfortune.
        if not isinstance(problem, NetfwError) or isinstance(problem, (ParentError, Overloaded)):
            return failure
        status = problem.status if problem.status in (503, 504) else 502
        error = ParentError(_UNREACHABLE, status=status, token=problem.token, detail=_told(parent, problem))
        error.blames_parent = not isinstance(problem, NoSource)
        return Failure(error)

    found = maybeDeferred(_addresses, plane, parent)
    return found.addCallback(dial).addCallback(secure).addErrback(explain)


def _addresses(plane: DataPlane, parent: Parent) -> Any:
    host = parent.authority.host
    if host.address is not None:
        return (host.address,)
    known = plane.resolver.known(host)
    if known is not None:
        return known.addresses
    return plane.resolver.resolve(host).addCallback(lambda resolution: resolution.addresses)


def _told(parent: Parent, problem: NetfwError) -> str:
    more = f" ({problem.detail})" if problem.detail else ""
    return f"{parent.name}: {problem.message}{more}"


def dial_from(
    plane: DataPlane, addresses: list[Address] | tuple[Address, ...], port: int, sources: Sources | None, *, whose: str
) -> Deferred[Any]:
    """A Deferred of a stream to one of the addresses, leaving from `sources`, which must have one of its family."""
    if sources is None:
        return maybeDeferred(plane.dialer.dial, addresses, port)
    fitting = [address for address in addresses if address.version in sources]
    if not fitting:
        versions = " and ".join(f"IPv{version}" for version in sorted({address.version for address in addresses}))
        problem = NoSource(f"{whose} has {versions} addresses only, and the egress pool has none of that kind")
        return fail(Failure(problem))
    return maybeDeferred(plane.dialer.dial, fitting, port, sources)
