"""The supervisor's side of leaves: it holds the CA key and signs what workers ask for.

Not here: the asking (`remote_issuer`), and what a leaf says (`x509.leaf`).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.logger import Logger

from netfw.names.host import Host, parse_host
from netfw.workers.messages import IssueLeaf, LeafIssued, LeafRefused
from netfw.x509.authority import CertificateAuthority
from netfw.x509.leaf import OutsideValidity, issue_leaf
from netfw.x509.reading import Validity

_log = Logger()
_PEM = serialization.Encoding.PEM


class _PublicHalf:
    """Stands where `issue_leaf` wants a key pair: it only ever asks for the public half."""

    def __init__(self, key: ec.EllipticCurvePublicKey) -> None:
        self._key = key

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._key


@lru_cache(maxsize=64)
def _half(pem: str) -> Any:
    """A worker has one key for all its leaves."""
    key = serialization.load_pem_public_key(pem.encode("ascii"))
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("the key is not a P-256 one")
    return _PublicHalf(key)


def _validity(bounds: tuple[int, int] | None) -> Validity | None:
    if bounds is None:
        return None
    begins, ends = (datetime.fromtimestamp(seconds, UTC) for seconds in bounds)
    return Validity(begins, ends)


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
        self._chain = tuple(certificate.public_bytes(_PEM).decode("ascii") for certificate in authority.chain)

    def answer(self, question: IssueLeaf) -> LeafIssued | LeafRefused:
        """A leaf, or why there is none. Never raises: a worker must not wait for its deadline."""
        try:
            host = _host(question.host)
            if host.text != question.host:
                raise ValueError("the host is not in canonical form")
            now = datetime.fromtimestamp(self._now(), UTC)
            leaf = issue_leaf(
                self._authority,
                host,
                _half(question.public_key),
                now,
                within=_validity(question.within),
                organization=self._organization,
            )
        except OutsideValidity as error:
            return LeafRefused(question.request, str(error))
        except Exception as error:
            _log.failure("no leaf could be signed")
            return LeafRefused(question.request, type(error).__name__)
        return LeafIssued(question.request, leaf.certificate.public_bytes(_PEM).decode("ascii"), self._chain)
