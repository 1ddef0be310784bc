"""Readiness: each check by itself, and what the admin surface makes of them."""

from __future__ import annotations

import pytest

from netfw.admin.status import ProcessStatus, State
from netfw.service.readiness import add_checks, listening, workers_accept
from netfw.telemetry.metrics import Metrics

NOW = 1_000_000.0


class Node:
    """A status with all checks; a test changes what they ask."""

    def __init__(self) -> None:
        self.ends: float | None = NOW + 86_400
        self.intercepts = True
        self.accepting = (True, "2 of 2 accept")
        self.status = ProcessStatus(name="n", now=lambda: NOW)
        self.status.state = State.READY
        self.metrics = Metrics()
        add_checks(
            self.status,
            self.metrics,
            listeners=lambda: self.accepting,
            intercepts=lambda: self.intercepts,
            ca_ends=lambda: self.ends,
            now=lambda: NOW,
        )

    def says(self, check: str) -> tuple[bool, str]:
        """One check's row."""
        (row,) = (row for row in self.status.checks() if row["check"] == check)
        return row["ok"], row["says"]

    def gauge(self, name: str) -> float:
        """A metric without labels."""
        (line,) = (line for line in self.metrics.render().decode().splitlines() if line.startswith(name + " "))
        return float(line.split()[1])


@pytest.fixture
def node() -> Node:
    return Node()


def test_all_is_well(node: Node) -> None:
    """Each check is named; the gauge agrees."""
    assert [row["check"] for row in node.status.status()["checks"]] == ["listeners", "ca"]
    assert node.status.ready
    assert node.says("listeners") == (True, "2 of 2 accept")
    assert node.gauge("netfw_ready") == 1


def test_who_cannot_accept_is_not_ready(node: Node) -> None:
    """And the gauge agrees."""
    node.accepting = (False, "1 of 2 accept")
    assert node.says("listeners") == (False, "1 of 2 accept")
    assert not node.status.ready
    assert node.gauge("netfw_ready") == 0


@pytest.mark.parametrize(("ends", "says"), [(NOW, "ended at 1970-01-12"), (None, "there is none")])
def test_a_ca_that_cannot_be_used(node: Node, ends: float | None, says: str) -> None:
    """Every intercepted tunnel would fail; with interception off nobody needs it."""
    node.ends = ends
    ok, said = node.says("ca")
    assert (ok, said.startswith(says)) == (False, True)
    assert not node.status.ready
    assert node.gauge("netfw_ready") == 0
    node.intercepts = False
    assert node.status.ready


def test_the_state_and_a_broken_check_count(node: Node) -> None:
    """What cannot be told does not hold, and says nothing secret."""
    node.status.state = State.DRAINING
    assert not node.status.ready
    node.status.state = State.READY
    node.status.check("odd", lambda: {}["secret"])
    assert node.says("odd") == (False, "cannot be told: KeyError")
    assert not node.status.ready


def test_who_accepts() -> None:
    """Every listener of one process; one worker of several."""
    assert listening([3128, 3129]) == (True, "2 of 2 accept")
    assert listening([3128, None]) == (False, "1 of 2 accept")
    assert listening([]) == (False, "0 of 0 accept")
    assert workers_accept(1, 2, 1) == (True, "1 of 2 workers accept")
    assert workers_accept(0, 2, 1) == (False, "0 of 2 workers accept")
    assert workers_accept(2, 2, 0) == (False, "no port is open")
