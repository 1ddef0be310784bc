"""One authority, bound on every side: CONNECT authority = SNI = Host = the address dialled.

A tunnel that was allowed for one name must not carry traffic for another ("domain fronting"): RFC 9110 7.4, RFC 6066 3.
The upstream certificate is the fourth name; `tls.verification` proves it against the CONNECT authority.
"""

from __future__ import annotations

from netfw.errors import MisdirectedRequest
from netfw.http1.heads import RequestHead
from netfw.names.authority import Authority, AuthorityError, parse_authority
from netfw.names.host import HostError, parse_host
from netfw.tls.client_hello import ClientHello


def bind_server_name(authority: Authority, hello: ClientHello, *, intercepted: bool) -> str | None:
    """The canonical SNI (None: there is none) of a ClientHello inside a tunnel to `authority`.

    Raises `MisdirectedRequest` where it names another host. A missing SNI is harmless where the proxy itself asks the
    origin for the CONNECT host, or where that host is an address; in a passed-through tunnel to a name nothing would
    then bind the tunnel to the name that policy allowed, so it is refused.
    """
    if hello.server_name is None:
        if intercepted or authority.host.is_address:
            return None
        raise MisdirectedRequest(f"the tunnel to {authority} carries a ClientHello without a server name")
    try:
        name = parse_host(hello.server_name)
    except HostError as problem:
        raise MisdirectedRequest(
            f"the tunnel to {authority} carries a server name that is not a host name", detail=str(problem)
        ) from None
    if name.text != authority.host.text:
        raise MisdirectedRequest(f"the tunnel to {authority} carries the server name {name.text}")
    return name.text


def bind_host(authority: Authority, default_port: int, head: RequestHead) -> None:
    """Check the Host field of a request inside a tunnel to `authority`; raises `MisdirectedRequest` (421)."""
    value = head.fields.single(b"host")
    if value is None:
        return  # HTTP/1.0: the tunnel's authority is the only name there is
    try:
        named = parse_authority(value, default_port)
    except (AuthorityError, HostError) as problem:
        raise MisdirectedRequest(
            f"the Host field inside the tunnel to {authority} names no host", detail=str(problem)
        ) from None
    if named != authority and not _is_quirk(authority, named, default_port, value):
        raise MisdirectedRequest(f"the tunnel to {authority} carries a request for {named}")


def _is_quirk(authority: Authority, named: Authority, default_port: int, value: bytes) -> bool:
    """Some clients leave a port out of Host that is not the scheme's own; the name is still the tunnel's."""
    return named.host == authority.host and named.port == default_port and b":" not in value.rpartition(b"]")[2]
