"""Many patterns at once: which of them can match a text at all is found by a literal, then each of those is verified.

Every pattern is hung up by one literal of it: its head, its tail, a whole word inside it or three octets in a row
(`gram_table`), whichever the fewest others share; by two octets if there is nothing better. What has no literal at all,
or is one of a few, is tried each time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator
from typing import Any

from netfw.policy.globs import glob_matcher
from netfw.policy.gram_table import GramTable
from netfw.policy.lookup_tables import HeadTable, add_position

_FEW_GRAMS = 48
_SLICE = 200
_WORD_CHARACTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
_BLANKED = bytes(octet if octet in _WORD_CHARACTERS else 0x20 for octet in range(256))


class GlobEntry:
    """One pattern: how to verify it and which rules name it."""

    __slots__ = ("matches", "positions")

    def __init__(self, pattern: Any) -> None:
        self.matches: Callable[[Any], bool] = glob_matcher(pattern)
        self.positions: list[int] = []


class GlobIndex:
    """Patterns of one key, str or bytes, with the positions of the rules that name them."""

    __slots__ = ("_entries", "_grams", "_heads", "_loose", "_tails", "_words")

    def __init__(self) -> None:
        self._entries: dict[Any, GlobEntry] = {}
        self._heads: HeadTable[list[GlobEntry]] = HeadTable()
        self._tails: HeadTable[list[GlobEntry]] = HeadTable()
        self._words: dict[bytes, list[GlobEntry]] = {}
        self._grams: GramTable[GlobEntry] = GramTable()
        self._loose: list[GlobEntry] = []

    def __bool__(self) -> bool:
        return bool(self._entries)

    def add(self, pattern: Any, position: int) -> None:
        """Note that the rule at `position` names this pattern. Positions come in ascending order."""
        entry = self._entries.get(pattern)
        if entry is None:
            entry = self._entries[pattern] = GlobEntry(pattern)
        add_position(entry.positions, position)

    def finish(self) -> Generator[None, None, None]:
        """Hang up every pattern; nothing may be added afterwards."""
        literals = {}
        shared: Counter[tuple[str, Any]] = Counter()
        for number, pattern in enumerate(self._entries):
            literals[pattern] = found = _literals(pattern)
            shared.update(found)
            if number % _SLICE == 0:
                yield
        by_gram: list[tuple[str, Any, GlobEntry, list[bytes]]] = []
        for number, (pattern, entry) in enumerate(self._entries.items()):
            kind: str
            literal: Any
            kind, literal = min(literals[pattern], key=shared.__getitem__, default=("loose", b""))
            if kind == "head":
                self._heads.setdefault(literal, []).append(entry)
            elif kind == "tail":
                self._tails.setdefault(literal, []).append(entry)
            elif kind == "word":
                self._words.setdefault(literal, []).append(entry)
            elif kind == "gram" or kind == "pair":
                by_gram.append((kind, literal, entry, _pieces(pattern)))
            else:
                self._loose.append(entry)
            if number % _SLICE == 0:
                yield
        if len(by_gram) < _FEW_GRAMS:
            self._loose += [entry for _, _, entry, _ in by_gram]
        else:
            for number, (kind, literal, entry, pieces) in enumerate(by_gram):
                if kind == "pair":
                    self._grams.add_pair(literal, pieces, entry)
                else:
                    self._grams.add(literal, max(pieces, key=len), entry, lambda gram: shared["gram", gram])
                if number % _SLICE == 0:
                    yield
        yield
        yield from self._heads.finish()
        yield from self._tails.finish()

    def parts(self, held: list[Any]) -> Generator[None, None, None]:
        """Append the patterns; see `Index.parts`."""
        held += self._entries.values()
        yield

    def find(self, text: Any, found: list[list[int]]) -> None:
        """Append the positions of every pattern that the text matches."""
        raw: bytes = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
        candidates = self._heads.find(raw) if self._heads else []
        if self._tails:
            candidates += self._tails.find(raw[::-1])
        if self._words:
            words = raw.translate(_BLANKED).split()
            if not self._words.keys().isdisjoint(words):
                candidates += [self._words[word] for word in set(words) if word in self._words]
        if self._grams:
            candidates += self._grams.find(raw)
        if self._loose:
            candidates.append(self._loose)
        for entries in candidates:
            for entry in entries:
                if entry.matches(text):
                    found.append(entry.positions)


def _literals(pattern: Any) -> list[tuple[str, Any]]:
    """(kind, literal) of all literals that the pattern can be hung up by; the cheapest kind first."""
    pieces = _pieces(pattern)
    found: list[tuple[str, Any]] = []
    if pieces[0]:
        found.append(("head", pieces[0]))
    if pieces[-1]:
        found.append(("tail", pieces[-1][::-1]))
    last = len(pieces) - 1
    for place, piece in enumerate(pieces):
        blanked = piece.translate(_BLANKED)
        words = blanked.split()
        if words and place > 0 and not blanked.startswith(b" "):
            del words[0]
        if words and place < last and not blanked.endswith(b" "):
            del words[-1]
        found += [("word", word) for word in words]
    for piece in pieces:
        found += [("gram", gram) for gram in zip(piece, piece[1:], piece[2:], strict=False)]
    return found or [("pair", piece) for piece in pieces if len(piece) == 2]


def _pieces(pattern: Any) -> list[bytes]:
    """What stands between the wildcards."""
    raw: bytes = pattern if isinstance(pattern, bytes) else pattern.encode("utf-8", "surrogatepass")
    return raw.replace(b"?", b"*").split(b"*")
