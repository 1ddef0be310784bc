"""The store for those who have a reactor: transactions run on threads of their own, never on the reactor's.

SQLite gets one thread, since it has one connection; PostgreSQL one for each connection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from netfw.interfaces import IStore
from netfw.store.database import CONNECTIONS, Database
from netfw.store.errors import StoreUnavailable


@implementer(IStore)
class DeferredStore:
    """`database` must not be used by anybody else while this has it."""

    def __init__(self, database: Database, reactor: Any) -> None:
        self._database = database
        self._reactor = reactor
        threads = 1 if database.engine.dialect.name == "sqlite" else CONNECTIONS
        self._pool = ThreadPool(0, threads, name="store")
        self._pool.start()
        self._closed: Deferred[None] | None = None

    def transact(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """See `IStore`."""
        return self._run(self._database.transact, function, *arguments)

    def read(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """See `IStore`."""
        return self._run(self._database.read, function, *arguments)

    def close(self) -> Deferred[None]:
        """Take no more, finish what is under way, and disconnect. A Deferred that fires when that is done."""
        if self._closed is None:
            self._closed = deferToThreadPool(self._reactor, self._reactor.getThreadPool(), self._finish)
        return self._closed

    def _run(self, run: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        if self._closed is not None:
            return fail(StoreUnavailable("the store is closed"))
        return deferToThreadPool(self._reactor, self._pool, run, *arguments)

    def _finish(self) -> None:
        self._pool.stop()
        self._database.close()
