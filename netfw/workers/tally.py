"""What all workers together have done: the last words of each, and the sums.

What a worker counted is kept when it ends: sums never go backwards. What it had open is not. A worker that is killed
takes with it what it counted since it was last asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from netfw.telemetry.metrics_merge import Families, add_families, growing, read_export
from netfw.telemetry.pins import Pins, Row
from netfw.workers.messages import StatusReply


class Figures:
    """One worker's last words, read."""

    def __init__(self, reply: StatusReply) -> None:
        """Raises `telemetry.metrics_merge.ExportError`, or ValueError."""
        self.connections = reply.connections
        self.tunnels = reply.tunnels
        self.upstream_idle = reply.upstream_idle
        self.refused = Counter(reply.refused)
        self.records = Counter(reply.records)
        self.families: Families = read_export(reply.families)
        self.pins = Pins()
        self.pins.add_rows(reply.pins)


def _agreed(up: list[bool]) -> str:
    if all(up):
        return "up"
    return f"up for {sum(up)} of {len(up)} workers" if any(up) else "down"


class Tally:
    """`living` gives the figures of the workers there are."""

    def __init__(self) -> None:
        self._gone: Families = {}
        self._pins = Pins()
        self._refused: Counter[str] = Counter()
        self._records: Counter[str] = Counter()

    def keep(self, figures: Figures) -> None:
        """This worker has ended."""
        add_families(self._gone, growing(figures.families))
        self._pins.add_rows(figures.pins.rows())
        self._refused += figures.refused
        self._records += figures.records

    def families(self, living: Iterable[Figures]) -> Iterator[Families]:
        """Every worker's, dead or alive."""
        yield self._gone
        for figures in living:
            yield figures.families

    def pins(self, living: Iterable[Figures]) -> list[Row]:
        """Refused leaves, by host and client."""
        total = Pins()
        for pins in (self._pins, *(figures.pins for figures in living)):
            total.add_rows(pins.rows())
        return total.rows()

    def parents(self, living: Iterable[Figures]) -> list[dict[str, str]]:
        """The parent proxies, as the workers find them: each looks for itself."""
        states: dict[str, list[bool]] = {}
        for figures in living:
            family = figures.families.get("netfw_parent_up")
            for (_, labels), value in family.values.items() if family is not None else ():
                states.setdefault(dict(labels)["parent"], []).append(bool(value))
        return [{"name": name, "state": _agreed(found)} for name, found in states.items()]

    def refused(self, living: Iterable[Figures]) -> dict[str, int]:
        """Connections that were not admitted, by reason."""
        return dict(sum((figures.refused for figures in living), self._refused))

    def records(self, living: Iterable[Figures]) -> dict[str, int]:
        """Records written, dropped, and failures to write."""
        total = sum((figures.records for figures in living), self._records)
        return {word: total[word] for word in ("written", "dropped", "errors")}
