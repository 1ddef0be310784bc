"""The store for a reactor: transactions run elsewhere, and a store that is away is asked for again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from netfw.interfaces import IStore
from netfw.store.database import Database
from netfw.store.deferred import DeferredStore
from netfw.store.errors import StoreError, StoreUnavailable
from netfw.testing.reactor_runs import run_in_reactor


def test_it_is_a_store_and_keeps_off_the_reactors_thread(open_store: Callable[[], Database]) -> None:
    """What a function returns comes back; so does what it raises."""

    async def run(reactor: object) -> None:
        store = DeferredStore(open_store(), reactor)
        assert verifyObject(IStore, store)
        here = threading.get_ident()
        assert await store.transact(lambda t: threading.get_ident()) != here
        assert await store.transact(lambda t, editor: t.bump_generation(editor, "x"), "me") == 1
        assert await store.read(lambda t: t.generation) == 1
        try:
            await store.read(lambda t: t.groups.get("no"))
        except StoreError as error:
            assert "'no'" in str(error)
        else:
            raise AssertionError("nothing was raised")
        await store.close()
        try:
            await store.read(lambda t: t.generation)
        except StoreUnavailable as error:
            assert str(error) == "the store is closed"
        else:
            raise AssertionError("it is closed")

    run_in_reactor(run)


def test_a_store_that_is_away_is_opened_by_the_next_who_asks(tmp_path: Path) -> None:
    """Whoever asked before is told."""

    async def run(reactor: object) -> None:
        directory = tmp_path / "late"
        store = DeferredStore(lambda: Database.open(f"sqlite:///{directory}/x"), reactor)
        asked: Deferred[int] = store.read(lambda t: t.generation)
        try:
            await asked
        except StoreError as error:
            assert "is no directory" in str(error)
        else:
            raise AssertionError("there is none")
        directory.mkdir()
        assert await store.read(lambda t: t.generation) == 0
        await store.close()

    run_in_reactor(run)
