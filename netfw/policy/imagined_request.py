"""A request that nobody sent, as facts for each phase: for `netfw explain`, `netfw test` and the manhole. PURE.

Nothing is looked up and nothing is dialled; an address that is not given is not yet known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from netfw.http1.errors import FramingError
from netfw.http1.fields import Fields
from netfw.http1.heads import RequestHead, ResponseHead
from netfw.http1.target import parse_target
from netfw.names.authority import Authority, AuthorityError, parse_authority
from netfw.policy.facts import ABSENT, NOT_YET, Address, Facts, Unknown
from netfw.policy.model import Phase

_URL = re.compile(r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://)?(?P<authority>[^/?#\s]+)(?P<rest>[/?][^#\s]*)?")
_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_FIELD_NAME = _METHOD
_PORTS = {"http": 80, "https": 443}


class RequestProblem(ValueError):
    """A request that cannot be imagined; the text says why."""


@dataclass(frozen=True, slots=True)
class ImaginedRequest:
    """What is asked for and by whom. `tunnel`: a CONNECT of which nothing inside is told. `veiled`: whoever looks may
    not know of path, query and fields, so no rule's answer may depend on them.
    """

    method: str
    scheme: str
    authority: Authority
    target: bytes
    tunnel: bool
    headers: Sequence[tuple[bytes, bytes]] = ()
    source_ip: Address = ip_address("127.0.0.1")
    source_port: int | Unknown = NOT_YET
    destination_ip: Address | Unknown = NOT_YET
    sni: str | None = None
    status: int | None = None
    response_headers: Sequence[tuple[bytes, bytes]] = ()
    time: float = 0.0
    source_account: str | Unknown = ABSENT
    source_vpc: str | Unknown = ABSENT
    source_vpce: str | Unknown = ABSENT
    listener_name: str | Unknown = ABSENT
    client_identity: str | Unknown = ABSENT
    veiled: bool = False

    @property
    def url(self) -> str:
        """What is asked for: a URL, or host and port of a tunnel."""
        if self.tunnel:
            return str(self.authority)
        authority = str(self.authority).removesuffix(f":{_PORTS[self.scheme]}")
        return f"{self.scheme}://{authority}{self.target.decode('ascii')}"

    def seen(self, intercepted: bool) -> str:
        """In words, how much of it the proxy sees."""
        if self.scheme != "https":
            return "plain HTTP"
        return "TLS, intercepted" if intercepted else "TLS, passed through"

    def phases(self, intercepted: bool) -> Iterator[tuple[Phase, Facts]]:
        """The phases that the request goes through as long as none denies it, each with its facts.

        PostRESPONSE comes only where a status was given, and never for a tunnel.
        """
        authority, inside_tls = self.authority, self.scheme == "https"
        facts = Facts(
            source_ip=self.source_ip,
            source_port=self.source_port,
            time=self.time,
            protocol=self.scheme,
            destination_domain=authority.host.text,
            destination_port=authority.port,
            source_account=self.source_account,
            source_vpc=self.source_vpc,
            source_vpce=self.source_vpce,
            listener_name=self.listener_name,
            client_identity=self.client_identity,
            sni=(self.sni or ABSENT) if inside_tls else ABSENT,
            tls_intercepted=inside_tls and intercepted,
        )
        yield Phase.PRE_DNS, facts
        facts.destination_ip = authority.host.address or self.destination_ip
        if inside_tls and not intercepted:
            facts.hide_http()
        elif not self.tunnel:
            method = self.method.encode("ascii")
            head = RequestHead(method, self.target, (1, 1), Fields(list(self.headers)))
            facts.show_request(head, parse_target(method, self.target), authority)
            if self.veiled:
                facts.path = facts.query = facts.request_fields = facts.request_content_length = NOT_YET
        yield Phase.PRE_REQUEST, facts
        if self.status is not None and not self.tunnel and (intercepted or not inside_tls):
            facts.show_response(ResponseHead((1, 1), self.status, b"", Fields(list(self.response_headers))))
            yield Phase.POST_RESPONSE, facts


def parse_url(method: str, url: str) -> tuple[str, Authority, bytes, bool]:
    """(scheme, authority, request target, is it a bare tunnel). `CONNECT host:port` is one. Raises RequestProblem."""
    found = _URL.fullmatch(url)
    if found is None or _METHOD.fullmatch(method) is None:
        raise RequestProblem(f"{method} {url}: write a method and a URL such as https://example.com/, or host:port")
    scheme = found["scheme"].lower() if found["scheme"] else None
    if scheme not in (None, *_PORTS):
        raise RequestProblem(f"{url}: the scheme is http or https")
    tunnel = method == "CONNECT" or (scheme is None and found["rest"] is None)
    if tunnel and found["rest"] not in (None, "/"):
        raise RequestProblem(f"{method} {url}: CONNECT has a host and a port only")
    try:
        authority = parse_authority(found["authority"].encode("utf-8"), _PORTS[scheme or "https"])
        target = (found["rest"] or "/").encode("ascii")
        target = b"/" + target if target.startswith(b"?") else target
        parse_target(b"GET", target)
    except UnicodeEncodeError:
        raise RequestProblem(f"{url}: write what is not ASCII in path and query as %XX, as clients send it") from None
    except (AuthorityError, FramingError) as error:
        raise RequestProblem(f"{url}: {error}") from None
    return scheme or "https", authority, target, tunnel


def parse_header(line: str) -> tuple[bytes, bytes]:
    """`Name: value` as a field line. Raises RequestProblem."""
    name, colon, value = line.partition(":")
    if not colon or _FIELD_NAME.fullmatch(name) is None or "\r" in value or "\n" in value:
        raise RequestProblem(f"{line!r} is not a header: write Name: value")
    return name.encode("ascii"), value.strip(" \t").encode("utf-8")


def parse_address(text: str) -> Address:
    """An IP address. Raises RequestProblem."""
    try:
        return ip_address(text)
    except ValueError:
        raise RequestProblem(f"{text!r} is not an IP address") from None
