"""Leaves that were issued, until half their life is over.

In here: a bounded map in the order of use. Not in here: the clock (`now` comes in), issuing, TLS contexts.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime

from netfw.names.host import Host
from netfw.x509.leaf import Leaf


class LeafCache:
    """At most `capacity` leaves; the least recently used one goes first. One cache belongs to one authority."""

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"a leaf cache holds at least one leaf, not {capacity}")
        self._capacity = capacity
        self._leaves: OrderedDict[str, Leaf] = OrderedDict()

    def __len__(self) -> int:
        return len(self._leaves)

    def get(self, host: Host, now: datetime) -> Leaf | None:
        """The leaf for this host, or None when there is none or it is due for renewal."""
        leaf = self._leaves.get(host.text)
        if leaf is None:
            return None
        # A clock that was set back makes a leaf of the time before it one that is not valid yet.
        if not leaf.not_before <= now < leaf.renew_at:
            del self._leaves[host.text]
            return None
        self._leaves.move_to_end(host.text)
        return leaf

    def put(self, leaf: Leaf) -> None:
        """Keep this leaf under its own host, in place of an older one."""
        self._leaves[leaf.host.text] = leaf
        self._leaves.move_to_end(leaf.host.text)
        while len(self._leaves) > self._capacity:
            self._leaves.popitem(last=False)
