"""The supervisor's side of leaves: it holds the CA key and signs what workers ask for.

Not here: the asking (`remote_issuer`), and what a leaf says (`x509.leaf`).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.logger import Logger

from netfw.names.host import Host, parse_host
from netfw.workers.messages import IssueLeaf, LeafIssued, LeafRefused
from netfw.x509.authority import CertificateAuthority
from netfw.x509.leaf import AuthorityExpired, issue_leaf

_log = Logger()
_PEM = serialization.Encoding.PEM


class _PublicHalf:
    """Stands where `issue_leaf` wants a key pair: it only ever asks for the public half."""

    def __init__(self, key: ec.EllipticCurvePublicKey) -> None:
        self._key = key

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._key


def _host(text: str) -> Host:
    return parse_host((f"[{text}]" if ":" in text else text).encode("ascii"))


class LeafSigner:
    """`now`: seconds since the epoch; `organization`: what subjects say beside the host."""

    def __init__(
        self, authority: CertificateAuthority, now: Callable[[], float], *, organization: str = "netfw"
    ) -> None:
        self._organization = organization
        self._now = now
        self.replace_authority(authority)

    def replace_authority(self, authority: CertificateAuthority) -> None:
        """Sign by this one from now on."""
        self._authority = authority
        self._chain = tuple(certificate.public_bytes(_PEM).decode("ascii") for certificate in authority.chain())

    def answer(self, question: IssueLeaf) -> LeafIssued | LeafRefused:
        """A leaf, or why there is none. Never raises: a worker must not wait for its deadline."""
        try:
            host = _host(question.host)
            if host.text != question.host:
                raise ValueError("the host is not in canonical form")
            key: Any = serialization.load_pem_public_key(question.public_key.encode("ascii"))
            if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
                raise ValueError("the key is not a P-256 one")
            half: Any = _PublicHalf(key)
            now = datetime.fromtimestamp(self._now(), UTC)
            leaf = issue_leaf(self._authority, host, half, now, organization=self._organization)
        except AuthorityExpired as error:
            return LeafRefused(question.request, str(error))
        except Exception as error:
            _log.failure("no leaf could be signed")
            return LeafRefused(question.request, type(error).__name__)
        return LeafIssued(question.request, leaf.certificate.public_bytes(_PEM).decode("ascii"), self._chain)
