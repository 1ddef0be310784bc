"""Patterns of `StringLike`: `*` is any run, `?` is one character, and the whole value has to match.

A pattern is cut at its stars; head and tail are compared in place and what is between them is looked for from left to
right. Taking the leftmost place is enough, so nothing is ever tried twice and no pattern takes exponential time.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

Text = TypeVar("Text", str, bytes)

_LONG = 4096


def _star(pattern: Text) -> Text:
    return "*" if isinstance(pattern, str) else b"*"


def _mark(pattern: Text) -> Text:
    return "?" if isinstance(pattern, str) else b"?"


def has_wildcard(pattern: Text) -> bool:
    """Whether the pattern is more than a literal."""
    return _star(pattern) in pattern or _mark(pattern) in pattern


def glob_matcher(pattern: Text) -> Callable[[Text], bool]:
    """A function that says whether a whole text matches."""
    if _mark(pattern) in pattern:
        return _with_marks(pattern) if len(pattern) <= _LONG else _when_long_enough(pattern)
    star = _star(pattern)
    if star not in pattern:
        return lambda text: text == pattern
    pieces = pattern.split(star)
    head, tail = pieces[0], pieces[-1]
    middle = tuple(piece for piece in pieces[1:-1] if piece)
    ends = len(head) + len(tail)
    if middle:
        return _with_middle(head, middle, tail)
    if not ends:
        return lambda _text: True
    if not tail:
        return lambda text: text.startswith(head)
    if not head:
        return lambda text: text.endswith(tail)
    return lambda text: len(text) >= ends and text.startswith(head) and text.endswith(tail)


def _with_middle(head: Text, middle: tuple[Text, ...], tail: Text) -> Callable[[Text], bool]:
    if len(middle) == 1 and not head and not tail:
        only = middle[0]
        return lambda text: text.find(only) >= 0  # of bytes twice as fast as `in`
    start, end = len(head), len(tail)
    shortest = start + end + sum(map(len, middle))

    def matches(text: Text) -> bool:
        if len(text) < shortest or not text.startswith(head) or not text.endswith(tail):
            return False
        place, limit = start, len(text) - end
        for piece in middle:
            place = text.find(piece, place, limit)
            if place < 0:
                return False
            place += len(piece)
        return True

    return matches


def _when_long_enough(pattern: Text) -> Callable[[Text], bool]:
    """The expressions of a very long pattern take long to make: that waits for a text that it may match."""
    shortest = len(pattern) - pattern.count(_star(pattern))
    made: list[Callable[[Text], bool]] = []

    def matches(text: Text) -> bool:
        if len(text) < shortest:
            return False
        if not made:
            made.append(_with_marks(pattern))
        return made[0](text)

    return matches


def _with_marks(pattern: Text) -> Callable[[Text], bool]:
    """Pieces with `?` have a fixed length: each is a regular expression of literals and dots, without repetition."""
    mark, dot = _mark(pattern), "." if isinstance(pattern, str) else b"."

    def expression(piece: Text) -> re.Pattern[Text]:
        return re.compile(dot.join(map(re.escape, piece.split(mark))), re.DOTALL)

    star = _star(pattern)
    if star not in pattern:
        whole = expression(pattern)
        return lambda text: whole.fullmatch(text) is not None
    pieces = pattern.split(star)
    head, tail = pieces[0], pieces[-1]
    first, last = expression(head), expression(tail)
    between = [(expression(piece), len(piece)) for piece in pieces[1:-1] if piece]
    start, end = len(head), len(tail)

    def matches(text: Text) -> bool:
        limit = len(text) - end
        if limit < start or first.match(text) is None or last.match(text, limit) is None:
            return False
        place = start
        for piece, length in between:
            found = piece.search(text, place, limit)
            if found is None:
                return False
            place = found.start() + length
        return True

    return matches
