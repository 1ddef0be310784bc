"""What is known about one exchange, as rules see it.

A fact is known, ABSENT (the exchange does not have it: no such header), INVISIBLE (this exchange will never show it:
HTTP inside a tunnel that is passed through) or NOT_YET (it may come later). There is no None. HTTP facts are the
peer's bytes; names are canonical text. Who fills this in has parsed and bound everything before.
"""

from __future__ import annotations

from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final, Union

if TYPE_CHECKING:
    from netfw.http1.fields import Fields
    from netfw.http1.heads import RequestHead, ResponseHead
    from netfw.http1.target import RequestTarget
    from netfw.names.authority import Authority

Address = Union[IPv4Address, IPv6Address]


class Unknown(Enum):
    """Why a fact has no value."""

    ABSENT = "absent"
    INVISIBLE = "invisible"
    NOT_YET = "not yet"

    def __repr__(self) -> str:
        return self.name


ABSENT: Final = Unknown.ABSENT
INVISIBLE: Final = Unknown.INVISIBLE
NOT_YET: Final = Unknown.NOT_YET


class Facts:
    """The facts of one exchange; filled in as they become known, one object an exchange.

    `time` is seconds since the epoch; `protocol` is `https` for a CONNECT and `http` otherwise. Whatever can come later
    starts as NOT_YET, whatever a deployment may not have as ABSENT.
    """

    def __init__(
        self,
        *,
        source_ip: Address | Unknown,
        source_port: int | Unknown,
        time: float,
        protocol: str | Unknown,
        destination_domain: str | Unknown,
        destination_port: int | Unknown,
        source_account: str | Unknown = ABSENT,
        source_vpc: str | Unknown = ABSENT,
        source_vpce: str | Unknown = ABSENT,
        listener_name: str | Unknown = ABSENT,
        client_identity: str | Unknown = ABSENT,
        destination_ip: Address | Unknown = NOT_YET,
        sni: str | Unknown = NOT_YET,
        tls_intercepted: bool | Unknown = NOT_YET,
    ) -> None:
        self.source_ip = source_ip
        self.source_port = source_port
        self.source_account = source_account
        self.source_vpc = source_vpc
        self.source_vpce = source_vpce
        self.listener_name = listener_name
        self.client_identity = client_identity
        self.time = time
        self.protocol = protocol
        self.destination_domain = destination_domain
        self.destination_port = destination_port
        self.destination_ip = destination_ip
        self.sni = sni
        self.tls_intercepted = tls_intercepted
        self.method: bytes | Unknown = NOT_YET
        self.path: bytes | Unknown = NOT_YET
        self.query: bytes | Unknown = NOT_YET
        self.request_fields: Fields | Unknown = NOT_YET
        self.http_host: str | Unknown = NOT_YET
        self.request_content_length: int | Unknown = NOT_YET
        self.status: int | Unknown = NOT_YET
        self.response_fields: Fields | Unknown = NOT_YET
        self.response_content_length: int | Unknown = NOT_YET

    def await_http(self) -> None:
        """HTTP may become visible later: every HTTP fact is NOT_YET."""
        self._set_http(NOT_YET)

    def hide_http(self) -> None:
        """HTTP will never be visible (a tunnel that is passed through): every HTTP fact is INVISIBLE."""
        self._set_http(INVISIBLE)

    def _set_http(self, state: Unknown) -> None:
        self.method = state
        self.path = state
        self.query = state
        self.request_fields = state
        self.http_host = state
        self.request_content_length = state
        self.status = state
        self.response_fields = state
        self.response_content_length = state

    def show_request(self, head: RequestHead, target: RequestTarget, authority: Authority) -> None:
        """The request is visible; `authority` is that of its target URI. Response facts are NOT_YET again."""
        self.method = head.method
        self.path = target.path
        self.query = ABSENT if target.query is None else target.query
        self.request_fields = head.fields
        self.http_host = authority.host.text
        self.request_content_length = _content_length(head.fields)
        self.status = NOT_YET
        self.response_fields = NOT_YET
        self.response_content_length = NOT_YET

    def show_response(self, head: ResponseHead) -> None:
        """The response head is visible."""
        self.status = head.status
        self.response_fields = head.fields
        self.response_content_length = _content_length(head.fields)


def _content_length(fields: Fields) -> int | Unknown:
    """The declared length; ABSENT for chunked messages. Framing was judged before: nothing ambiguous comes here."""
    declared = fields.joined(b"content-length")
    if declared is None or not declared.isdigit() or len(declared) > 18:
        return ABSENT
    return int(declared)
