"""Many patterns at once: which of them can match a text at all is found by a literal, then each of those is verified.

Every pattern is hung up by one literal of it: its head, its tail, a whole word inside it or three octets in a row
(`gram_table`), whichever the fewest others share; by two octets if there is nothing better. What has no literal at all,
or is one of a few, is tried each time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from netfw.policy.globs import glob_matcher
from netfw.policy.gram_table import GramTable
from netfw.policy.lookup_tables import HeadTable, add_position
from netfw.policy.slices import Slices, emptied, grows_soon, portions

_FEW_GRAMS = 48
_PORTION = 50
_WORD_CHARACTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
_LETTERS = b"etaoinsrhldcumpfgwybvkxjqz"
_USUAL = [max(26 - _LETTERS.find(octet), 1) if octet in _LETTERS else 8 for octet in range(256)]
"""How often an octet is met in texts, roughly: letters by their frequency in English."""
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

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, pattern: Any, position: int) -> None:
        """Note that the rule at `position` names this pattern. Positions come in ascending order."""
        entry = self._entries.get(pattern)
        if entry is None:
            entry = self._entries[pattern] = GlobEntry(pattern)
        add_position(entry.positions, position)

    def finish(self) -> Slices:
        """Hang up every pattern; nothing may be added afterwards."""
        shared: dict[str, Counter[Any]] = {}
        for kind, counted in _KINDS.items():
            counter: Counter[Any] = Counter()
            shared[kind] = counter
            # A kind at a time: large counters that grow at the same step would make it a long one.
            for portion in portions(self._entries, _PORTION):
                for pattern in portion:
                    counter.update(counted(_pieces(pattern)))
                yield grows_soon(len(counter))
        by_gram: list[tuple[str, Any, GlobEntry, list[bytes]]] = []
        for portion in portions(self._entries.items(), _PORTION):
            for pattern, entry in portion:
                kind, literal = min(
                    _literals(_pieces(pattern)), key=lambda found: _cost(found, shared), default=("loose", b"")
                )
                self._hang_up(kind, literal, entry, by_gram, pattern)
            yield grows_soon(len(self._heads), len(self._tails), len(self._words))
        if len(by_gram) < _FEW_GRAMS:
            self._loose += [entry for _, _, entry, _ in by_gram]
        else:
            grams = shared["gram"]
            for portion in portions(by_gram):
                for kind, literal, entry, pieces in portion:
                    if kind == "pair":
                        self._grams.add_pair(literal, pieces, entry)
                    else:
                        self._grams.add(literal, pieces, entry, grams.__getitem__)
                yield grows_soon(*self._grams.sizes())
        yield from emptied(by_gram, *shared.values())
        yield from self._heads.finish()
        yield from self._tails.finish()

    def _hang_up(self, kind: str, literal: Any, entry: GlobEntry, by_gram: list[Any], pattern: Any) -> None:
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

    def dismantle(self) -> Slices:
        """Take it apart, when nobody looks anything up any more."""
        # The entries last: a list of thousands that share a literal goes at once, but frees none of them.
        for table in (self._heads, self._tails, self._grams):
            yield from table.dismantle()
        yield from emptied(self._words, self._loose, self._entries)

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


def _heads_of(pieces: list[bytes]) -> list[Any]:
    return pieces[:1] if pieces[0] else []


def _tails_of(pieces: list[bytes]) -> list[Any]:
    return [pieces[-1][::-1]] if pieces[-1] else []


def _words_of(pieces: list[bytes]) -> list[Any]:
    """Words that stand whole in a text: what touches a wildcard may go on there."""
    found: list[Any] = []
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


def _grams_of(pieces: list[bytes]) -> list[Any]:
    return [gram for piece in pieces for gram in zip(piece, piece[1:], piece[2:], strict=False)]


def _pairs_of(pieces: list[bytes]) -> list[Any]:
    return [piece for piece in pieces if len(piece) == 2]


_KINDS: dict[str, Callable[[list[bytes]], list[Any]]] = {
    "head": _heads_of,
    "tail": _tails_of,
    "word": _words_of,
    "gram": _grams_of,
    "pair": _pairs_of,
}
"""What a pattern can be hung up by; the cheapest kind first."""


def _literals(pieces: list[bytes]) -> list[tuple[str, Any]]:
    """(kind, literal) of all literals that the pattern can be hung up by; pairs only where there is nothing else."""
    found = [(kind, literal) for kind in ("head", "tail", "word", "gram") for literal in _KINDS[kind](pieces)]
    return found or [("pair", pair) for pair in _pairs_of(pieces)]


def _cost(found: tuple[str, Any], shared: dict[str, Counter[Any]]) -> int:
    """How dear it is to hang a pattern up by this: how many share it, and how usual two letters are in texts."""
    kind, literal = found
    patterns = shared[kind][literal]
    return patterns * _USUAL[literal[0]] * _USUAL[literal[1]] if kind == "pair" else patterns


def _pieces(pattern: Any) -> list[bytes]:
    """What stands between the wildcards."""
    raw: bytes = pattern if isinstance(pattern, bytes) else pattern.encode("utf-8", "surrogatepass")
    return raw.replace(b"?", b"*").split(b"*")
