"""Leaves from an authority in this process.

In here: `LocalIssuer`, for a process that holds the authority's key. Not in here: the issuer that asks another
process for them (`workers`), contexts made of leaves (`interception`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from netfw.interfaces import ICertificateIssuer
from netfw.names.host import Host
from netfw.x509.authority import CertificateAuthority
from netfw.x509.leaf import Leaf, issue_leaf
from netfw.x509.leaf_cache import LeafCache


@implementer(ICertificateIssuer)
class LocalIssuer:
    """Signs at once: with an EC authority that takes less time than asking for it.

    All leaves have one key, made here.
    """

    def __init__(
        self,
        authority: CertificateAuthority,
        *,
        capacity: int,
        organization: str = "netfw",
        seconds: Callable[[], float] = time.time,
    ) -> None:
        self._authority = authority
        self._capacity = capacity
        self._cache = LeafCache(capacity)
        self._organization = organization
        self._seconds = seconds
        self._key = ec.generate_private_key(ec.SECP256R1())

    def replace_authority(self, authority: CertificateAuthority) -> None:
        """Sign by this one from now on. Contexts of earlier leaves are the business of who keeps them."""
        self._authority = authority
        self._cache = LeafCache(self._capacity)

    def issue(self, host: Host) -> Deferred[Leaf]:
        """A Deferred that has fired already; fails with `x509.leaf.AuthorityExpired`."""
        try:
            return succeed(self.issue_now(host))
        except Exception:
            return fail()

    def issue_now(self, host: Host) -> Leaf:
        """The same without a Deferred."""
        now = datetime.fromtimestamp(self._seconds(), UTC)
        leaf = self._cache.get(host, now)
        if leaf is None:
            leaf = issue_leaf(self._authority, host, self._key, now, organization=self._organization)
            self._cache.put(leaf)
        return leaf
