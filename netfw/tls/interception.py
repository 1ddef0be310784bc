"""The context for each intercepted host: made of its leaf, kept, renewed.

In here: a bounded cache of contexts and the one request for a leaf that many handshakes may wait for. Not in here:
which hosts are intercepted (`proxy`), what a leaf says (`x509.leaf`), what a context allows (`contexts`).
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Union

from OpenSSL import SSL
from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from netfw.interfaces import ICertificateIssuer
from netfw.names.host import Host
from netfw.tls.contexts import leaf_context
from netfw.transport.turns import Turns
from netfw.x509.leaf import Leaf
from netfw.x509.reading import Validity


def _fired(result: Leaf | Failure) -> Deferred[Leaf]:
    return fail(result) if isinstance(result, Failure) else succeed(result)


class _Entry:
    __slots__ = ("context", "renew_at", "validity")

    def __init__(self, leaf: Leaf) -> None:
        self.context = leaf_context(leaf)
        self.validity = leaf.validity
        self.renew_at = leaf.renew_at

    def is_within(self, bounds: Validity | None) -> bool:
        """Whether it is valid at no time outside these."""
        own = self.validity
        return bounds is None or (bounds.begins <= own.begins and own.ends <= bounds.ends)


_Wanted = tuple[str, Union[Validity, None]]


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
        self._forgotten = 0
        self._waiting: dict[_Wanted, list[Deferred[SSL.Context]]] = {}
        self.found = 0
        """How often a context was there; `made`: how often one was made for a new leaf."""
        self.made = 0

    def __len__(self) -> int:
        return len(self._entries)

    def context_for(self, host: Host, within: Validity | None = None) -> Union[SSL.Context, Deferred[SSL.Context]]:
        """The context that shows a leaf for this host: itself when it is kept here, else a Deferred of it.

        The leaf is valid at no time outside `within`, the validity of the origin's certificate, where that is known.
        Fails with what the issuer fails with, unless an earlier leaf is still valid. Cancelling withdraws this caller
        only.
        """
        text = host.text
        entry = self._entries.get(text)
        # A clock that was set back makes a leaf of the time before it one that is not valid yet.
        if entry is not None and entry.validity.begins <= self._now() < entry.renew_at and entry.is_within(within):
            self._entries.move_to_end(text)
            self.found += 1
            return entry.context
        wanted = (text, within)
        waiting = self._waiting.get(wanted)
        asked = waiting is not None
        if waiting is None:
            waiting = self._waiting[wanted] = []
        caller: Deferred[SSL.Context] = Deferred(lambda caller: self._withdraw(wanted, caller))
        waiting.append(caller)
        if not asked:
            self._in_turn(lambda: self._ask(host, wanted))
        return caller

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._seconds(), UTC)

    def _withdraw(self, wanted: _Wanted, caller: Deferred[SSL.Context]) -> None:
        self._waiting[wanted].remove(caller)

    def _in_turn(self, work: Callable[[], object]) -> None:
        if self._turns is None:
            work()
        else:
            self._turns.run(work)

    def _ask(self, host: Host, wanted: _Wanted) -> None:
        asked, forgotten = self._issuer.issue(host, wanted[1]), self._forgotten
        if asked.called:
            self._end(asked, wanted, forgotten)
        else:  # the answer comes when somebody else has the turn
            asked.addBoth(lambda result: self._in_turn(lambda: self._end(_fired(result), wanted, forgotten)))

    def _end(self, leaf: Deferred[Leaf], wanted: _Wanted, forgotten: int) -> None:
        leaf.addCallback(self._keep, forgotten).addErrback(self._fall_back, wanted).addBoth(self._answer, wanted)

    def forget_all(self) -> None:
        """Drop every context: the authority has changed. Handshakes that have begun are not touched; a leaf that is on
        its way serves who waits for it, and nobody else.
        """
        self._entries.clear()
        self._forgotten += 1

    def _keep(self, leaf: Leaf, forgotten: int) -> SSL.Context:
        entry = _Entry(leaf)
        self.made += 1
        if forgotten != self._forgotten:
            return entry.context
        self._entries[leaf.host.text] = entry
        self._entries.move_to_end(leaf.host.text)
        while len(self._entries) > self._capacity:
            self._entries.popitem(last=False)
        return entry.context

    def _fall_back(self, failure: Failure, wanted: _Wanted) -> Union[SSL.Context, Failure]:
        """A leaf that is due for renewal, but still valid, serves while the issuer is away."""
        text, within = wanted
        entry = self._entries.get(text)
        if entry is not None and self._now() < entry.validity.ends and entry.is_within(within):
            return entry.context
        return failure

    def _answer(self, result: Union[SSL.Context, Failure], wanted: _Wanted) -> None:
        for caller in self._waiting.pop(wanted, []):
            caller.callback(result)
