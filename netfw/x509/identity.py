"""What a client's certificate says who it is. PURE.

In here: one name of it, by a fixed order. Not in here: whether the certificate is any good (OpenSSL judges it in
`tls`), and who may come in with it (rules).
"""

from __future__ import annotations

from cryptography import x509
from cryptography.x509.oid import NameOID

from netfw.x509.reading import fingerprint

LONGEST = 256


def identity_of(certificate: x509.Certificate) -> str:
    """Its first URI (SPIFFE writes one), mail address or host name, its common name, or `sha256:` and its digest.

    The authority that signed it answers for what stands there. What is long or not printable ASCII counts as absent.
    """
    for name in _names(certificate):
        if name and len(name) <= LONGEST and name.isascii() and name.isprintable():
            return name
    return f"sha256:{fingerprint(certificate)}"


def _names(certificate: x509.Certificate) -> list[str]:
    found: list[str] = []
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        names = None
    if names is not None:
        for kind in (x509.UniformResourceIdentifier, x509.RFC822Name, x509.DNSName):
            found += names.get_values_for_type(kind)[:1]
    found += [str(attribute.value) for attribute in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[:1]]
    return found
