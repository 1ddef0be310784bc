"""The context for each intercepted host: made of its leaf, kept, renewed.

In here: a bounded cache of contexts and the one request for a leaf that many handshakes may wait for. Not in here:
which hosts are intercepted (`proxy`), what a leaf says (`x509.leaf`), what a context allows (`contexts`).
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Union

from OpenSSL import SSL
from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from netfw.interfaces import ICertificateIssuer
from netfw.names.host import Host
from netfw.tls.contexts import leaf_context
from netfw.transport.turns import Turns
from netfw.x509.leaf import Leaf


def _fired(result: Leaf | Failure) -> Deferred[Leaf]:
    return fail(result) if isinstance(result, Failure) else succeed(result)


class _Entry:
    __slots__ = ("begins_at", "context", "ends_at", "renew_at")

    def __init__(self, leaf: Leaf) -> None:
        self.context = leaf_context(leaf)
        self.begins_at = leaf.not_before.timestamp()
        self.renew_at = leaf.renew_at.timestamp()
        self.ends_at = leaf.not_after.timestamp()


class InterceptionContexts:
    """Server contexts by canonical host; at most `capacity`, the least recently used goes first.

    With `turns`, many that are asked for at once are made a few in each turn of the reactor.
    """

    def __init__(
        self,
        issuer: ICertificateIssuer,
        capacity: int,
        *,
        seconds: Callable[[], float] = time.time,
        turns: Turns | None = None,
    ) -> None:
        if capacity < 1:
            raise ValueError(f"at least one context must fit, not {capacity}")
        self._issuer = issuer
        self._capacity = capacity
        self._seconds = seconds
        self._turns = turns
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._waiting: dict[str, list[Deferred[SSL.Context]]] = {}
        self.found = 0
        """How often a context was there; `made`: how often one was made for a new leaf."""
        self.made = 0

    def __len__(self) -> int:
        return len(self._entries)

    def context_for(self, host: Host) -> Union[SSL.Context, Deferred[SSL.Context]]:
        """The context that shows a leaf for this host: itself when it is kept here, else a Deferred of it.

        Fails with what the issuer fails with, unless an earlier leaf is still valid. Cancelling withdraws this caller
        only.
        """
        text = host.text
        entry = self._entries.get(text)
        # A clock that was set back makes a leaf of the time before it one that is not valid yet.
        if entry is not None and entry.begins_at <= self._seconds() < entry.renew_at:
            self._entries.move_to_end(text)
            self.found += 1
            return entry.context
        waiting = self._waiting.get(text)
        asked = waiting is not None
        if waiting is None:
            waiting = self._waiting[text] = []
        caller: Deferred[SSL.Context] = Deferred(waiting.remove)
        waiting.append(caller)
        if not asked:
            self._in_turn(lambda: self._ask(host))
        return caller

    def _in_turn(self, work: Callable[[], object]) -> None:
        if self._turns is None:
            work()
        else:
            self._turns.run(work)

    def _ask(self, host: Host) -> None:
        asked = self._issuer.issue(host)
        if asked.called:
            self._end(asked, host.text)
        else:  # the answer comes when somebody else has the turn
            asked.addBoth(lambda result: self._in_turn(lambda: self._end(_fired(result), host.text)))

    def _end(self, leaf: Deferred[Leaf], text: str) -> None:
        leaf.addCallback(self._keep).addErrback(self._fall_back, text).addBoth(self._answer, text)

    def forget_all(self) -> None:
        """Drop every context: the authority has changed. Handshakes that have begun are not touched."""
        self._entries.clear()

    def _keep(self, leaf: Leaf) -> SSL.Context:
        entry = _Entry(leaf)
        self.made += 1
        self._entries[leaf.host.text] = entry
        self._entries.move_to_end(leaf.host.text)
        while len(self._entries) > self._capacity:
            self._entries.popitem(last=False)
        return entry.context

    def _fall_back(self, failure: Failure, text: str) -> Union[SSL.Context, Failure]:
        """A leaf that is due for renewal, but still valid, serves while the issuer is away."""
        entry = self._entries.get(text)
        if entry is not None and self._seconds() < entry.ends_at:
            return entry.context
        return failure

    def _answer(self, result: Union[SSL.Context, Failure], text: str) -> None:
        for caller in self._waiting.pop(text, []):
            caller.callback(result)
