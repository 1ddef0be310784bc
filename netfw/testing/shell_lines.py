"""The simple commands in a text of shell, taken apart without running it.

PURE. In this room: quotes, substitutions, comments, redirections and what separates commands; enough of the shell's
language (POSIX 2.3, 2.9) for what documentation types. Not here: whether it is right as a whole (`bash -n` says that)
and what the commands mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_BEFORE = {"if", "then", "else", "elif", "while", "until", "do", "{", "!", "exec", "time", "sudo", "nohup", "setsid"}
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
UNKNOWN = "…"
"""Stands in a word for what only running would tell."""


def simple_commands(text: str) -> list[list[str]]:
    """Words of each command, innermost substitutions first; words before the program's name are left out."""
    found: list[list[str]] = []
    _Scanner(text, found).commands(closing="")
    return [words for words in map(_program, found) if words]


def _program(words: list[str]) -> list[str]:
    while words and (words[0] in _BEFORE or _ASSIGNMENT.match(words[0])):
        words = words[1:]
    if words and words[0] in ("runuser", "env", "ip") and "--" in words:
        return _program(words[words.index("--") + 1 :])
    return words


class _Scanner:
    def __init__(self, text: str, found: list[list[str]]) -> None:
        self._text = text
        self._at = 0
        self._found = found

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _next(self) -> str:
        self._at += 1
        return self._text[self._at - 1 : self._at]

    def commands(self, closing: str) -> None:
        """Read commands up to `closing`, which is eaten, or the end."""
        words: list[str] = []
        redirected = False
        while (letter := self._peek()) and letter != closing:
            if letter in " \t":
                self._at += 1
            elif letter == "#":
                while self._peek() not in ("\n", ""):
                    self._at += 1
            elif letter in "<>":
                while self._peek() and self._peek() in "<>&|":
                    self._at += 1
                redirected = True
            elif letter in ";&|\n()":
                self._at += 1
                self._found.append(words)
                words, redirected = [], False
            else:
                word = "".join(self._word(closing))
                if re.fullmatch(r"\d", word) and self._peek() in ("<", ">"):
                    continue
                if not redirected and word:
                    words.append(word)
                redirected = False
        self._at += 1
        self._found.append(words)

    def _word(self, closing: str) -> Iterator[str]:
        while (letter := self._peek()) and letter not in " \t\n;&|<>()" and letter != closing:
            self._at += 1
            if letter == "\\":
                following = self._next()
                yield "" if following == "\n" else following
            elif letter == "'":
                while (quoted := self._next()) not in ("'", ""):
                    yield quoted
            elif letter == '"':
                yield from self._double()
            elif letter == "$":
                yield from self._dollar()
            elif letter == "`":
                self.commands("`")
                yield UNKNOWN
            else:
                yield letter

    def _double(self) -> Iterator[str]:
        while (letter := self._next()) not in ('"', ""):
            if letter == "\\":
                following = self._next()
                yield following if following in '"$`\\' else "" if following == "\n" else f"\\{following}"
            elif letter == "$":
                yield from self._dollar()
            else:
                yield letter

    def _dollar(self) -> Iterator[str]:
        if self._peek() == "(":
            self._at += 1
            self.commands(")")
        elif self._peek() == "{":
            while self._next() not in ("}", ""):
                pass
        else:
            name = re.compile(r"\w+|[?$#@*!-]").match(self._text, self._at)
            self._at = name.end() if name else self._at
        yield UNKNOWN
