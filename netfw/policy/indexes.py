"""Indexes over the rules of one phase, one for each key that is worth it.

`collect` appends lists of positions: the rules whose indexed condition is true. Those need no further test of that
condition; rules that are not named cannot match. It returns True when the fact is not yet known: then `late` are the
rules that wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address
from itertools import chain
from operator import attrgetter
from typing import Any

from netfw.policy.checks import address_forms, key_reader, normal_form
from netfw.policy.comparisons import domain_parts
from netfw.policy.facts import NOT_YET, Unknown
from netfw.policy.glob_index import GlobIndex
from netfw.policy.globs import has_wildcard
from netfw.policy.keys import Key, Kind
from netfw.policy.large_table import LargeTable
from netfw.policy.lookup_tables import NetworkTable, add_position
from netfw.policy.operators import Comparison, Operator
from netfw.policy.slices import Slices
from netfw.policy.values import AddressRange

Found = list[list[int]]


class Index:
    """What all indexes have: the rules that wait for the fact, in order, and for each position whether its rule allows
    (1 or 0), which matters where a fact has two readings.
    """

    __slots__ = ("allowing", "late")

    def __init__(self) -> None:
        self.late: list[int] = []
        self.allowing: bytes | bytearray = b""

    def add(self, operator: Operator, value: Any, position: int) -> None:
        """Note that the rule at `position` has this value in its indexed condition."""
        raise NotImplementedError

    def finish(self) -> Slices:
        """Make ready for lookups."""
        raise NotImplementedError

    def collect(self, facts: Any, found: Found) -> bool:
        """Append what the fact finds; True: the fact is not yet known. `facts` needs to have no more than this one."""
        raise NotImplementedError

    def room(self) -> Iterable[None]:
        """Steps that make room for some hundreds of further values."""
        raise NotImplementedError

    def dismantle(self) -> Slices:
        """Take it apart, when nobody looks anything up any more."""
        raise NotImplementedError

    def agree(self, first: Found, second: Found, found: Found) -> None:
        """Two readings of one fact: an ALLOW rule has to be found by both, any other rule by one."""
        one, other = set[int]().union(*first), set[int]().union(*second)
        allowing = self.allowing
        kept = [
            position for position in one | other if not allowing[position] or (position in one and position in other)
        ]
        if kept:
            found.append(sorted(kept))


class NameIndex(Index):
    """Host names: exact ones and `.x` by hash, patterns by their literals."""

    __slots__ = ("_exact", "_has_patterns", "_has_suffixes", "_patterns", "_read", "_suffixes")

    def __init__(self, key: Key) -> None:
        super().__init__()
        self._read: Callable[[Any], Any] = attrgetter(key.attribute)
        self._exact: LargeTable[str, list[int]] = LargeTable()
        self._suffixes: LargeTable[str, list[int]] = LargeTable()
        self._has_suffixes = False
        self._patterns = GlobIndex()
        self._has_patterns = False

    def add(self, operator: Operator, value: Any, position: int) -> None:
        name, suffix = domain_parts(value)
        if name is not None:
            add_position(self._exact.setdefault(name, []), position)
        if suffix is not None:
            add_position(self._suffixes.setdefault(suffix, []), position)
            self._has_suffixes = True
        if name is None and suffix is None:
            self._patterns.add(value, position)

    def finish(self) -> Slices:
        yield from self._patterns.finish()
        self._has_patterns = len(self._patterns) > 0

    def room(self) -> Iterable[None]:
        return chain(self._exact.room(), self._suffixes.room(), self._patterns.room())

    def dismantle(self) -> Slices:
        yield from self._exact.emptied()
        yield from self._suffixes.emptied()
        yield from self._patterns.dismantle()

    def collect(self, facts: Any, found: Found) -> bool:
        host = self._read(facts)
        if host.__class__ is Unknown:
            return host is NOT_YET
        exact = self._exact
        positions = (exact.parts[hash(host) % exact.count] if exact.count > 1 else exact.parts[0]).get(host)
        if positions is not None:
            found.append(positions)
        if self._has_suffixes:
            parts, count = self._suffixes.parts, self._suffixes.count
            place = host.find(".")
            while place >= 0:
                zone = host[place:]
                positions = (parts[hash(zone) % count] if count > 1 else parts[0]).get(zone)
                if positions is not None:
                    found.append(positions)
                place = host.find(".", place + 1)
        if self._has_patterns:
            self._patterns.find(host, found)
        return False


class AddressIndex(Index):
    """Addresses in networks, both IP versions; see `checks.address_forms` for addresses within addresses."""

    __slots__ = ("_read", "_tables")

    def __init__(self, key: Key) -> None:
        super().__init__()
        self._read: Callable[[Any], Any] = attrgetter(key.attribute)
        self._tables = {4: NetworkTable(), 6: NetworkTable()}

    def add(self, operator: Operator, value: Any, position: int) -> None:
        network: AddressRange = value
        self._tables[network.version].add(network.first, network.last, position)

    def finish(self) -> Slices:
        for table in self._tables.values():
            yield from table.finish()

    def room(self) -> Iterable[None]:
        return chain(self._tables[4].room(), self._tables[6].room())

    def dismantle(self) -> Slices:
        for table in self._tables.values():
            yield from table.dismantle()

    def collect(self, facts: Any, found: Found) -> bool:
        address = self._read(facts)
        if address.__class__ is IPv4Address:
            self._tables[4].find(int(address), found)
            return False
        if address.__class__ is Unknown:
            return address is NOT_YET
        forms = address_forms(address)
        version, number = forms[0]
        self._tables[version].find(number, found)
        for version, number in forms[1:]:
            inner: Found = []
            self._tables[version].find(number, inner)
            kept = [position for position in set[int]().union(*inner) if not self.allowing[position]]
            if kept:
                found.append(sorted(kept))
        return False


class TextIndex(Index):
    """Text, numbers and header fields by value: literals by hash, patterns by their literals."""

    __slots__ = ("_exact", "_fold", "_has_patterns", "_normal", "_patterns", "_read")

    def __init__(self, key: Key, *, fold: bool) -> None:
        super().__init__()
        self._read = key_reader(key)
        self._fold = fold
        self._exact: LargeTable[Any, list[int]] = LargeTable()
        self._patterns = GlobIndex()
        self._has_patterns = False
        self._normal = normal_form(key) if key.kind is Kind.PATH else None

    def add(self, operator: Operator, value: Any, position: int) -> None:
        if operator.comparison is Comparison.LIKE and has_wildcard(value):
            self._patterns.add(value, position)
        else:
            add_position(self._exact.setdefault(value, []), position)

    def finish(self) -> Slices:
        yield from self._patterns.finish()
        self._has_patterns = len(self._patterns) > 0

    def room(self) -> Iterable[None]:
        return chain(self._exact.room(), self._patterns.room())

    def dismantle(self) -> Slices:
        yield from self._exact.emptied()
        yield from self._patterns.dismantle()

    def collect(self, facts: Any, found: Found) -> bool:
        value = self._read(facts)
        if value.__class__ is Unknown:
            return value is NOT_YET
        if value.__class__ is list:
            for text in value:
                self._find(text, found)
            if len(value) > 1:
                self._find(b", ".join(value), found)
        elif self._normal is None or (other := self._normal(value)) == value:
            self._find(value, found)
        else:
            raw: Found = []
            normal: Found = []
            self._find(value, raw)
            self._find(other, normal)
            self.agree(raw, normal, found)
        return False

    def _find(self, value: Any, found: Found) -> None:
        if self._fold:
            value = value.lower()
        exact = self._exact
        positions = (exact.parts[hash(value) % exact.count] if exact.count > 1 else exact.parts[0]).get(value)
        if positions is not None:
            found.append(positions)
        if self._has_patterns:
            self._patterns.find(value, found)
