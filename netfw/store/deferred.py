"""The store for those who have a reactor: transactions run on threads of their own, never on the reactor's.

SQLite gets one thread, since it has one connection; PostgreSQL one for each connection.
"""

from __future__ import annotations

import threading
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
    """`database`: what nobody else uses, or what opens it: the first who needs it, and when that fails the next.

    So a proxy starts without its store.
    """

    def __init__(
        self, database: Database | Callable[[], Database], reactor: Any, *, threads: int | None = None
    ) -> None:
        self._opened = database if isinstance(database, Database) else None
        self._open = database if not isinstance(database, Database) else None
        self._opening = threading.Lock()
        self._reactor = reactor
        if threads is None:
            single = self._opened is not None and self._opened.engine.dialect.name == "sqlite"
            threads = 1 if single else CONNECTIONS
        self._pool = ThreadPool(0, threads, name="store")
        self._pool.start()
        self._closed: Deferred[None] | None = None

    def transact(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """See `IStore`."""
        return self._run(Database.transact, function, *arguments)

    def read(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """See `IStore`."""
        return self._run(Database.read, function, *arguments)

    def close(self) -> Deferred[None]:
        """Take no more, finish what is under way, and disconnect. A Deferred that fires when that is done."""
        if self._closed is None:
            self._closed = Deferred()
            threading.Thread(target=self._finish, name="store closing", daemon=True).start()
        return self._closed

    def _run(self, run: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        if self._closed is not None:
            return fail(StoreUnavailable("the store is closed"))
        return deferToThreadPool(self._reactor, self._pool, self._with_database, run, arguments)

    def _with_database(self, run: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        with self._opening:
            if self._opened is None:
                assert self._open is not None
                self._opened = self._open()
        return run(self._opened, *arguments)

    def _finish(self) -> None:
        self._pool.stop()
        if self._opened is not None:
            self._opened.close()
        assert self._closed is not None
        self._reactor.callFromThread(self._closed.callback, None)
