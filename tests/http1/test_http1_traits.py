"""What a header section says is the same however often, and in whichever version, it is asked."""

from __future__ import annotations

import pytest

from netfw.http1.errors import FramingError
from netfw.http1.fields import Fields
from netfw.http1.framing import Framing
from netfw.http1.heads import HTTP_1_0, HTTP_1_1, RequestHead, ResponseHead
from netfw.http1.traits import request_traits, response_traits


def test_versions_do_not_share_answers() -> None:
    """The same fields in another version are judged anew: 1.0 keeps no connection by itself and knows no chunks."""
    fields = Fields([(b"Host", b"a"), (b"Transfer-Encoding", b"chunked")])
    assert request_traits(RequestHead(b"POST", b"/", HTTP_1_1, fields)).framing is Framing.CHUNKED
    with pytest.raises(FramingError):
        request_traits(RequestHead(b"POST", b"/", HTTP_1_0, fields))
    assert request_traits(RequestHead(b"POST", b"/", HTTP_1_1, fields)).keeps


def test_directions_do_not_share_answers() -> None:
    """A section without a framing field means no body in a request and one until close in a response."""
    fields = Fields([(b"Host", b"a")])
    assert request_traits(RequestHead(b"GET", b"/", HTTP_1_1, fields)).framing is Framing.NONE
    assert response_traits(ResponseHead(HTTP_1_1, 200, b"", fields)).framing is Framing.UNTIL_CLOSE
    assert request_traits(RequestHead(b"GET", b"/", HTTP_1_1, fields)).framing is Framing.NONE


@pytest.mark.parametrize("lines", [[], [(b"Host", b"")], [(b"Host", b"a"), (b"Host", b"a")], [(b"Host", b"a b")]])
def test_only_one_good_host_is_plain(lines: list[tuple[bytes, bytes]]) -> None:
    """What is missing, empty, repeated or no authority goes to the check that refuses it."""
    assert not request_traits(RequestHead(b"GET", b"/", HTTP_1_1, Fields(lines))).has_plain_host
    assert request_traits(RequestHead(b"GET", b"/", HTTP_1_1, Fields([(b"Host", b"a:81")]))).has_plain_host
