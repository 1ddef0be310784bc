"""The condition keys: their type, the phases in which their value can be known, and the fact they read.

One table; validation, compiling, `explain` and docs/policy.md all read it. Which phase may use which key follows one
rule: a key is accepted where its value can be known.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum

from netfw.policy.model import Phase

_ALL = frozenset(Phase)
_FROM_REQUEST = frozenset({Phase.PRE_REQUEST, Phase.POST_RESPONSE})
_RESPONSE = frozenset({Phase.POST_RESPONSE})


class Kind(Enum):
    """The type of a key's value: it says which operators fit and how values are compared."""

    TEXT = "text"
    DOMAIN = "host name"
    PATH = "path"
    PROTOCOL = "protocol"
    NUMBER = "number"
    DATE = "date"
    ADDRESS = "address"
    BOOLEAN = "boolean"


@dataclass(frozen=True, slots=True)
class Key:
    """One condition key.

    `attribute` is the fact of `Facts` it reads; for a header key `field` is the lower-case field name to take from it.
    `wire`: the fact is the peer's bytes. `http`: the fact is a field of an HTTP message, so a tunnel that is passed
    through never shows it. `multi_valued`: set operators are accepted. `extension`: ours, not the vendor's.
    """

    name: str
    kind: Kind
    phases: frozenset[Phase]
    attribute: str
    about: str
    wire: bool = False
    http: bool = False
    field: bytes | None = None
    multi_valued: bool = False
    extension: bool = False


def _http(name: str, kind: Kind, attribute: str, about: str, *, wire: bool = True, **more: object) -> Key:
    phases = _RESPONSE if name.startswith("response:") else _FROM_REQUEST
    return Key(name, kind, phases, attribute, about, wire=wire, http=True, **more)  # type: ignore[arg-type]  # flags


REQUEST_HEADER = "request:Http:Header/"
RESPONSE_HEADER = "response:Http:Header/"

TABLE: tuple[Key, ...] = (
    Key("request:SourceAccount", Kind.TEXT, _ALL, "source_account", "account of the client, 12 digits"),
    Key("request:SourceVpc", Kind.TEXT, _ALL, "source_vpc", "network of the client, such as `vpc-0aaa`"),
    Key("request:SourceVpce", Kind.TEXT, _ALL, "source_vpce", "endpoint that the client came through, `vpce-...`"),
    Key("request:Time", Kind.DATE, _ALL, "time", "when the exchange began, whole seconds, UTC"),
    Key("request:SourceIp", Kind.ADDRESS, _ALL, "source_ip", "address of the client"),
    Key("request:DestinationIp", Kind.ADDRESS, _FROM_REQUEST, "destination_ip", "address that would be dialled"),
    Key("request:SourcePort", Kind.NUMBER, _ALL, "source_port", "TCP port of the client"),
    Key("request:DestinationPort", Kind.NUMBER, _ALL, "destination_port", "TCP port that the client asks for"),
    Key("request:Protocol", Kind.PROTOCOL, _ALL, "protocol", "`https` for CONNECT, else `http`; `TCP` is always true"),
    Key("request:DestinationDomain", Kind.DOMAIN, _ALL, "destination_domain", "host that the client asks for"),
    _http("request:Http:Uri", Kind.PATH, "path", "path of the request, without the query"),
    _http("request:Http:Method", Kind.TEXT, "method", "method, case-sensitive"),
    _http("request:Http:UserAgent", Kind.TEXT, "request_fields", "value of User-Agent", field=b"user-agent"),
    _http("request:Http:ContentType", Kind.TEXT, "request_fields", "value of Content-Type", field=b"content-type"),
    _http(REQUEST_HEADER + "<Name>", Kind.TEXT, "request_fields", "any request header", field=b"", multi_valued=True),
    _http("response:Http:StatusCode", Kind.NUMBER, "status", "status code", wire=False),
    _http("response:Http:ContentType", Kind.TEXT, "response_fields", "value of Content-Type", field=b"content-type"),
    _http(
        RESPONSE_HEADER + "<Name>", Kind.TEXT, "response_fields", "any response header", field=b"", multi_valued=True
    ),
    Key("request:Sni", Kind.DOMAIN, _FROM_REQUEST, "sni", "server name of the ClientHello", extension=True),
    _http("request:Http:Host", Kind.DOMAIN, "http_host", "host of the request's target", wire=False, extension=True),
    _http("request:Http:Query", Kind.PATH, "query", "query of the request, without the `?`", extension=True),
    _http(
        "request:Http:ContentLength",
        Kind.NUMBER,
        "request_content_length",
        "declared length of the request's content",
        wire=False,
        extension=True,
    ),
    _http(
        "response:Http:ContentLength",
        Kind.NUMBER,
        "response_content_length",
        "declared length of the response's content",
        wire=False,
        extension=True,
    ),
    Key("request:ListenerName", Kind.TEXT, _ALL, "listener_name", "listener that the client came to", extension=True),
    Key("request:ClientIdentity", Kind.TEXT, _ALL, "client_identity", "who the client proved to be", extension=True),
    Key(
        "request:Tls:Intercepted",
        Kind.BOOLEAN,
        _FROM_REQUEST,
        "tls_intercepted",
        "whether the client's TLS is opened here",
        extension=True,
    ),
)

ALIASES: dict[str, str] = {"response:HttpStatusCode": "response:Http:StatusCode"}

_BY_NAME: dict[str, Key] = {key.name: key for key in TABLE if key.field != b""}
_HEADERS: dict[str, Key] = {key.name.removesuffix("<Name>"): key for key in TABLE if key.field == b""}
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)


def find_key(name: str) -> Key | None:
    """The key of this name. Key names are case-sensitive, header names inside them are not; aliases are resolved."""
    key = _BY_NAME.get(name)
    if key is not None:
        return key
    if name in ALIASES:
        return _BY_NAME[ALIASES[name]]
    prefix, slash, field = name.partition("/")
    template = _HEADERS.get(prefix + slash)
    if template is None or _FIELD_NAME.fullmatch(field) is None or len(field) > 256:
        return None
    return Key(
        name,
        template.kind,
        template.phases,
        template.attribute,
        template.about,
        wire=True,
        http=True,
        field=field.lower().encode("ascii"),
        multi_valued=True,
    )


def nearest_key(name: str) -> str | None:
    """The key that the writer most likely meant."""
    folded = {candidate.lower(): candidate for candidate in _BY_NAME}
    folded |= {prefix.lower(): key.name for prefix, key in _HEADERS.items()}
    lowered = name[:128].lower()
    prefix, slash, _ = lowered.partition("/")
    field = name.partition("/")[2]
    if slash and prefix + slash in folded and _FIELD_NAME.fullmatch(field) is not None and len(field) <= 80:
        return folded[prefix + slash].removesuffix("<Name>") + field
    close = [lowered] if lowered in folded else get_close_matches(lowered, list(folded), n=1, cutoff=0.6)
    return folded[close[0]] if close else None
