"""What a header section says to an intermediary, worked out once for as long as the section is remembered.

In this room: the answers to the questions that every exchange asks of its two heads: how the body is framed, whether
the connection stays, whether there is an upgrade, and the bytes that go on. Not here: how each is found (`framing`,
`forwarding`, `host_field`).

A program sends the same fields with every request and an origin similar ones with every answer; `heads` keeps the
`Fields` of recent sections, and these answers stay with them. They depend on the fields and the version only.
"""

from __future__ import annotations

from netfw.http1.errors import FramingError
from netfw.http1.fields import Fields
from netfw.http1.framing import Framing, request_declaration, response_declaration
from netfw.http1.heads import HTTP_1_1, RequestHead, ResponseHead, Version
from netfw.http1.trace_context import is_traceparent
from netfw.names.authority import AuthorityError, parse_authority

_KEEP_ALIVE_VALUES = frozenset([b"keep-alive", b"Keep-Alive"])


class HeadTraits:
    """What both directions ask. `forwarded` is for `forwarding`: the bytes behind the first line, by how they go on."""

    __slots__ = ("forwarded", "framing", "keeps", "upgrade", "version")

    def __init__(self, head: RequestHead | ResponseHead, framing: Framing) -> None:
        self.version: Version = head.version
        self.framing = framing
        self.keeps = keeps_connection(head)
        self.upgrade = wanted_upgrade(head)
        self.forwarded: dict[object, bytes] = {}


class RequestTraits(HeadTraits):
    """`framing` is that of any method but CONNECT. `has_plain_host` says that Host is there, once, and an authority."""

    __slots__ = ("expects", "has_plain_host", "traceparent", "user_agent", "via")

    def __init__(self, head: RequestHead) -> None:
        fields = head.fields
        super().__init__(head, request_declaration(head))
        self.has_plain_host = _has_plain_host(fields)
        self.expects = fields.has(b"expect")
        self.via = fields.joined(b"via")
        agents = fields.get_all(b"user-agent")
        self.user_agent = agents[0] if agents else None
        parents = fields.get_all(b"traceparent")
        self.traceparent = parents[0] if len(parents) == 1 and is_traceparent(parents[0]) else None


class ResponseTraits(HeadTraits):
    """`framing` is what the fields declare, for a response that has a body at all."""

    __slots__ = ()

    def __init__(self, head: ResponseHead) -> None:
        super().__init__(head, response_declaration(head))


def request_traits(head: RequestHead) -> RequestTraits:
    """The traits of a request head. Raises FramingError where the fields cannot be framed."""
    traits = head.fields.traits
    if type(traits) is not RequestTraits or traits.version != head.version:
        traits = head.fields.traits = RequestTraits(head)
    return traits


def response_traits(head: ResponseHead) -> ResponseTraits:
    """The traits of a response head. Raises FramingError where the fields cannot be framed."""
    traits = head.fields.traits
    if type(traits) is not ResponseTraits or traits.version != head.version:
        traits = head.fields.traits = ResponseTraits(head)
    return traits


def _has_plain_host(fields: Fields) -> bool:
    try:
        value = fields.single(b"host")
        return value is not None and parse_authority(value, 80) is not None
    except (FramingError, AuthorityError):
        return False


def keeps_connection(head: RequestHead | ResponseHead) -> bool:
    """Whether the sender of this head wants the connection kept (RFC 9112, section 9.3)."""
    value = head.fields.joined(b"connection")
    if value is None:
        return head.version == HTTP_1_1
    if value in _KEEP_ALIVE_VALUES:
        return True
    options = head.fields.tokens(b"connection")
    if b"close" in options:
        return False
    return head.version == HTTP_1_1 or b"keep-alive" in options


def wanted_upgrade(head: RequestHead | ResponseHead) -> bytes | None:
    """The value of Upgrade, lower case, where Connection nominates it in HTTP/1.1 (RFC 9110, 7.8), else None."""
    fields = head.fields
    if not fields.has(b"upgrade") or head.version != HTTP_1_1 or b"upgrade" not in fields.tokens(b"connection"):
        return None
    return b", ".join(fields.tokens(b"upgrade")) or None
