"""Indexes over the rules of one phase, one for each key that is worth it.

`collect` appends lists of positions: the rules whose indexed condition is true. Those need no further test of that
condition; rules that are not named cannot match. It returns True when the fact is not yet known: then `late` are the
rules that wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from ipaddress import IPv4Address
from operator import attrgetter
from typing import Any

from netfw.policy.checks import address_forms, fact_forms, key_reader
from netfw.policy.comparisons import domain_parts
from netfw.policy.facts import NOT_YET, Facts, Unknown
from netfw.policy.glob_index import GlobIndex
from netfw.policy.globs import has_wildcard
from netfw.policy.keys import Key, Kind
from netfw.policy.lookup_tables import NetworkTable, add_position
from netfw.policy.operators import Comparison, Operator
from netfw.policy.values import AddressRange

Found = list[list[int]]


class Index:
    """What all indexes have: the rules that wait for the fact, and (`two_readings`) those that are ALLOW rules."""

    __slots__ = ("allowing", "late", "late_set", "two_readings")

    def __init__(self) -> None:
        self.late: list[int] = []
        self.late_set: frozenset[int] = frozenset()
        self.allowing: frozenset[int] = frozenset()
        self.two_readings = False

    def add(self, operator: Operator, value: Any, position: int) -> None:
        """Note that the rule at `position` has this value in its indexed condition."""
        raise NotImplementedError

    def finish(self) -> Generator[None, None, None]:
        """Make ready for lookups."""
        raise NotImplementedError

    def collect(self, facts: Facts, found: Found) -> bool:
        """Append what the fact finds; True: the fact is not yet known."""
        raise NotImplementedError

    def parts(self, held: list[Any]) -> Generator[None, None, None]:
        """Append what there is many of, so that whoever frees the index need not do it at once."""
        raise NotImplementedError

    def agree(self, first: Found, second: Found, found: Found) -> None:
        """Two readings of one fact: an ALLOW rule has to be found by both, any other rule by one."""
        one, other = set[int]().union(*first), set[int]().union(*second)
        kept = (one & other) | ((one | other) - self.allowing)
        if kept:
            found.append(sorted(kept))


class NameIndex(Index):
    """Host names: exact ones and `.x` by hash, patterns by their literals."""

    __slots__ = ("_exact", "_patterns", "_read", "_suffixes")

    def __init__(self, key: Key) -> None:
        super().__init__()
        self._read: Callable[[Facts], Any] = attrgetter(key.attribute)
        self._exact: dict[str, list[int]] = {}
        self._suffixes: dict[str, list[int]] = {}
        self._patterns = GlobIndex()

    def add(self, operator: Operator, value: Any, position: int) -> None:
        name, suffix = domain_parts(value)
        if name is not None:
            add_position(self._exact.setdefault(name, []), position)
        if suffix is not None:
            add_position(self._suffixes.setdefault(suffix, []), position)
        if name is None and suffix is None:
            self._patterns.add(value, position)

    def finish(self) -> Generator[None, None, None]:
        yield from self._patterns.finish()

    def parts(self, held: list[Any]) -> Generator[None, None, None]:
        for table in (self._exact, self._suffixes):
            held += table.values()
            yield
        yield from self._patterns.parts(held)

    def collect(self, facts: Facts, found: Found) -> bool:
        host = self._read(facts)
        if host.__class__ is Unknown:
            return host is NOT_YET
        positions = self._exact.get(host)
        if positions is not None:
            found.append(positions)
        suffixes = self._suffixes
        if suffixes:
            place = host.find(".")
            while place >= 0:
                positions = suffixes.get(host[place:])
                if positions is not None:
                    found.append(positions)
                place = host.find(".", place + 1)
        if self._patterns:
            self._patterns.find(host, found)
        return False


class AddressIndex(Index):
    """Addresses in networks, both IP versions; see `checks.address_forms` for addresses within addresses."""

    __slots__ = ("_read", "_tables")

    def __init__(self, key: Key) -> None:
        super().__init__()
        self._read: Callable[[Facts], Any] = attrgetter(key.attribute)
        self._tables = {4: NetworkTable(), 6: NetworkTable()}
        self.two_readings = True

    def add(self, operator: Operator, value: Any, position: int) -> None:
        network: AddressRange = value
        self._tables[network.version].add(network.first, network.last, position)

    def finish(self) -> Generator[None, None, None]:
        for table in self._tables.values():
            yield from table.finish()

    def parts(self, held: list[Any]) -> Generator[None, None, None]:
        for table in self._tables.values():
            held += table.rows()
            yield

    def collect(self, facts: Facts, found: Found) -> bool:
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
            kept = set[int]().union(*inner) - self.allowing
            if kept:
                found.append(sorted(kept))
        return False


class TextIndex(Index):
    """Text, numbers and header fields by value: literals by hash, patterns by their literals."""

    __slots__ = ("_exact", "_fold", "_forms", "_patterns", "_read")

    def __init__(self, key: Key, *, fold: bool) -> None:
        super().__init__()
        self._read = key_reader(key)
        self._fold = fold
        self._exact: dict[Any, list[int]] = {}
        self._patterns = GlobIndex()
        self._forms: Callable[[Any], tuple[Any, ...]] | None = fact_forms(key) if key.kind is Kind.PATH else None
        self.two_readings = key.kind is Kind.PATH

    def add(self, operator: Operator, value: Any, position: int) -> None:
        if operator.comparison is Comparison.LIKE and has_wildcard(value):
            self._patterns.add(value, position)
        else:
            add_position(self._exact.setdefault(value, []), position)

    def finish(self) -> Generator[None, None, None]:
        yield from self._patterns.finish()

    def parts(self, held: list[Any]) -> Generator[None, None, None]:
        held += self._exact.values()
        yield
        yield from self._patterns.parts(held)

    def collect(self, facts: Facts, found: Found) -> bool:
        value = self._read(facts)
        if value.__class__ is Unknown:
            return value is NOT_YET
        if value.__class__ is list:
            for text in value:
                self._find(text, found)
            if len(value) > 1:
                self._find(b", ".join(value), found)
        elif self._forms is None:
            self._find(value, found)
        else:
            forms = self._forms(value)
            if len(forms) == 1:
                self._find(value, found)
            else:
                raw: Found = []
                normal: Found = []
                self._find(forms[0], raw)
                self._find(forms[1], normal)
                self.agree(raw, normal, found)
        return False

    def _find(self, value: Any, found: Found) -> None:
        if self._fold:
            value = value.lower()
        positions = self._exact.get(value)
        if positions is not None:
            found.append(positions)
        if self._patterns:
            self._patterns.find(value, found)


def set_late(index: Index, late: Sequence[int], allowing: Iterable[int]) -> None:
    """Tell an index which of its rules wait for the fact and, where it matters, which ALLOW."""
    index.late = list(late)
    index.late_set = frozenset(late)
    index.allowing = frozenset(allowing)
