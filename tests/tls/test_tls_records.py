"""netfw.tls.records"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from netfw.tls.records import RecordBoundary

RECORDS = st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=12)


def record(body: bytes) -> bytes:
    return b"\x17\x03\x03" + len(body).to_bytes(2, "big") + body


@given(bodies=RECORDS, cuts=st.lists(st.integers(0, 600), max_size=20))
def test_true_exactly_for_one_whole_record(bodies: list[bytes], cuts: list[int]) -> None:
    """However the bytes are cut: a piece is whole when it starts where a record starts and ends where that one ends."""
    wire = b"".join(map(record, bodies))
    starts = [0]
    for body in bodies:
        starts.append(starts[-1] + 5 + len(body))
    edges = sorted({0, len(wire), *(cut for cut in cuts if cut < len(wire))})
    boundary = RecordBoundary()
    for left, right in zip(edges, edges[1:], strict=False):
        expected = left in starts and right in starts and starts.index(right) == starts.index(left) + 1
        assert boundary.take(wire[left:right]) is expected


def test_a_piece_in_the_middle_that_looks_like_a_record_is_none() -> None:
    """Only the position tells."""
    inside = record(b"x" * 10)
    boundary = RecordBoundary()
    whole = record(inside + b"tail")
    assert boundary.take(whole[:5]) is False
    assert boundary.take(inside) is False
    assert boundary.take(b"tail") is False
    assert boundary.take(inside) is True
