"""The four forms of a target (what is refused is in test_http1_hostile)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfw.http1.errors import FramingError
from netfw.http1.target import RequestTarget, TargetForm, parse_target
from netfw.names.authority import parse_authority

A = parse_authority(b"a.example:80")


@pytest.mark.parametrize(
    ("method", "target", "expected", "origin_form"),
    [
        (b"GET", b"/", RequestTarget(TargetForm.ORIGIN, None, None, b"/", None), b"/"),
        (b"GET", b"/a?b=c?d", RequestTarget(TargetForm.ORIGIN, None, None, b"/a", b"b=c?d"), b"/a?b=c?d"),
        (b"GET", b"/a?", RequestTarget(TargetForm.ORIGIN, None, None, b"/a", b""), b"/a?"),
        (b"GET", b"http://A.example.", RequestTarget(TargetForm.ABSOLUTE, b"http", A, b"/", None), b"/"),
        (
            b"GET",
            b"HTTP://a.example:80/x%2F?y",
            RequestTarget(TargetForm.ABSOLUTE, b"http", A, b"/x%2F", b"y"),
            b"/x%2F?y",
        ),
        (b"GET", b"http://a.example?q", RequestTarget(TargetForm.ABSOLUTE, b"http", A, b"/", b"q"), b"/?q"),
        (
            b"GET",
            b"https://[::1]/",
            RequestTarget(TargetForm.ABSOLUTE, b"https", parse_authority(b"[::1]:443"), b"/", None),
            b"/",
        ),
        (b"OPTIONS", b"http://a.example", RequestTarget(TargetForm.ABSOLUTE, b"http", A, b"*", None), b"*"),
        (b"OPTIONS", b"http://a.example/", RequestTarget(TargetForm.ABSOLUTE, b"http", A, b"/", None), b"/"),
        (b"OPTIONS", b"http://a.example?", RequestTarget(TargetForm.ABSOLUTE, b"http", A, b"/", b""), b"/?"),
        (b"OPTIONS", b"*", RequestTarget(TargetForm.ASTERISK, None, None, b"*", None), b"*"),
        (b"CONNECT", b"a.example:80", RequestTarget(TargetForm.AUTHORITY, None, A, b"", None), b""),
    ],
)
def test_forms(method, target, expected, origin_form):
    """Each form gives its parts, and what the origin is sent."""
    parsed = parse_target(method, target)
    assert parsed == expected
    assert parsed.origin_form == origin_form


@pytest.mark.parametrize("query", [b"100%", b"%zz", b"a\\b", b"%"])
@pytest.mark.parametrize("start", [b"/p?", b"http://a/p?"])
def test_queries_as_browsers_send_them(start, query):
    """A bare percent sign or backslash in the query is refused, unless the caller is lenient about queries."""
    with pytest.raises(FramingError):
        parse_target(b"GET", start + query)
    assert parse_target(b"GET", start + query, lenient_query=True).query == query


@pytest.mark.parametrize(
    "target", [b"/a\\b?c", b"/%?c", b"http://a/%zz?c", b"http://a\\b/?c", b"/?a#b", b"/?\xff", b"/? "]
)
def test_leniency_ends_with_the_query(target):
    """Path and authority are judged as ever, and so are fragments, spaces and octets beyond ASCII."""
    with pytest.raises(FramingError):
        parse_target(b"GET", target, lenient_query=True)


@given(
    st.sampled_from([b"GET", b"OPTIONS", b"CONNECT"]), st.binary(max_size=30), st.sampled_from([b"", b"/", b"http://"])
)
def test_any_bytes_are_a_target_or_a_framing_error(method, rest, start):
    """Nothing else comes out, and what the origin would be sent is a target again."""
    try:
        parsed = parse_target(method, start + rest)
    except FramingError:
        return
    if parsed.form is not TargetForm.AUTHORITY:
        again = parse_target(method, parsed.origin_form)
        assert (again.path, again.query) == (parsed.path, parsed.query)
