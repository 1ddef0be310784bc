"""Whether a name and a password belong together: hashed in threads, remembered for a while, bounded in every way.

In this room: the check, its caches and its limits. Not here: how they are asked for (`authentication`), and hashes
(`config.password_hash`).

What was right lately is right without a hash, and so is what was wrong. Both are remembered as keyed digests (the key
is this process's own), so that no password stays in memory and looking one up tells nothing by its time. An address
that guesses may have so many wrong ones a minute; who is remembered gets in all the same.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Any

from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.threads import deferToThreadPool

from netfw.config.password_hash import PasswordHash
from netfw.config.users_file import Users
from netfw.errors import Overloaded, TooManyRequests

REMEMBERED = 300.0
"""Seconds."""
MOST_REMEMBERED = 8192
MOST_WAITING = 64
AT_ONCE = 2
WRONG_AT_ONCE = 10
WRONG_EVERY = 6.0
"""Seconds for one more wrong one."""
MOST_ADDRESSES = 8192
LONGEST = 1024
_WAIT = "too many wrong passwords came from this address"

Address = IPv4Address | IPv6Address


class Passwords:
    """`now` is a monotonic clock."""

    def __init__(self, users: Users, reactor: Any, now: Callable[[], float]) -> None:
        self._reactor = reactor
        self._now = now
        self._key = os.urandom(32)
        self._threads = DeferredSemaphore(AT_ONCE)
        self._wrong_at: OrderedDict[object, float] = OrderedDict()
        self.renew(users)

    def renew(self, users: Users) -> None:
        """Other users. Nothing that was found out before counts; what is being hashed is thrown away."""
        self._users = users
        # Somebody to hash for when there is no such user: the answer must take as long.
        self._stand_in = next(iter(users.values()))
        self._known: OrderedDict[bytes, tuple[bool, float]] = OrderedDict()
        self._waiting: dict[bytes, list[Deferred[bool]]] = {}

    def check(self, address: Address, name: str, password: bytes) -> bool | Deferred[bool]:
        """Whether it is this user's password. Raises TooManyRequests or Overloaded."""
        if len(password) > LONGEST:
            return False
        digest = self._digest(name, password)
        known = self._known.get(digest)
        if known is not None and self._now() < known[1]:
            return known[0]
        callers = self._waiting.get(digest)
        if callers is None:
            self._count_attempt(address)
            if len(self._waiting) >= MOST_WAITING:
                raise Overloaded("more passwords are being checked than the proxy can do at once")
            callers = self._waiting[digest] = []
            self._hash(address, name, password, digest)
        caller: Deferred[bool] = Deferred()
        callers.append(caller)
        return caller

    def _hash(self, address: Address, name: str, password: bytes, digest: bytes) -> None:
        user = self._users.get(name)
        waiting = self._waiting
        hashed = self._threads.run(self._in_thread, user or self._stand_in, password)
        hashed.addCallback(lambda matches: matches and user is not None)

        def finish(result: Any) -> None:
            for caller in waiting.pop(digest, []):
                caller.callback(result)

        def judged(is_right: bool) -> bool:
            if waiting is not self._waiting:
                return False  # the users are others now: who asks again is judged by these
            self._remember(digest, is_right)
            if is_right:
                self._wrong_at.pop(_source(address), None)
            return is_right

        hashed.addCallback(judged).addBoth(finish)

    def _in_thread(self, hashed: PasswordHash, password: bytes) -> Deferred[bool]:
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), hashed.matches, password)

    def _digest(self, name: str, password: bytes) -> bytes:
        # The length makes it one reading: a name holds no NUL, but a password may.
        said = b"%d:%b%b" % (len(name), name.encode("utf-8", "surrogateescape"), password)
        return hmac.new(self._key, said, hashlib.sha256).digest()

    def _remember(self, digest: bytes, is_right: bool) -> None:
        self._known[digest] = is_right, self._now() + REMEMBERED
        while len(self._known) > MOST_REMEMBERED:
            self._known.popitem(last=False)

    def _count_attempt(self, address: Address) -> None:
        """Count one that may be wrong; a right one gives all back. As in `rates`: the time when all are there again."""
        source, now = _source(address), self._now()
        whole_at = max(self._wrong_at.get(source, 0.0), now) + WRONG_EVERY
        wait = whole_at - now - WRONG_AT_ONCE * WRONG_EVERY
        if wait > 1e-6:
            raise TooManyRequests(_WAIT, retry_after=int(wait) + 1)
        self._wrong_at[source] = whole_at
        self._wrong_at.move_to_end(source)
        while len(self._wrong_at) > MOST_ADDRESSES:
            self._wrong_at.popitem(last=False)


def _source(address: Address) -> object:
    """Who has one IPv6 address has a whole network of them."""
    return IPv6Network((int(address) >> 64 << 64, 64)) if address.version == 6 else address
