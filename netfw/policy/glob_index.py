"""Many patterns at once: which of them can match a text at all is found by a literal, then each of those is verified.

Every pattern is hung up by one literal of it: its head, its tail or a whole word inside it, the first of these that
hardly any others have; by a few octets of one (`gram_table`) where many have each of those. What has no literal at all,
or is one of a few, is tried each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from math import inf
from typing import Any

from netfw.policy.globs import glob_matcher
from netfw.policy.gram_table import GRAM, PAIR, SHORTEST_SAMPLE, GramTable, PairTable, Place, SampleTable
from netfw.policy.large_table import LargeTable, count
from netfw.policy.lookup_tables import HeadTable, add_position
from netfw.policy.slices import Slices, emptied, portions

_FEW_BY_OCTETS = 48
"""Patterns up to which trying each is cheaper than to go through every text for a few octets."""
_FEW_OTHERS = 4
"""Others with the same literal up to which nothing better is looked for."""
_TOLERABLE = 50
"""Others in the same place up to which it is not worth it to go through every text in another way as well."""
_PORTION = 20
_WORD_CHARACTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
_BLANKED = bytes(octet if octet in _WORD_CHARACTERS else 0x20 for octet in range(256))

Found = list[list[int]]


class GlobEntry:
    """One pattern: how to verify it and which rules name it."""

    __slots__ = ("matches", "positions")

    def __init__(self, pattern: Any) -> None:
        self.matches: Callable[[Any], bool] = glob_matcher(pattern)
        self.positions: list[int] = []


Best = tuple[float, str, bytes]
"""How many patterns have the literal, of which kind it is, the literal."""
Row = tuple[GlobEntry, list[bytes], Best]
"""A pattern that is still to be hung up, what stands between its wildcards, what it can be hung up by at best."""


class GlobIndex:
    """Patterns of one key, str or bytes, with the positions of the rules that name them."""

    __slots__ = (
        "_entries",
        "_finders",
        "_grams",
        "_heads",
        "_loose",
        "_pairs",
        "_samples",
        "_tails",
        "_words",
        "_words_known",
    )

    def __init__(self) -> None:
        self._entries: LargeTable[Any, GlobEntry] = LargeTable()
        self._heads: HeadTable[list[GlobEntry]] = HeadTable()
        self._tails: HeadTable[list[GlobEntry]] = HeadTable()
        self._words: LargeTable[bytes, list[GlobEntry]] = LargeTable()
        self._words_known: set[bytes] = set()  # its keys once more, where there is one part
        self._samples: SampleTable[GlobEntry] = SampleTable()
        self._grams: GramTable[GlobEntry] = GramTable()
        self._pairs: PairTable[GlobEntry] = PairTable()
        self._loose: list[GlobEntry] = []
        self._finders: tuple[Callable[[bytes], list[list[GlobEntry]]], ...] = ()

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, pattern: Any, position: int) -> None:
        """Note that the rule at `position` names this pattern. Positions come in ascending order."""
        entries = self._entries.of(pattern)
        entry = entries.get(pattern)
        if entry is None:
            entry = entries[pattern] = GlobEntry(pattern)
        add_position(entry.positions, position)

    def room(self) -> Iterable[None]:
        """Steps that make room for some hundreds of further patterns."""
        return self._entries.room()

    def finish(self) -> Slices:
        """Hang up every pattern; nothing may be added afterwards."""
        rows: Callable[[], Iterable[Row]] = self._rows
        kept: list[Row] = []
        for kind, literals in _KINDS.items():
            shared: LargeTable[bytes, int] = LargeTable()
            for portion in portions(rows(), _PORTION):
                for _, pieces, _ in portion:
                    for literal in literals(pieces):
                        count(shared, literal)
                yield from shared.room()
                yield
            former, kept = kept, []
            for portion in portions(rows(), _PORTION):
                for entry, pieces, best in portion:
                    best = min([best, *[(shared.of(literal)[literal], kind, literal) for literal in literals(pieces)]])
                    if best[0] <= _FEW_OTHERS:
                        self._hang_up(best, entry)
                    else:
                        kept.append((entry, pieces, best))
                for table in (self._heads, self._tails, self._words):
                    yield from table.room()
                yield
            rows = kept.__iter__
            yield from emptied(former)
            yield from shared.emptied()
        few = len(kept) < _FEW_BY_OCTETS
        for portion in portions(kept, _PORTION):
            for entry, pieces, best in portion:
                if few or not self._hang_up_by_octets(best[0], pieces, entry):
                    self._hang_up(best, entry)
            yield from self._samples.room()
            yield
        yield from emptied(kept)
        if self._words.count == 1:
            self._words_known = set(self._words)
            yield
        yield from self._heads.finish()
        yield from self._tails.finish()
        tables = (self._heads, self._tails, self._words, self._samples, self._grams, self._pairs, self._loose)
        finders = (
            self._heads.find,
            self._find_tails,
            self._find_words,
            self._samples.find,
            self._grams.find,
            self._pairs.find,
            self._find_loose,
        )
        self._finders = tuple([find for table, find in zip(tables, finders, strict=True) if table])

    def _rows(self) -> Iterator[Row]:
        return ((entry, _pieces(pattern), _NOTHING) for pattern, entry in self._entries.items())

    def _hang_up(self, best: Best, entry: GlobEntry) -> None:
        _, kind, literal = best
        if kind == "head":
            self._heads.setdefault(literal, []).append(entry)
        elif kind == "tail":
            self._tails.setdefault(literal, []).append(entry)
        elif kind == "word":
            self._words.setdefault(literal, []).append(entry)
        else:
            self._loose.append(entry)

    def _hang_up_by_octets(self, others: float, pieces: list[bytes], entry: GlobEntry) -> bool:
        """By a few octets of a literal, the cheapest way first, unless no place has fewer than `others`."""
        pieces = sorted(set(pieces), key=len, reverse=True)
        table: Any = None
        place: Place = ()
        ways = (
            (self._samples, SHORTEST_SAMPLE, _FEW_OTHERS),
            (self._grams, GRAM, _TOLERABLE),
            (self._pairs, PAIR, _TOLERABLE),
        )
        for candidate, shortest, enough in ways:
            if others <= enough:
                break
            found = candidate.best([piece for piece in pieces if len(piece) >= shortest])
            if found is not None and found[0] < others:
                table, (others, place) = candidate, found
        if table is None:
            return False
        table.add(place, pieces, entry)
        return True

    def dismantle(self) -> Slices:
        """Take it apart, when nobody looks anything up any more."""
        self._finders = ()
        # The entries last: a list of thousands that share a literal goes at once, but frees none of them.
        for table in (self._heads, self._tails, self._samples, self._grams, self._pairs):
            yield from table.dismantle()
        yield from self._words.emptied()
        yield from emptied(self._words_known, self._loose)
        yield from self._entries.emptied()

    def find(self, text: Any, found: Found) -> None:
        """Append the positions of every pattern that the text matches."""
        raw: bytes = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
        for find in self._finders:
            for entries in find(raw):
                for entry in entries:
                    if entry.matches(text):
                        found.append(entry.positions)

    def _find_tails(self, raw: bytes) -> list[list[GlobEntry]]:
        return self._tails.find(raw[::-1])

    def _find_words(self, raw: bytes) -> list[list[GlobEntry]]:
        words = raw.translate(_BLANKED).split()
        if self._words.count > 1:
            return self._words.of_any(words)
        met = self._words_known.intersection(words)  # faster than of a dict's keys
        return [self._words.parts[0][word] for word in met] if met else []

    def _find_loose(self, _raw: bytes) -> list[list[GlobEntry]]:
        return [self._loose]


def _heads_of(pieces: list[bytes]) -> list[bytes]:
    return pieces[:1] if pieces[0] else []


def _tails_of(pieces: list[bytes]) -> list[bytes]:
    return [pieces[-1][::-1]] if pieces[-1] else []


def _words_of(pieces: list[bytes]) -> list[bytes]:
    """Words that stand whole in a text: what touches a wildcard may go on there."""
    found: list[bytes] = []
    last = len(pieces) - 1
    for place, piece in enumerate(pieces):
        blanked = piece.translate(_BLANKED)
        words = blanked.split()
        if words and place > 0 and not blanked.startswith(b" "):
            del words[0]
        if words and place < last and not blanked.endswith(b" "):
            del words[-1]
        found += words
    return found


_KINDS: dict[str, Callable[[list[bytes]], list[bytes]]] = {"head": _heads_of, "tail": _tails_of, "word": _words_of}
"""What a pattern can be hung up by, the cheapest first. Those that many share go on to the next kind."""
_NOTHING: Best = (inf, "loose", b"")


def _pieces(pattern: Any) -> list[bytes]:
    """What stands between the wildcards."""
    raw: bytes = pattern if isinstance(pattern, bytes) else pattern.encode("utf-8", "surrogatepass")
    return raw.replace(b"?", b"*").split(b"*")
