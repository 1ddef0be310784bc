"""A mutation fuzzer for where atheris is not: seeds, mutations, and what behaved in a new way becomes a seed.

No coverage is measured: the word that a target returns stands for it. The same seed number makes the same inputs.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

TOKENS = (
    b"\r\n", b"\n", b"\r", b"\x00", b" ", b"\t", b":", b"\x0b", b"chunked", b"Transfer-Encoding", b"Content-Length",
    b"Host: ", b"Connection: close\r\n", b"HTTP/1.1", b"HTTP/1.0", b"0\r\n\r\n", b"\r\n\r\n", b"1\r\nx\r\n", b"%00",
    b"%", b"#", b"@", b"//", b"\\", b"[", b"]", b"::", b".", b"127.0.0.1", b"xn--", b"\xff", b"\x80", b"*", b"?", b"{",
    b"}", b"- ", b"~", b"&a ", b"*a", b"!!", b"\xc0\x0c", b"\x00\x00", b"\x00\x01", b"\xff\xff", b"\x16\x03\x01",
)  # fmt: skip
NUMBERS = (b"0", b"1", b"-1", b"4294967295", b"18446744073709551616", b"0x10", b"1e9", b"007", b"+1", b"1_0")
LONGEST = 1 << 14


@dataclass(frozen=True)
class Found:
    """An input that broke a promise."""

    data: bytes
    problem: BaseException


def mutate(data: bytes, seeds: list[bytes], chance: random.Random) -> bytes:
    """One to six changes."""
    made = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(made) + 1)
        end = min(len(made), at + chance.choice((1, 2, 4, 16, 64, 1024)))
        match chance.randrange(9):
            case 0 if made:
                made[at % len(made)] ^= 1 << chance.randrange(8)
            case 1 if made:
                made[at % len(made)] = chance.randrange(256)
            case 2:
                made[at:at] = chance.choice(TOKENS)
            case 3:
                made[at:end] = b""
            case 4:
                made[at:at] = made[at:end] * chance.choice((1, 2, 3, 50))
            case 5:
                other = chance.choice(seeds)
                start = chance.randrange(len(other) + 1)
                made[at:end] = other[start : start + chance.randint(1, 200)]
            case 6:
                made[at:end] = chance.choice(NUMBERS)
            case 7:
                made[at:end] = chance.choice(TOKENS)
            case 8:
                del made[at:]
    return bytes(made[:LONGEST])


def fuzz(
    target: Callable[[bytes], str], seeds: list[bytes], seconds: float, *, seed: int = 0, slowest: float = 2.0
) -> tuple[int, int, Found | None]:
    """(inputs tried, ways it behaved, what broke it or None). An input that takes longer than `slowest` broke it."""
    chance = random.Random(seed)
    seeds = [*seeds, b""]
    known: set[str] = set()
    tried = 0
    # Its own time: what else the machine does takes nothing from it.
    end = time.process_time() + seconds
    todo = list(seeds)
    while time.process_time() < end:
        data = todo.pop() if todo else mutate(chance.choice(seeds), seeds, chance)
        begun = time.process_time()
        try:
            how = target(data)
        except Exception as problem:
            return tried, len(known), Found(data, problem)
        spent = time.process_time() - begun
        if spent > slowest:
            return tried, len(known), Found(data, TimeoutError(f"{spent:.1f} s of work for {len(data)} octets"))
        tried += 1
        if how not in known and len(known) < 2000:
            known.add(how)
            seeds.append(data)
    return tried, len(known), None
