"""What all workers together say of parent proxies."""

from __future__ import annotations

from dataclasses import replace

import pytest

from netfw.workers.tally import Figures, Tally

from .conftest import reply


def figures(**up: int) -> Figures:
    """One worker's last words: how it finds each parent."""
    samples = [["netfw_parent_up", [["parent", name]], value] for name, value in up.items()]
    told = replace(reply(1), families=[["netfw_parent_up", "Is it up?", "gauge", samples]])
    return Figures(told)


@pytest.mark.parametrize(
    "workers, states",
    [
        ([], {}),
        ([{"a": 1}, {"a": 1}], {"a": "up"}),
        ([{"a": 0, "b": 1}, {"a": 0, "b": 0}, {"a": 0, "b": 1}], {"a": "down", "b": "up for 2 of 3 workers"}),
    ],
)
def test_parents_as_the_workers_find_them(workers, states):
    """Each looks for itself; where they do not agree, it is said how many find it up."""
    rows = Tally().parents([figures(**up) for up in workers])
    assert {row["name"]: row["state"] for row in rows} == states


def test_a_worker_without_parents_says_nothing_of_them():
    assert Tally().parents([Figures(reply(1))]) == []
