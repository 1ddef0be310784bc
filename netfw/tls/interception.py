"""As whom each intercepted host is shown to clients: by its leaf, made, kept, renewed.

In here: a bounded cache of leaves with their contexts, and the one request for a leaf that many handshakes may wait
for. Not in here: which hosts are intercepted (`proxy`), what a leaf says (`x509.leaf`), what a context allows
(`contexts`).
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Union

from OpenSSL import SSL
from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from netfw.interfaces import ICertificateIssuer
from netfw.names.host import Host
from netfw.tls.contexts import leaf_connection, leaf_context, shared_context
from netfw.transport.turns import Turns
from netfw.x509.leaf import Leaf
from netfw.x509.reading import Validity


def _fired(result: Leaf | Failure) -> Deferred[Leaf]:
    return fail(result) if isinstance(result, Failure) else succeed(result)


class HostIdentity:
    """A host as clients are shown it: makes the server's side of connections.

    A context costs as much as a handshake, and memory. Hosts that are asked for once have none of their own: their
    connection comes of `shared`, which resumes nothing. From the second one on a host has its own, with tickets.
    """

    __slots__ = ("_context", "_leaf", "_shared", "renew_at", "validity")

    def __init__(self, leaf: Leaf, shared: SSL.Context) -> None:
        self.validity = leaf.validity
        self.renew_at = leaf.renew_at
        self._leaf = leaf
        self._shared: Union[SSL.Context, None] = shared
        self._context: Union[SSL.Context, None] = None

    def connection(self) -> SSL.Connection:
        """A new one, without a socket, that waits for a ClientHello."""
        shared, self._shared = self._shared, None
        if shared is not None:
            connection = leaf_connection(shared, self._leaf)
        else:
            if self._context is None:
                self._context = leaf_context(self._leaf)
            connection = SSL.Connection(self._context, None)
        connection.set_accept_state()
        return connection

    def is_within(self, bounds: Validity | None) -> bool:
        """Whether it is valid at no time outside these."""
        own = self.validity
        return bounds is None or (bounds.begins <= own.begins and own.ends <= bounds.ends)


_Wanted = tuple[str, Union[Validity, None]]


class HostIdentities:
    """Identities by canonical host; at most `capacity`, the least recently used goes first.

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
            raise ValueError(f"at least one identity must fit, not {capacity}")
        self._issuer = issuer
        self._capacity = capacity
        self._seconds = seconds
        self._turns = turns
        self._entries: OrderedDict[str, HostIdentity] = OrderedDict()
        self._shared: Union[tuple[Any, tuple[Any, ...], SSL.Context], None] = None
        self._forgotten = 0
        self._waiting: dict[_Wanted, list[Deferred[HostIdentity]]] = {}
        self.found = 0
        """How often an identity was there; `made`: how often one was made of a new leaf."""
        self.made = 0

    def __len__(self) -> int:
        return len(self._entries)

    def identity_for(self, host: Host, within: Validity | None = None) -> Union[HostIdentity, Deferred[HostIdentity]]:
        """What shows a leaf for this host: itself when it is kept here, else a Deferred of it.

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
            return entry
        wanted = (text, within)
        waiting = self._waiting.get(wanted)
        asked = waiting is not None
        if waiting is None:
            waiting = self._waiting[wanted] = []
        caller: Deferred[HostIdentity] = Deferred(lambda caller: self._withdraw(wanted, caller))
        waiting.append(caller)
        if not asked:
            self._in_turn(lambda: self._ask(host, wanted))
        return caller

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._seconds(), UTC)

    def _withdraw(self, wanted: _Wanted, caller: Deferred[HostIdentity]) -> None:
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
        """Drop every identity: the authority has changed. Handshakes that have begun are not touched; a leaf that is on
        its way serves who waits for it, and nobody else.
        """
        self._entries.clear()
        self._forgotten += 1

    def _keep(self, leaf: Leaf, forgotten: int) -> HostIdentity:
        entry = HostIdentity(leaf, self._shared_for(leaf))
        self.made += 1
        if forgotten != self._forgotten:
            return entry
        self._entries[leaf.host.text] = entry
        self._entries.move_to_end(leaf.host.text)
        while len(self._entries) > self._capacity:
            self._entries.popitem(last=False)
        return entry

    def _shared_for(self, leaf: Leaf) -> SSL.Context:
        """All leaves of a process have one key and, until the authority changes, one chain."""
        key, chain = leaf.private_key, leaf.chain
        if self._shared is None or self._shared[0] is not key or self._shared[1] != chain:
            self._shared = (key, chain, shared_context(leaf))
        return self._shared[2]

    def _fall_back(self, failure: Failure, wanted: _Wanted) -> Union[HostIdentity, Failure]:
        """A leaf that is due for renewal, but still valid, serves while the issuer is away."""
        text, within = wanted
        entry = self._entries.get(text)
        if entry is not None and self._now() < entry.validity.ends and entry.is_within(within):
            return entry
        return failure

    def _answer(self, result: Union[HostIdentity, Failure], wanted: _Wanted) -> None:
        for caller in self._waiting.pop(wanted, []):
            caller.callback(result)
