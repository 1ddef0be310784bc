"""An origin's connection that leaves by a way: over a parent proxy, from a source address of a pool, or both.

It speaks like any other (`upstream_connection`); what differs is what may be shared, and what records say of it.
"""

from __future__ import annotations

from typing import Any

from netfw.names.authority import Authority
from netfw.policy.facts import Unknown
from netfw.proxy.parents import Parent
from netfw.proxy.upstream_connection import UpstreamConnection
from netfw.proxy.ways import Way


def leg(way: Way, parent: Parent | None, target: Authority) -> tuple[Way, Parent | None, Authority]:
    """What connections by a way must have in common to be shared, besides the authority."""
    return way, parent, target


class WayConnection(UpstreamConnection):
    """`address` NOT_YET: a parent looked the name up. `asks_parent`: a parent reads the requests, in absolute-form."""

    way: Way
    parent: Parent | None = None
    asks_parent = False

    def travels(self, way: Way, parent: Parent | None, target: Authority, route: dict[str, Any]) -> WayConnection:
        """Say how it leaves, before it is used, and where to: `target` is what a parent was asked for, which is not the
        authority where `consistency` let other names through. `route` is what records say of it.
        """
        self.way = way
        self.parent = parent
        self.route = route
        self.key = (*self.key[:3], leg(way, parent, target))
        if isinstance(self.address, Unknown):
            self.address_text = None
        return self

    def can_carry_more(self) -> bool:
        """Not when another configuration is in force: its way is one of the former."""
        return self.way.in_force and super().can_carry_more()
