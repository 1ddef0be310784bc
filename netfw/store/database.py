"""The database: SQLite in a file beside the proxy, or PostgreSQL for many. One function is one transaction.

Writers come one after another on both engines, so what a function reads stays true until it has written: SQLite by
BEGIN IMMEDIATE, PostgreSQL by locking the one row of `store` first. Readers see one snapshot and wait for nobody.
Everything here blocks; `deferred` takes it off the reactor's thread.

SQLAlchemy Core, in the style that 1.4 (Debian 12) and 2.x share.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import create_engine, event, select
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import QueuePool, StaticPool

from netfw.store import tables
from netfw.store.errors import StoreError, StoreUnavailable
from netfw.store.repository import Transaction
from netfw.store.schema import prepare

Result = TypeVar("Result")

CONNECTIONS = 4
"""To PostgreSQL, of one process."""

_ATTEMPTS = 6
_BUSY_SECONDS = 10
# serialization_failure, deadlock_detected, lock_not_available, admin_shutdown, crash_shutdown, cannot_connect_now
_WORTH_ANOTHER = {"40001", "40P01", "55P03", "57P01", "57P02", "57P03"}


class _Kind(Enum):
    WRITING = "writing"
    ASIDE = "writing what nobody else writes"
    READING = "reading"


class Database:
    """`engine` is ready: its tables are those of this version."""

    def __init__(self, engine: Engine, now: Callable[[], float] = time.time) -> None:
        self.engine = engine
        self._now = now
        # SQLite has one connection, so one thread at a time.
        self._turn = threading.Lock() if engine.dialect.name == "sqlite" else None

    @classmethod
    def open(cls, url: str, *, password: str | None = None, now: Callable[[], float] = time.time) -> Database:
        """Connect, and bring the tables to this version. Raises StoreUnavailable, StoreVersionUnknown, StoreError."""
        engine = make_engine(store_url(url, password))
        try:
            prepare(engine, now())
        except DBAPIError as error:
            engine.dispose()
            raise StoreUnavailable(f"{shown(url)} cannot be used: {_reason(error)}") from None
        except BaseException:
            engine.dispose()
            raise
        return cls(engine, now)

    def transact(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Run `function(transaction, *arguments)` in a writing transaction; what it returns is stored by then.

        The function runs again when the database asks for it, so it does nothing but use its transaction. What it
        raises undoes everything.
        """
        return self._attempt(_Kind.WRITING, function, arguments)

    def read(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """The same for a function that only reads."""
        return self._attempt(_Kind.READING, function, arguments)

    def transact_aside(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """As `transact`, for rows that only this process writes: waits for no other writer where it can."""
        return self._attempt(_Kind.ASIDE, function, arguments)

    def close(self) -> None:
        """Let go of every connection."""
        self.engine.dispose()

    def _attempt(self, kind: _Kind, function: Callable[..., Result], arguments: tuple[Any, ...]) -> Result:
        for attempt in range(1, _ATTEMPTS + 1):
            committing = [False]
            try:
                if self._turn is None:
                    return self._run(kind, function, arguments, committing)
                with self._turn:
                    return self._run(kind, function, arguments, committing)
            except DBAPIError as error:
                if committing[0] and _lost(error):
                    raise StoreUnavailable(
                        f"the database was lost while it stored a change; look whether it did: {_reason(error)}"
                    ) from error
                if not _worth_another(error):
                    raise
                if attempt == _ATTEMPTS:
                    raise StoreUnavailable(f"the database cannot be used: {_reason(error)}") from error
            time.sleep(random.uniform(0.5, 1.0) * 0.02 * 2**attempt)
        raise AssertionError("unreachable")

    def _run(
        self, kind: _Kind, function: Callable[..., Result], arguments: tuple[Any, ...], committing: list[bool]
    ) -> Result:
        with self.engine.connect() as connection:
            with _begin(connection, kind) as started:
                transaction = Transaction(started, self._now())
                result = function(transaction, *arguments)
                transaction.finish()
                committing[0] = kind is not _Kind.READING
            return result


class _begin:
    """A transaction of the kind that is wanted: committed at the end of the block, undone when it raises."""

    def __init__(self, connection: Connection, kind: _Kind) -> None:
        self._kind = kind
        writing = kind is not _Kind.READING
        if connection.dialect.name == "sqlite":
            options: dict[str, Any] = {"sqlite_begin": "BEGIN IMMEDIATE" if writing else "BEGIN"}
        else:
            options = {
                "isolation_level": "READ COMMITTED" if writing else "REPEATABLE READ",
                "postgresql_readonly": not writing,
            }
        self._connection = connection.execution_options(**options)

    def __enter__(self) -> Connection:
        self._transaction = self._connection.begin()
        try:
            if self._kind is _Kind.WRITING:
                self._connection.execute(select(tables.store.c.generation).with_for_update())
        except BaseException:
            self._transaction.rollback()
            raise
        return self._connection

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if kind is None and self._kind is not _Kind.READING:
            self._transaction.commit()
        else:
            self._transaction.rollback()


def store_url(text: str, password: str | None = None) -> URL:
    """The address of a store, `sqlite:////var/lib/netfw/policy.sqlite` or `postgresql://user@host/database`.

    Raises StoreError with what is wrong.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise StoreError(f"{shown(text)} is no address of a store") from None
    if url.drivername == "sqlite":
        if not url.database or url.database == ":memory:":
            raise StoreError(f"{shown(text)} names no file; write sqlite:////var/lib/netfw/policy.sqlite")
    elif url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg2")
        if not url.database:
            raise StoreError(f"{shown(text)} names no database; write postgresql://user@host/database")
    else:
        raise StoreError(f"{url.drivername}:// is not supported; write sqlite:/// or postgresql://")
    return url.set(password=password) if password is not None else url


def shown(text: str) -> str:
    """The address without a password."""
    try:
        return str(make_url(text).render_as_string(hide_password=True))
    except (ArgumentError, ValueError):
        return text.split("@")[-1]


def make_engine(url: URL) -> Engine:
    """An engine with this room's ways. Connects to nothing yet."""
    if url.drivername == "sqlite":
        return _sqlite(url)
    try:
        return create_engine(
            url,
            future=True,
            poolclass=QueuePool,
            pool_size=CONNECTIONS,
            max_overflow=0,
            pool_pre_ping=True,
            connect_args={
                "connect_timeout": 5,
                "application_name": "netfw",
                "keepalives_idle": 30,
                "keepalives_interval": 10,
                "keepalives_count": 3,
                "tcp_user_timeout": _BUSY_SECONDS * 1000,
                "options": f"-c lock_timeout={_BUSY_SECONDS}s -c statement_timeout=60s"
                " -c idle_in_transaction_session_timeout=60s",
            },
        )
    except (ImportError, NoSuchModuleError):
        raise StoreError("PostgreSQL needs psycopg2: install netfw[postgresql], or Debian's python3-psycopg2") from None


def _sqlite(url: URL) -> Engine:
    assert url.database is not None
    directory = Path(url.database).absolute().parent
    if not directory.is_dir():
        raise StoreError(f"{directory} is no directory: make it, for {url.database} to be in")
    engine = create_engine(
        url,
        future=True,
        poolclass=StaticPool,
        connect_args={"check_same_thread": False, "timeout": _BUSY_SECONDS},
    )

    # sqlite3's own transactions begin too late and end too early for ours.
    @event.listens_for(engine, "connect")
    def connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        for setting in (
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            f"busy_timeout = {_BUSY_SECONDS * 1000}",
        ):
            connection.execute(f"PRAGMA {setting}").close()

    @event.listens_for(engine, "begin")
    def began(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN IMMEDIATE"))

    return engine


def _code(error: DBAPIError) -> str | None:
    code = getattr(error.orig, "pgcode", None)
    return None if code is None else str(code)


def _lost(error: DBAPIError) -> bool:
    if error.connection_invalidated or _code(error) in ("57P01", "57P02"):
        return True
    # What the server refuses has a code; without one nobody knows how far it came.
    return _code(error) is None and "sqlite3" not in type(error.orig).__module__


def _worth_another(error: DBAPIError) -> bool:
    if error.connection_invalidated or _code(error) in _WORTH_ANOTHER:
        return True
    # A server that does not answer gives an OperationalError without a code; a locked file one with these words.
    return type(error).__name__ == "OperationalError" and (
        "database is locked" in str(error.orig)
        or (_code(error) is None and "sqlite3" not in type(error.orig).__module__)
    )


def _reason(error: DBAPIError) -> str:
    return " ".join(str(error.orig).split())
