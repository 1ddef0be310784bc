"""Which ports of which listeners are to be open, where a store may say so, and what it may say. PURE.

A listener of proxy.yaml with `from_store` is a kind of listener: address, certificate, clients and the rest are its
own, and a store chooses its ports from those that are named there. One without is fixed: always open, on its own port.
Not here: opening and closing (`service.store_listeners`), and who asks for it (the control API).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from netfw.config.model import ListenerSection

Listener = tuple[int, str]
"""A port, and HTTP or HTTPS, as the API speaks of listeners."""

PortRange = tuple[int, int]
_RANGE = re.compile(r"(\d{1,5})-(\d{1,5})", re.ASCII)


def parse_ports(value: object) -> PortRange:
    """`8080` or `8080-8089`, both ends included."""
    if isinstance(value, int) and not isinstance(value, bool):
        first = last = value
    else:
        written = _RANGE.fullmatch(value) if isinstance(value, str) else None
        if written is None:
            raise ValueError(f"{value!r} names no ports; write 8080, or 8080-8089")
        first, last = int(written[1]), int(written[2])
    if not 1 <= first <= last <= 65535:
        raise ValueError(f"{value!r} names no ports; write numbers from 1 to 65535, the lower one first")
    return first, last


def shown_ports(ranges: Sequence[PortRange]) -> str:
    """For messages."""
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


@dataclass(frozen=True, slots=True)
class PermittedListeners:
    """What one proxy.yaml permits. `fixed` are open in any case; `choices`: a type, and the ports that it may have."""

    fixed: tuple[Listener, ...]
    choices: tuple[tuple[str, tuple[PortRange, ...]], ...] = ()

    def problem(self, wanted: Collection[Listener]) -> str | None:
        """Why these cannot be the listeners; None when they can."""
        missing = [one for one in self.fixed if one not in wanted]
        refused = [one for one in wanted if one not in self.fixed and not self._may_be(one)]
        if not missing and not refused:
            return None
        words = [f"{_named(refused)} not permitted"] if refused else []
        words += [f"{_named(missing)} always open"] if missing else []
        return f"{' and '.join(words)} by proxy.yaml, where listeners are {self}"

    def _may_be(self, one: Listener) -> bool:
        port, kind = one
        return any(
            kind == its_kind and any(first <= port <= last for first, last in ranges)
            for its_kind, ranges in self.choices
        )

    def __str__(self) -> str:
        fixed = [f"{port} {kind}" for port, kind in self.fixed]
        chosen = [f"{kind} on {shown_ports(ranges)} (from_store)" for kind, ranges in self.choices]
        return ", ".join(fixed + chosen)


def _named(listeners: Sequence[Listener]) -> str:
    names = ", ".join(f"{port} {kind}" for port, kind in sorted(listeners))
    return f"{names} {'is' if len(listeners) == 1 else 'are'}"


def permitted(sections: Sequence[ListenerSection], ports: Sequence[int | None]) -> PermittedListeners:
    """What these permit; `ports`: of each that is fixed, where the kernel may have chosen it."""
    fixed = dict.fromkeys(
        (port or section.port, section.type.value)
        for section, port in zip(sections, ports, strict=True)
        if not section.from_store
    )
    choices = tuple((section.type.value, section.from_store) for section in sections if section.from_store)
    return PermittedListeners(tuple(fixed), choices)


def chosen_ports(
    sections: Sequence[ListenerSection], asked: Collection[Listener] | None
) -> tuple[tuple[int, ...], ...]:
    """For each listener the ports that it is to have. None: nobody asks, so each has its own. Those that are fixed need
    not be asked for.
    """
    if asked is None:
        return tuple((section.port,) for section in sections)
    fixed = {(section.port, section.type.value) for section in sections if not section.from_store}
    free = [one for one in asked if one not in fixed]
    return tuple(
        tuple(sorted(port for port, kind in free if kind == section.type.value and _has(section, port)))
        if section.from_store
        else (section.port,)
        for section in sections
    )


def homeless(sections: Sequence[ListenerSection], asked: Collection[Listener]) -> list[Listener]:
    """Those that no listener with `from_store` has room for, and that no fixed one is."""
    return [
        (port, kind)
        for port, kind in asked
        if not any(
            kind == section.type.value and (_has(section, port) if section.from_store else section.port in (port, 0))
            for section in sections
        )
    ]


def _has(section: ListenerSection, port: int) -> bool:
    return any(first <= port <= last for first, last in section.from_store)
