"""What the data path asks others for, in a conversation: names, connections, a policy, a place for records.

In this room: a verified fake of each interface, told by the test what to say and when, and remembering what it was
asked. Not here: the play (`conversation`), and the real ones. For tests.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from zope.interface import implementer

from netfw.errors import NameNotFound, NetfwError
from netfw.interfaces import IDialer, IPolicySource, IRecordSink, IResolver
from netfw.names.host import Host
from netfw.policy.compile import CompiledPolicy, compile_policy
from netfw.policy.load import load_policy
from netfw.testing.proxy_process import Document
from netfw.testing.side import Side
from netfw.testing.streams import Peer
from netfw.transport.resolution import Resolution
from netfw.transport.stream import Stream

EPOCH = 1_800_000_000.0
"""The wall clock when a conversation begins."""

Address = IPv4Address | IPv6Address


@implementer(IResolver)
class ScriptedResolver:
    """Answers from a table at once; what `held` names is answered by `answer`. `asked` and `cancelled` remember."""

    def __init__(self, hosts: dict[str, Any]) -> None:
        self.hosts = hosts
        self.asked: list[str] = []
        self.cancelled: list[str] = []
        self.held: set[str] = set()
        self._waiting: dict[str, list[Deferred[Resolution]]] = {}

    def known(self, host: Host) -> Resolution | None:
        """Nothing is known without asking."""
        return None

    def resolve(self, host: Host) -> Deferred[Resolution]:
        """See `IResolver.resolve`."""
        self.asked.append(host.text)
        if host.text not in self.held:
            return self._outcome(host)

        def withdraw(waiting: Deferred[Resolution]) -> None:
            self.cancelled.append(host.text)
            self._waiting[host.text].remove(waiting)

        waiting: Deferred[Resolution] = Deferred(withdraw)
        self._waiting.setdefault(host.text, []).append(waiting)
        return waiting

    def answer(self, name: str) -> None:
        """Answer whoever waits for this name."""
        for waiting in self._waiting.pop(name):
            self._outcome(Host(name, None)).chainDeferred(waiting)

    def _outcome(self, host: Host) -> Deferred[Resolution]:
        found = self.hosts.get(host.text, NameNotFound(f"there is no host {host.text}"))
        if isinstance(found, NetfwError):
            return fail(found)
        return succeed(Resolution(host, tuple(ip_address(text) for text in found), (), 60, "192.0.2.53:53", "dns"))


@implementer(IDialer)
class ScriptedDialer:
    """Connects to sides that the test plays. `dialled` are the (addresses, port) of each call, `sources` what each was
    to leave from.

    `failures` gives errors by the first address; while `held` is set, a call waits for `connect`.
    """

    def __init__(self, play: Any) -> None:
        self._play = play
        self.dialled: list[tuple[tuple[str, ...], int]] = []
        self.sources: list[Mapping[int, str] | None] = []
        self.failures: dict[str, NetfwError] = {}
        self.held = False
        self.cancelled = 0
        self.accepted: list[Side] = []
        self.when_accepted: Callable[[Side], object] | None = None
        self._waiting: list[tuple[Deferred[Any], str, int]] = []

    def dial(self, addresses: Sequence[Address], port: int, sources: Mapping[int, str] | None = None) -> Any:
        """See `IDialer.dial`. What is not `held` needs no Deferred."""
        self.sources.append(sources)
        names = tuple(str(address) for address in addresses)
        self.dialled.append((names, port))
        if self.held:
            waiting: Deferred[Any] = Deferred(self._withdrawn)
            self._waiting.append((waiting, names[0], port))
            return waiting
        return self._connect(names[0], port)

    def _withdrawn(self, waiting: Deferred[Any]) -> None:
        self.cancelled += 1
        self._waiting = [entry for entry in self._waiting if entry[0] is not waiting]

    def connect(self) -> None:
        """End the waiting of `held` calls."""
        waiting, self._waiting = self._waiting, []
        for deferred, address, port in waiting:
            maybeDeferred(self._connect, address, port).chainDeferred(deferred)

    def _connect(self, address: str, port: int) -> Stream:
        failure = self.failures.get(address)
        if failure is not None:
            raise failure
        near, far = self._play.pair()
        stream = Stream(near, self._play.reactor, host=("192.0.2.1", 40000), peer=(address, port))
        self._play.streams.append(stream)
        side = Side(self._play, Peer(far))
        self._play.sides.append(side)
        self.accepted.append(side)
        if self.when_accepted is not None:
            self.when_accepted(side)
        return stream


@implementer(IRecordSink)
class RecordList:
    """Keeps records, parsed."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def write(self, record: bytes) -> None:
        """Take one line."""
        assert b"\n" not in record.rstrip(b"\n")
        self.records.append(json.loads(record))


@implementer(IPolicySource)
class PolicyInForce:
    """A policy that tests change. Each exchange takes it once, so `taken` counts exchanges."""

    def __init__(self, document: Document) -> None:
        self.taken = 0
        self._generation = 0
        self._current: CompiledPolicy
        self.change(document)

    @property
    def current(self) -> CompiledPolicy:
        """See `IPolicySource`."""
        self.taken += 1
        return self._current

    def change(self, document: Document) -> None:
        """Put another one in force."""
        self._generation += 1
        self._current = compile_policy(load_policy(document, "test"), self._generation, EPOCH)

    def spoil(self) -> None:
        """Make the one in force such that every evaluation raises."""
        self._current.programs = ()

    def reload(self) -> Deferred[Any]:
        """Nothing to read."""
        raise NotImplementedError
