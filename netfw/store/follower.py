"""Following the store: read the policy whenever there is a new generation, say what is new, report how the node is.

Here: what happens in which order, synchronously, in a process of its own (`follower_process`), since reading and
checking a large policy would stall a proxy's connections. Nothing here waits except for the database. A store that is
away is tried again and again; meanwhile the proxy goes on with what it has.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from netfw.policy.model import RuleGroup
from netfw.policy.problems import PolicyErrors
from netfw.store.database import Database
from netfw.store.errors import StoreError
from netfw.store.fleet import REPORT_SECONDS, Node, leave, report
from netfw.store.last_good import write_last_good
from netfw.store.notify import Notifications
from netfw.store.pruning import is_due, prune
from netfw.store.reading import ReadPolicy, StoredPolicies
from netfw.store.repository import Transaction
from netfw.store.wire import line_of, print_change, print_group

_FIRST_DELAY = 0.2
_LONGEST_DELAY = 5.0

PRUNING_SECONDS = 3600.0
"""How often a node looks whether history is to go."""

_FIRST_PRUNING = 5.0
_PRUNED_AT_ONCE = 500
_PRUNING_PAUSE = 1.0


@dataclass(frozen=True, slots=True)
class Following:
    """What is followed: the store, the proxy's name, where the last good policy is kept. `keep` generations of the last
    `age` seconds are kept there, None: all.
    """

    url: str
    password_file: str | None
    proxy: str
    last_good: str
    keep: int | None = None
    age: float | None = None

    def open(self, now: Callable[[], float]) -> Database:
        """Connect. Raises StoreError."""
        password = None
        if self.password_file is not None:
            try:
                password = Path(self.password_file).read_text().splitlines()[0]
            except (OSError, IndexError) as error:
                raise StoreError(f"{self.password_file} has no password: {error}") from None
        return Database.open(self.url, password=password, now=now)


class Follower:
    """`say` takes lines for the proxy. `clock` is monotonic, `now` the time of day."""

    def __init__(
        self, following: Following, node: Node, say: Callable[[bytes], Any], clock: Callable[[], float], now: Any
    ) -> None:
        self._following = following
        self._node = node
        self._say = say
        self._clock = clock
        self._now = now
        self._database: Database | None = None
        self._notifications: Notifications | None = None
        self._policies = StoredPolicies(following.proxy)
        self._seen: int | None = None
        self._sent: dict[str, str] | None = None
        self._sent_name: Any = None
        self._printed: dict[str, bytes] = {}
        self._pending: ReadPolicy | None = None
        self._delay = _FIRST_DELAY
        self._next_look = 0.0
        self._next_report = 0.0
        self._next_pruning = clock() + _FIRST_PRUNING if following.keep or following.age else math.inf
        self._away: str | None = None

    @property
    def descriptor(self) -> int | None:
        """What becomes readable when something comes."""
        return self._notifications.descriptor if self._notifications is not None else None

    def pause(self) -> float:
        """How long there is nothing to do unless something comes."""
        due = self._next_look
        if self._database is not None:
            due = min(due, self._next_report, self._next_pruning)
        return max(0.0, due - self._clock())

    def step(self, *, at_once: bool = False) -> None:
        """Do what is due. `at_once`: the proxy asks, and gets an answer in any case."""
        try:
            if self._database is None:
                if not at_once and self._clock() < self._next_look:
                    return
                self._connect()
            assert self._database is not None and self._notifications is not None
            came = self._notifications.take()
            if came or at_once or self._clock() >= self._next_look:
                self._look(answer=at_once)
                self._next_look = self._clock() + self._notifications.pause
            if self._clock() >= self._next_report:
                self._report()
            if self._clock() >= self._next_pruning:
                self._prune()
        except (StoreError, SQLAlchemyError, OSError) as error:
            self._lost(str(error), answer=at_once)
        except Exception as error:
            # psycopg2 raises errors of its own from `poll`; without the driver there is no class to name.
            if not type(error).__module__.startswith("psycopg2"):
                raise
            self._lost(" ".join(str(error).split()), answer=at_once)

    def told(self, message: dict[str, Any]) -> None:
        """The proxy says something."""
        match message["do"]:
            case "read":
                self.step(at_once=True)
            case "report":
                self._node = replace(
                    self._node, state=message["state"], problem=message["problem"], load=message["load"]
                )
            case "in_force":
                self._node = replace(self._node, generation=message["generation"], problem=message["problem"])
                self._next_report = 0.0
                self._keep(message["generation"])
            case "refused":
                # It is sent whole when it is asked for again.
                self._sent = None
                self._node = replace(self._node, problem=message["problem"])
                self._next_report = 0.0

    def close(self) -> None:
        """Say goodbye to the store, if it is there."""
        if self._database is not None:
            try:
                self._database.transact_aside(leave, self._node.id)
            except (StoreError, SQLAlchemyError):
                pass
        self._disconnect()

    def _connect(self) -> None:
        self._database = self._following.open(self._now)
        self._notifications = Notifications(self._database)
        self._delay = _FIRST_DELAY
        self._next_look = 0.0
        if self._away is not None:
            self._away = None
            self._say(line_of({"is": "back"}))

    def _look(self, *, answer: bool) -> None:
        assert self._database is not None
        generation = self._database.read(_generation)
        if generation == self._seen and not answer:
            return
        try:
            found = self._policies.read(self._database)
        except PolicyErrors as errors:
            self._seen = generation
            problems = [str(problem) for problem in errors.problems[:100]]
            self._say(line_of({"is": "refused", "generation": generation, "problems": problems}))
            return
        self._seen = found.generation
        names = (found.policy.name, found.policy.description, tuple(found.policy.defaults.items()))
        if (
            self._sent is not None
            and list(found.digests.items()) == list(self._sent.items())
            and names == self._sent_name
        ):
            self._pending = found
            self._say(line_of({"is": "same", "generation": found.generation, "asked": found.asked.plain()}))
            return
        known = frozenset(self._sent.values()) if self._sent is not None else frozenset()
        self._pending = found
        current = set(found.digests.values())
        self._printed = {digest: lines for digest, lines in self._printed.items() if digest in current}
        for lines in print_change(found.generation, found.policy, found.digests, known, self._print, found.asked):
            self._say(lines)
        self._sent, self._sent_name = found.digests, names

    def _print(self, digest: str, group: RuleGroup) -> bytes:
        """A group's lines, printed once: they go to the proxy and to the disk."""
        lines = self._printed.get(digest)
        if lines is None:
            lines = self._printed[digest] = print_group(digest, group)
        return lines

    def _keep(self, generation: int) -> None:
        """Write what is in force now to the disk."""
        found = self._pending
        if found is None or found.generation != generation:
            return
        lines = print_change(found.generation, found.policy, found.digests, (), self._print, found.asked)
        try:
            write_last_good(Path(self._following.last_good), self._following.proxy, lines)
        except OSError as error:
            problem = f"{self._following.last_good} cannot be written: {error.strerror}"
            self._node = replace(self._node, problem=problem)
            self._say(line_of({"is": "unkept", "problem": problem}))

    def _report(self) -> None:
        assert self._database is not None
        self._next_report = self._clock() + REPORT_SECONDS
        self._database.transact_aside(report, replace(self._node, contact=self._now()))

    def _prune(self) -> None:
        """Take out what the history need not keep any more. Others that follow may do so too: it is done once."""
        assert self._database is not None
        keep, age = self._following.keep, self._following.age
        self._next_pruning = self._clock() + PRUNING_SECONDS
        if not self._database.read(is_due, keep, age):
            return
        pruned = self._database.transact(prune, keep, age, _PRUNED_AT_ONCE)
        if pruned.more:
            self._next_pruning = self._clock() + _PRUNING_PAUSE
        self._say(line_of({"is": "pruned", "generations": pruned.generations, "oldest": pruned.oldest}))

    def _lost(self, reason: str, *, answer: bool) -> None:
        self._disconnect()
        self._next_look = self._clock() + self._delay
        self._delay = min(self._delay * 2, _LONGEST_DELAY)
        if self._away is None or answer:
            self._away = reason
            self._say(line_of({"is": "away", "problem": reason}))

    def _disconnect(self) -> None:
        notifications, self._notifications = self._notifications, None
        database, self._database = self._database, None
        if notifications is not None:
            notifications.close()
        if database is not None:
            database.close()


def _generation(transaction: Transaction) -> int:
    return transaction.generation
