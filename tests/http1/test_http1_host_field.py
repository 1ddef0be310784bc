"""The Host check (what is refused is in test_http1_hostile too, through the reader)."""

import pytest

from netfw.http1.errors import FramingError
from netfw.http1.fields import Fields
from netfw.http1.heads import RequestHead
from netfw.http1.host_field import check_host


def head(*hosts, method=b"GET", target=b"/", version=(1, 1)):
    """A head with these Host fields."""
    return RequestHead(method, target, version, Fields([(b"Host", host) for host in hosts]))


@pytest.mark.parametrize(
    ("request_head", "authority"),
    [
        (head(b"A.example."), "a.example:80"),
        (head(b"a.example:8080"), "a.example:8080"),
        (head(b"[::1]"), "[::1]:80"),
        (head(version=(1, 0)), None),
        (head(method=b"CONNECT"), None),
        (head(method=b"CONNECT", version=(1, 0)), None),
        (head(b"a", method=b"CONNECT"), "a:80"),
        (head(b"", method=b"OPTIONS", target=b"*"), None),
    ],
)
def test_valid(request_head, authority):
    """What the field names is returned, None where there is nothing to name."""
    named = check_host(request_head)
    assert (named if named is None else str(named)) == authority


def test_the_default_port_is_the_callers():
    """Within TLS a Host without port means 443."""
    assert check_host(head(b"a"), 443).port == 443


@pytest.mark.parametrize(
    "request_head",
    [
        head(),
        head(b"a", b"a"),
        head(b""),
        head(b"", version=(1, 0)),
        head(b"", method=b"CONNECT"),
        head(b"a/"),
        head(b"a:0"),
    ],
)
def test_invalid(request_head):
    """Absent from 1.1, repeated, empty or no authority: 400."""
    with pytest.raises(FramingError) as caught:
        check_host(request_head)
    assert caught.value.status_hint == 400
