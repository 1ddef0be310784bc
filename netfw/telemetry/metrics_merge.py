"""The counters of several processes as one: what a worker exports, and how the supervisor adds it up.

The unit is the sample: a name, its labels, its value. Samples of the same name and labels are added, for counters and
histograms for ever (those of a process that has ended are kept, so that a counter never goes backwards), for gauges
only while the process lives. What only one process can say (the policy's generation, the CA's end) the supervisor
says itself, and workers do not count it. Not here: counting (`metrics`) and how exports travel (`workers`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from prometheus_client.metrics_core import Metric

from netfw.telemetry.metrics import Metrics

_GROWING = frozenset({"counter", "histogram"})
_ADDED = _GROWING | {"gauge"}
_PREFIX = "netfw_"
# Moments are not added: the latest of them counts.
_MOMENT = "_timestamp_seconds"

Key = tuple[str, tuple[tuple[str, str], ...]]
"""A sample's name and its labels, sorted."""
Exported = list[Any]


class ExportError(ValueError):
    """This is not what `export` makes."""


@dataclass(slots=True)
class Family:
    """One metric of one or several processes: its values by sample, in the order in which they were first seen."""

    name: str
    documentation: str
    kind: str
    values: dict[Key, float] = field(default_factory=dict)

    def add(self, other: Family) -> None:
        """Add the other's values to these; of moments keep the later ones."""
        values = self.values
        for key, value in other.values.items():
            if self.name.endswith(_MOMENT):
                values[key] = max(values.get(key, 0), value)
            else:
                values[key] = values.get(key, 0) + value

    def metric(self) -> Metric:
        """As prometheus_client prints it."""
        metric = Metric(self.name, self.documentation, self.kind)
        for (name, labels), value in self.values.items():
            metric.add_sample(name, dict(labels), value)
        return metric


Families = dict[str, Family]


def export(metrics: Metrics) -> Exported:
    """What this process has counted, as lists, texts and numbers."""
    return [
        [
            family.name,
            family.documentation,
            family.type,
            [[sample.name, sorted(sample.labels.items()), sample.value] for sample in family.samples],
        ]
        for family in metrics.families()
        if family.type in _ADDED
    ]


def read_export(exported: Any) -> Families:
    """The families of another process. Raises ExportError: nothing of it is believed unread."""
    families: Families = {}
    try:
        for name, documentation, kind, samples in exported:
            if kind not in _ADDED or not _is_name(name) or type(documentation) is not str:
                raise ExportError("an export names families of known kinds")
            family = families[name] = Family(name, documentation, kind)
            for sample_name, labels, value in samples:
                if not _is_name(sample_name) or not sample_name.startswith(name):
                    raise ExportError("a sample has its family's name")
                if type(value) not in (int, float) or not isfinite(value) or (kind in _GROWING and value < 0):
                    raise ExportError("a sample has a number")
                family.values[sample_name, tuple((_text(label), _text(word)) for label, word in labels)] = value
    except (TypeError, ValueError) as error:
        raise error if isinstance(error, ExportError) else ExportError("not an export") from None
    return families


def _is_name(value: object) -> bool:
    return type(value) is str and value.startswith(_PREFIX) and value.replace("_", "").isalnum() and value.isascii()


def _text(value: object) -> str:
    if type(value) is not str:
        raise ExportError("labels are text")
    return value


def add_families(total: Families, families: Iterable[Family]) -> None:
    """Add each family to the one of its name in `total`. One that changed its kind is left out."""
    for family in families:
        known = total.get(family.name)
        if known is None:
            known = total[family.name] = Family(family.name, family.documentation, family.kind)
        if known.kind == family.kind:
            known.add(family)


def growing(families: Families) -> Iterator[Family]:
    """Those whose values outlive their process."""
    return (family for family in families.values() if family.kind in _GROWING)


class MergedMetrics(Metrics):
    """This process's own counters, with those of others added. `others` gives the families of each when asked."""

    def __init__(self, others: Callable[[], Iterable[Families]]) -> None:
        self._others = others
        super().__init__()

    def families(self) -> Iterator[Any]:
        """See `Metrics.families`."""
        total: Families = {}
        own: dict[str, Any] = {}
        for metric in super().families():
            own[metric.name] = metric
            if metric.type in _ADDED:
                samples = {(item.name, tuple(sorted(item.labels.items()))): item.value for item in metric.samples}
                total[metric.name] = Family(metric.name, metric.documentation, metric.type, samples)
        for families in self._others():
            add_families(total, families.values())
        for name, metric in own.items():
            yield metric if name not in total else total.pop(name).metric()
        for family in total.values():
            yield family.metric()
