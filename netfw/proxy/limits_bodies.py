"""How large the body of a request or an answer may be, where the operator sets a limit; by default there is none.

In this room: the two limits, judged on the head where that says a length, and on every piece where it does not. Not
here: who calls it (`forward`); passed-through tunnels and web sockets, whose bytes nobody counts as a body.
"""

from __future__ import annotations

from netfw.config.model import LimitsSection
from netfw.errors import MalformedRequest, ResponseTooLarge
from netfw.http1.framing import Framing


def request_excess(limits: LimitsSection, size: int) -> MalformedRequest | None:
    """The error for a request body of so many octets, or None. It is no malformed request, but ends like one: closed,
    since nobody reads the rest.
    """
    limit = limits.request_body
    if not limit or size <= limit:
        return None
    return MalformedRequest(f"the request body is larger than {limit} octets", status=413)


def response_excess(limits: LimitsSection, size: int) -> ResponseTooLarge | None:
    """The same for an answer's body."""
    limit = limits.response_body
    if not limit or size <= limit:
        return None
    return ResponseTooLarge(f"the origin's body is larger than {limit} octets")


def check_request(limits: LimitsSection, framing: Framing) -> None:
    """Raise for a request whose head says already that its body is too large: nothing has been asked or sent yet."""
    if (error := request_excess(limits, framing.length)) is not None:
        raise error


def check_response(limits: LimitsSection, framing: Framing) -> None:
    """Raise for an answer whose head says so: the client gets none of it."""
    if (error := response_excess(limits, framing.length)) is not None:
        raise error
