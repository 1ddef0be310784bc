"""Name constraints of a CA: which hosts it may sign for, and what to say about it.

In here: RFC 5280, section 4.2.1.10, for the names that leaves have: DNS names, addresses and the subject. Not in here:
refusing to issue (clients judge leaves; this tells beforehand what they will say).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network

from cryptography import x509

from netfw.names.host import Host


def constraints_of(certificate: x509.Certificate) -> x509.NameConstraints | None:
    """The constraints of one certificate; None when it has none. Raises ValueError when they cannot be read."""
    try:
        return certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return None


def describe(constraints: x509.NameConstraints) -> tuple[str, ...]:
    """One line for each kind of bound."""
    lines = []
    for word, subtrees in (
        ("only", constraints.permitted_subtrees),
        ("never", constraints.excluded_subtrees),
    ):
        for kind, texts in _by_kind(subtrees or ()).items():
            lines.append(f"{word} {kind}: {', '.join(texts)}")
    return tuple(lines)


def refusal(certificates: Iterable[x509.Certificate], host: Host) -> str | None:
    """Why clients would refuse a leaf for `host` below these CAs, or None."""
    for certificate in certificates:
        constraints = constraints_of(certificate)
        if constraints is None:
            continue
        for kind in _kinds(host):
            excluded = [name for name in constraints.excluded_subtrees or () if isinstance(name, kind)]
            for name in excluded:
                if _covers(name, host):
                    return f"{host} is within {name.value}, which a CA's name constraints exclude"
            permitted = [name for name in constraints.permitted_subtrees or () if isinstance(name, kind)]
            if permitted and not any(_covers(name, host) for name in permitted):
                texts = ", ".join(str(name.value) for name in permitted)
                return f"{host} is outside of {texts}, the only names that a CA's name constraints permit"
    return None


def binds_subject(constraints: x509.NameConstraints) -> bool:
    """Whether subjects are bound to a directory name, which the subjects of leaves (O=netfw) do not have."""
    return any(isinstance(name, x509.DirectoryName) for name in constraints.permitted_subtrees or ())


def _by_kind(names: Sequence[x509.GeneralName]) -> dict[str, list[str]]:
    kinds: dict[str, list[str]] = {}
    for name in names:
        if isinstance(name, x509.DNSName):
            kinds.setdefault("names in", []).append(name.value or "(every name)")
        elif isinstance(name, x509.IPAddress):
            kinds.setdefault("addresses in", []).append(str(name.value))
        elif isinstance(name, x509.DirectoryName):
            kinds.setdefault("subjects below", []).append(name.value.rfc4514_string())
        else:
            kinds.setdefault(type(name).__name__, []).append(str(name.value))
    return kinds


def _kinds(host: Host) -> tuple[type[x509.GeneralName], ...]:
    """Which bounds are held against a host."""
    if host.address is None:
        return (x509.DNSName,)
    if host.address.version == 4:
        # Where a leaf has no DNS name, OpenSSL takes a common name that looks like one, and 192.0.2.1 does.
        return (x509.IPAddress, x509.DNSName)
    return (x509.IPAddress,)


def _covers(name: x509.GeneralName, host: Host) -> bool:
    if isinstance(name, x509.DNSName):
        bound = name.value.lower()
        # With a leading dot, which RFC 5280 does not know, OpenSSL and NSS take subdomains only.
        if bound.startswith("."):
            return host.text.endswith(bound)
        return not bound or host.text == bound or host.text.endswith("." + bound)
    if host.address is None or not isinstance(name, x509.IPAddress):
        return False
    network = name.value
    if not isinstance(network, (IPv4Network, IPv6Network)):
        return False
    return host.address.version == network.version and host.address in network
