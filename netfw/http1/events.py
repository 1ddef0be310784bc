"""What a reader reports. One class an event, told apart by type.

Slotted and not frozen, with an `__init__` written out, for the reasons given in `netfw.http1.heads`: they are made for
every message and every read.
"""

from __future__ import annotations

from dataclasses import dataclass

from netfw.http1.fields import Fields
from netfw.http1.framing import Framing
from netfw.http1.heads import RequestHead, ResponseHead


@dataclass(slots=True, init=False)
class RequestHeadReceived:
    """A whole request head. The body, if any, follows."""

    head: RequestHead
    framing: Framing

    def __init__(self, head: RequestHead, framing: Framing) -> None:
        self.head = head
        self.framing = framing


@dataclass(slots=True, init=False)
class ResponseHeadReceived:
    """A whole response head. With a status of 1xx it is an interim one: another head follows and no MessageComplete."""

    head: ResponseHead
    framing: Framing

    def __init__(self, head: ResponseHead, framing: Framing) -> None:
        self.head = head
        self.framing = framing


@dataclass(slots=True, init=False)
class BodyReceived:
    """Some content, chunk lines removed. Never empty."""

    data: bytes

    def __init__(self, data: bytes) -> None:
        self.data = data


@dataclass(slots=True, init=False)
class MessageComplete:
    """The message has ended as its framing says. `trailers` holds what of a trailer section may be passed on."""

    trailers: Fields

    def __init__(self, trailers: Fields) -> None:
        self.trailers = trailers


Event = RequestHeadReceived | ResponseHeadReceived | BodyReceived | MessageComplete
