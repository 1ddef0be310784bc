"""The numbers of DNS messages that mean something to us. PURE.

In this room: `RecordType`, `ResponseCode`. Apart from `dns_message`, since not every mypyc compiles an IntEnum.
RFC 1035, section 4.1.1, RFC 3596.
"""

from __future__ import annotations

from enum import IntEnum


class RecordType(IntEnum):
    """The types that are asked for."""

    A = 1
    AAAA = 28


class ResponseCode(IntEnum):
    """The response codes that mean something to us; an answer may carry any number up to 4095."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
