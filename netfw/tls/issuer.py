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
from zope.interface import classImplements

from netfw.interfaces import ICertificateIssuer
from netfw.names.host import Host
from netfw.x509.authority import CertificateAuthority
from netfw.x509.leaf import Leaf, issue_leaf
from netfw.x509.reading import Validity


class LocalIssuer:
    """Signs at once: with an EC authority that takes less time than asking for it.

    All leaves have one key, made here.
    """

    def __init__(
        self,
        authority: CertificateAuthority,
        *,
        organization: str = "netfw",
        seconds: Callable[[], float] = time.time,
    ) -> None:
        self._authority = authority
        self._organization = organization
        self._seconds = seconds
        self._key = ec.generate_private_key(ec.SECP256R1())

    def replace_authority(self, authority: CertificateAuthority) -> None:
        """Sign by this one from now on. Contexts of earlier leaves are the business of who keeps them."""
        self._authority = authority

    def issue(self, host: Host, within: Validity | None = None) -> Deferred[Leaf]:
        """A Deferred that has fired already; fails with `x509.leaf.OutsideValidity`."""
        now = datetime.fromtimestamp(self._seconds(), UTC)
        try:
            leaf = issue_leaf(self._authority, host, self._key, now, within=within, organization=self._organization)
        except Exception:
            return fail()
        return succeed(leaf)


classImplements(LocalIssuer, ICertificateIssuer)
