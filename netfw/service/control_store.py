"""The control API's own way into the store: opened when the proxy runs, and again when it could not be.

twistd goes into the background after everything is wired: connections and threads of before would not survive that.
Not here: the process that follows the store (`following`), which has a connection of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.threads import deferToThreadPool
from zope.interface import implementer

from netfw.interfaces import IStore
from netfw.store.database import Database
from netfw.store.deferred import DeferredStore
from netfw.store.errors import StoreUnavailable


@implementer(IStore)
class ControlStore(Service):
    """`open_database` blocks; it raises a `StoreError` while the store is away, and the call that asked gets it."""

    def __init__(self, reactor: Any, open_database: Callable[[], Database]) -> None:
        self._reactor = reactor
        self._open_database = open_database
        self._store: DeferredStore | None = None
        self._opening: list[Deferred[DeferredStore]] | None = None

    def transact(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """See `IStore`."""
        return self._opened().addCallback(lambda store: store.transact(function, *arguments))

    def read(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """See `IStore`."""
        return self._opened().addCallback(lambda store: store.read(function, *arguments))

    def stopService(self) -> Deferred[None]:
        """Finish what is under way."""
        super().stopService()
        store, self._store = self._store, None
        return store.close() if store is not None else succeed(None)

    def _opened(self) -> Deferred[DeferredStore]:
        if not self.running:
            return fail(StoreUnavailable("the proxy is not serving"))
        if self._store is not None:
            return succeed(self._store)
        waiting: Deferred[DeferredStore] = Deferred()
        if self._opening is not None:
            self._opening.append(waiting)
            return waiting
        self._opening = [waiting]
        pool = self._reactor.getThreadPool()
        deferToThreadPool(self._reactor, pool, self._open_database).addBoth(self._answer)
        return waiting

    def _answer(self, result: Any) -> None:
        waiting, self._opening = self._opening or [], None
        if not isinstance(result, Database):
            for one in waiting:
                one.errback(result)
            return
        store = DeferredStore(result, self._reactor)
        if not self.running:
            store.close()
            for one in waiting:
                one.errback(StoreUnavailable("the proxy has stopped"))
            return
        self._store = store
        for one in waiting:
            one.callback(store)
