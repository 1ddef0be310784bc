"""Fields: the field lines of a header or trailer section, in order and in their own case, with an index by name.

In this room: looking fields up and leaving some out. Not here: what any field means (`framing`, `forwarding`).
RFC 9110, section 5. Every lookup takes the name in lower case.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar

from netfw.http1.errors import FramingError, safe_repr

FieldLine = tuple[bytes, bytes]


class Fields:
    """An immutable sequence of field lines.

    `lines` is the list of (name, value) as received, white space round the value gone; do not change it.
    """

    __slots__ = ("lines", "traits", "_first", "_repeated")

    EMPTY: ClassVar[Fields]

    def __init__(self, lines: Iterable[FieldLine] = ()) -> None:
        self.lines: list[FieldLine] = lines if isinstance(lines, list) else list(lines)
        self.traits: object = None
        """What `traits` made of these fields once and will want again; they never change, so it stays true."""
        # The index is made at the first look-up: heads that are only printed never need one.
        self._first: dict[bytes, bytes] | None = None
        self._repeated: dict[bytes, list[bytes]] | None = None

    def _index(self) -> dict[bytes, bytes]:
        """The values by name in lower case; where a name is repeated the last one, and all of them in `_repeated`.

        In the usual head no name is repeated: then this one dict is the whole index, in the order of the lines.
        """
        self._first = first = {name.lower(): value for name, value in self.lines}
        if len(first) != len(self.lines):
            repeated: dict[bytes, list[bytes]] = {}
            for name, value in self.lines:
                repeated.setdefault(name.lower(), []).append(value)
            self._repeated = repeated
        return first

    def get_all(self, name: bytes) -> list[bytes]:
        """The values of every line of this name, in order; empty when there is none."""
        first = self._index() if self._first is None else self._first
        if self._repeated is not None:
            return list(self._repeated.get(name, ()))
        return [first[name]] if name in first else []

    def single(self, name: bytes) -> bytes | None:
        """The value of a field that may stand once only. Raises FramingError when it stands twice, equal or not."""
        first = self._index() if self._first is None else self._first
        if self._repeated is not None and len(self._repeated.get(name, ())) > 1:
            raise FramingError(f"field {safe_repr(name)} is repeated")
        return first.get(name)

    def joined(self, name: bytes) -> bytes | None:
        """All values of this name as one list value (RFC 9110, section 5.3), or None when there is none."""
        first = self._index() if self._first is None else self._first
        if self._repeated is not None:
            values = self._repeated.get(name)
            return None if values is None else b", ".join(values)
        return first.get(name)

    def has(self, name: bytes) -> bool:
        """Whether there is a line of this name."""
        return name in (self._index() if self._first is None else self._first)

    def has_any(self, names: frozenset[bytes]) -> bool:
        """Whether there is a line of any of these names."""
        return not names.isdisjoint(self._index() if self._first is None else self._first)

    def names(self) -> Iterable[bytes]:
        """The different names in lower case, in order of first appearance."""
        return (self._index() if self._first is None else self._first).keys()

    def tokens(self, name: bytes) -> list[bytes]:
        """The elements of a comma-separated list of tokens (RFC 9110, section 5.6.1), in lower case.

        Empty elements are left out. Quoted strings are not looked into: for fields whose elements are tokens.
        """
        value = self.joined(name)
        if value is None:
            return []
        elements = [element.strip(b" \t") for element in value.lower().split(b",")]
        return [element for element in elements if element]

    def lowered(self) -> Iterator[tuple[bytes, FieldLine]]:
        """Each line with its name in lower case."""
        first = self._index() if self._first is None else self._first
        if self._repeated is None:
            return zip(first, self.lines, strict=True)
        return ((line[0].lower(), line) for line in self.lines)

    def without(self, names: frozenset[bytes]) -> Fields:
        """These fields less every line of these names; the same object when there is none to leave out."""
        if not self.has_any(names):
            return self
        return Fields([line for name, line in self.lowered() if name not in names])

    def __len__(self) -> int:
        return len(self.lines)

    def __iter__(self) -> Iterator[FieldLine]:
        return iter(self.lines)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fields) and self.lines == other.lines

    def __hash__(self) -> int:
        return hash(tuple(self.lines))

    def __repr__(self) -> str:
        # Values may be secrets (Authorization, Cookie), so only names are shown.
        return f"<Fields {b', '.join(name for name, _ in self.lines)!r}>"


Fields.EMPTY = Fields()
