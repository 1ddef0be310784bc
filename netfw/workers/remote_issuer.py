"""Leaves from the process that holds the CA key: a worker has leaf keys, never that one.

In this room: `RemoteIssuer`, one question over the channel a leaf. Not here: who answers (`leaf_signer`), and that
handshakes for the same host share one question (`tls.interception`). Without an answer in time there is no leaf, and
the handshake that wanted it fails.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet.defer import Deferred, fail
from zope.interface import implementer

from netfw.interfaces import ICertificateIssuer
from netfw.names.host import Host
from netfw.transport.deadlines import Deadline, Deadlines
from netfw.workers.messages import IssueLeaf, LeafIssued, LeafRefused
from netfw.x509.leaf import Leaf, renewal
from netfw.x509.reading import Validity, certificates_from_pem, validity

ANSWER = 5.0
"""Seconds for an answer: signing takes a millisecond, so this is for a supervisor that is busy."""
MOST_WAITING = 4096


class NoLeaf(Exception):
    """The supervisor gave none."""


@implementer(ICertificateIssuer)
class RemoteIssuer:
    """All leaves of this process have one key, made here. `send` takes the question."""

    def __init__(
        self,
        *,
        deadlines: Deadlines,
        send: Callable[[IssueLeaf], object],
        seconds: Callable[[], float] = time.time,
        answer_within: float = ANSWER,
    ) -> None:
        self._deadlines = deadlines
        self._send = send
        self._seconds = seconds
        self._answer_within = answer_within
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._public_key = self._key.public_key()
        self._public_pem = _pem_of(self._public_key).decode("ascii")
        self._waiting: dict[int, tuple[Host, Deferred[Leaf], Deadline]] = {}
        self._asked = 0
        self._closed = False

    def issue(self, host: Host, within: Validity | None = None) -> Deferred[Leaf]:
        """See `ICertificateIssuer`; fails with `NoLeaf`."""
        if self._closed or len(self._waiting) >= MOST_WAITING:
            return fail(NoLeaf("the supervisor is away" if self._closed else "too many leaves are asked for"))
        self._asked += 1
        number = self._asked
        answered: Deferred[Leaf] = Deferred(lambda _: self._forget(number))
        deadline = self._deadlines.start(self._answer_within, self._refuse, number, "no answer in time")
        self._waiting[number] = (host, answered, deadline)
        bounds = (int(within.begins.timestamp()), int(within.ends.timestamp())) if within is not None else None
        self._send(IssueLeaf(number, host.text, self._public_pem, bounds))
        return answered

    def issued(self, message: LeafIssued) -> None:
        """The leaf for a question of ours; what nobody waits for any more is dropped."""
        asked = self._take(message.request)
        if asked is None:
            return
        host, answered = asked
        try:
            leaf = self._leaf(host, message)
        except (ValueError, NoLeaf) as error:
            answered.errback(NoLeaf(str(error)))
        else:
            answered.callback(leaf)

    def refused(self, message: LeafRefused) -> None:
        """There is none."""
        self._refuse(message.request, message.reason)

    def close(self) -> None:
        """The supervisor is gone: whoever waits, and whoever asks from now on, gets none."""
        self._closed = True
        for number in list(self._waiting):
            self._refuse(number, "the supervisor is away")

    def _refuse(self, number: int, reason: str) -> None:
        asked = self._take(number)
        if asked is not None:
            asked[1].errback(NoLeaf(reason))

    def _forget(self, number: int) -> None:
        self._take(number)

    def _take(self, number: int) -> tuple[Host, Deferred[Leaf]] | None:
        asked = self._waiting.pop(number, None)
        if asked is None:
            return None
        host, answered, deadline = asked
        deadline.cancel()
        return host, answered

    def _leaf(self, host: Host, message: LeafIssued) -> Leaf:
        (certificate,) = certificates_from_pem(message.certificate.encode("ascii"))
        if _pem_of(certificate.public_key()) != self._public_pem.encode("ascii"):
            raise NoLeaf("the leaf is for another key")
        bounds = validity(certificate)
        now = datetime.fromtimestamp(self._seconds(), UTC)
        return Leaf(host, certificate, _chain(message.chain), self._key, bounds, renewal(now, bounds.ends))


@lru_cache(maxsize=4)
def _chain(pems: tuple[str, ...]) -> tuple[x509.Certificate, ...]:
    """The same for all leaves of an authority."""
    return tuple(certificate for pem in pems for certificate in certificates_from_pem(pem.encode("ascii")))


def _pem_of(key: Any) -> bytes:
    pem: bytes = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return pem
