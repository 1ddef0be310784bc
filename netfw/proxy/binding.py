"""One authority on every side: CONNECT authority = SNI = Host = the address dialled. Here names are compared.

A tunnel that was allowed for one name must not carry traffic for another ("domain fronting"): RFC 9110 7.4, RFC 6066 3.
The upstream certificate is the fourth name; `tls.verification` proves it against the name that was asked for. Not here:
what becomes of names that disagree (`consistency`).
"""

from __future__ import annotations

from netfw.config.model import NameCheck
from netfw.errors import MisdirectedRequest
from netfw.http1.heads import RequestHead
from netfw.names.authority import Authority, AuthorityError, parse_authority
from netfw.names.host import Host, HostError, parse_host
from netfw.tls.client_hello import ClientHello


def server_name(authority: Authority, hello: ClientHello) -> Host | None:
    """The canonical server name of a ClientHello inside a tunnel to `authority`, None where there is none.

    Raises `MisdirectedRequest` for what is no host name.
    """
    if hello.server_name is None:
        return None
    try:
        return parse_host(hello.server_name)
    except HostError as problem:
        raise MisdirectedRequest(
            f"the tunnel to {authority} carries a server name that is not a host name", detail=str(problem)
        ) from None


def compare_server_name(authority: Authority, name: Host | None) -> NameCheck | None:
    """The check that this server name fails in a tunnel to `authority`, None where they agree.

    Without one nothing in the ClientHello binds the tunnel to the name that policy allowed. For an address there is
    none (RFC 6066, section 3).
    """
    if name is None:
        return None if authority.host.is_address else NameCheck.MISSING_SNI
    return None if name.text == authority.host.text else NameCheck.CONNECT_SNI


def misdirected_tunnel(authority: Authority, name: Host | None) -> MisdirectedRequest:
    """What is said of a server name that disagrees; of a missing one too."""
    if name is None:
        return MisdirectedRequest(
            f"the tunnel to {authority} carries a ClientHello without a server name (SNI); "
            "`consistency.missing_sni` says what becomes of that"
        )
    return MisdirectedRequest(f"the tunnel to {authority} carries the server name {name.text}")


def other_authority(authority: Authority, default_port: int, head: RequestHead) -> Authority | None:
    """What the Host field of a request inside a tunnel to `authority` names instead, None where they agree.

    Raises `MisdirectedRequest` (421) for what is no host.
    """
    value = head.fields.single(b"host")
    if value is None:
        return None  # HTTP/1.0: the tunnel's authority is the only name there is
    try:
        named = parse_authority(value, default_port)
    except (AuthorityError, HostError) as problem:
        raise MisdirectedRequest(
            f"the Host field inside the tunnel to {authority} names no host", detail=str(problem)
        ) from None
    # Not `==`, which is Python, compiled or not, and is asked for every request in a tunnel.
    if named.port == authority.port and named.host.text == authority.host.text:
        return None
    return None if _is_quirk(authority, named, default_port, value) else named


def misdirected_request(authority: Authority, named: Authority) -> MisdirectedRequest:
    """What is said of a Host field that disagrees."""
    return MisdirectedRequest(f"the tunnel to {authority} carries a request for {named}")


def _is_quirk(authority: Authority, named: Authority, default_port: int, value: bytes) -> bool:
    """Some clients leave a port out of Host that is not the scheme's own; the name is still the tunnel's."""
    return named.host == authority.host and named.port == default_port and b":" not in value.rpartition(b"]")[2]
