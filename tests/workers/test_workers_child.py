"""One process as the supervisor sees it: its output comes out in whole lines, whatever pieces it came in."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ProcessDone
from twisted.python.failure import Failure

from netfw.workers.child import Child, ChildState


class Owner:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.ends: list[str] = []

    def received(self, child: Child, message: Any) -> None:
        """Nothing here."""

    def ended(self, child: Child, reason: str) -> None:
        """The end."""
        self.ends.append(reason)

    def printed(self, line: bytes) -> None:
        """A record."""
        self.lines.append(line)


@given(st.lists(st.binary(max_size=20)), st.lists(st.integers(0, 400), max_size=8))
def test_standard_output_is_handed_on_in_whole_lines(texts: list[bytes], cuts: list[int]) -> None:
    """Nothing is lost, nothing is mixed; what has no end when the process ends is dropped."""
    lines = [text.replace(b"\n", b"") + b"\n" for text in texts]
    data = b"".join(lines) + b"torn"
    owner = Owner()
    child = Child(1, owner, lambda: 0.0)
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for start, end in zip(places, places[1:], strict=False):
        child.childDataReceived(1, data[start:end])
    child.processEnded(Failure(ProcessDone(0)))
    assert owner.lines == lines
    assert len(owner.ends) == 1
    assert child.state is ChildState.ENDED


def test_a_line_that_never_ends_is_dropped() -> None:
    """A worker gone wild does not fill the supervisor."""
    owner = Owner()
    child = Child(1, owner, lambda: 0.0)
    for _ in range(40):
        child.childDataReceived(1, b"x" * 65536)
    child.childDataReceived(1, b"\nwhole\n")
    assert owner.lines[-1] == b"whole\n"
    assert sum(map(len, owner.lines)) < 1 << 21


def test_what_has_ended_is_left_alone() -> None:
    """Its number may be another process's by now."""
    child = Child(1, Owner(), lambda: 0.0)
    child.pid = 1
    child.processEnded(Failure(ProcessDone(0)))
    child.kill()
    child.drain(1.0)
    assert child.state is ChildState.ENDED
