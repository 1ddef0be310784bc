"""By what each origin is verified, and what is shown to it: a profile for every host.

In here: the choice among `upstream.hosts` and `upstream.client_certificates`, and a context for each combination that
can occur. Not in here: connections and sessions (`upstream`), what a context allows (`contexts`). All files are read
when the profiles are made: a change of theirs counts when new ones are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from OpenSSL import SSL

from netfw.config.model import ClientCertificateEntry, OriginEntry, UpstreamSection
from netfw.names.domain_form import DomainForm, DomainScope, parse_domain_form
from netfw.names.host import Host
from netfw.tls.contexts import upstream_context

_MINIMUM = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}


@dataclass(frozen=True, slots=True, eq=False)
class OriginProfile:
    """`pins`: digests of public keys, one of which must be the origin's; empty: it needs a root."""

    context: SSL.Context
    pins: frozenset[bytes] = frozenset()


class OneProfile:
    """The same for every host: that of a peer which is known by configuration, a parent proxy."""

    def __init__(self, profile: OriginProfile) -> None:
        self._profile = profile

    def of(self, host: Host) -> OriginProfile:
        """See `OriginProfiles.of`."""
        return self._profile


class OriginProfiles:
    """Made of the configuration at once. `place` says where a file of it is to be read. Raises ContextProblem."""

    def __init__(self, section: UpstreamSection, place: Callable[[Path], Path] = lambda path: path) -> None:
        self._section = section
        self._place = place
        self._origins = [(parse_domain_form(entry.domain), entry) for entry in section.hosts]
        self._certificates = [(parse_domain_form(entry.domain), entry) for entry in section.client_certificates]
        self._default = self._made(None, None)
        self._profiles: dict[tuple[OriginEntry | None, ClientCertificateEntry | None], OriginProfile] = {}
        for origin_form, origin in self._origins:
            self._profiles[origin, None] = self._made(origin, None)
            for form, certificate in self._certificates:
                if _overlap(origin_form, form):
                    self._profiles[origin, certificate] = self._made(origin, certificate)
        for _, certificate in self._certificates:
            self._profiles[None, certificate] = self._made(None, certificate)

    def of(self, host: Host) -> OriginProfile:
        """The profile of this host: the first entry of each list that it fits."""
        if not self._profiles:
            return self._default
        origin = next((entry for form, entry in self._origins if form.matches(host.text)), None)
        certificate = next((entry for form, entry in self._certificates if form.matches(host.text)), None)
        if origin is None and certificate is None:
            return self._default
        return self._profiles[origin, certificate]

    def _made(self, origin: OriginEntry | None, certificate: ClientCertificateEntry | None) -> OriginProfile:
        section, place = self._section, self._place
        pins = frozenset(bytes.fromhex(pin) for pin in origin.pins) if origin is not None else frozenset()
        shown = None
        if certificate is not None:
            shown = (place(certificate.certificate), place(certificate.private_key))
        context = upstream_context(
            [place(path) for path in section.trust] if section.trust is not None else None,
            roots=[place(path) for path in origin.roots] if origin is not None else (),
            crls=[place(path) for path in section.crl_files],
            strict=section.strict,
            minimum=_MINIMUM[section.minimum_tls],
            pinned=bool(pins),
            client_certificate=shown,
        )
        return OriginProfile(context, pins)


def _overlap(one: DomainForm, other: DomainForm) -> bool:
    """Whether there is a host that fits both."""
    if one.matches(other.name) or other.matches(one.name):
        return True
    # `*.x` and `*.x`, or `*.a.x` and `*.x`: what is below the longer one is below both.
    wide = DomainScope.EXACT not in (one.scope, other.scope)
    return wide and (one.name == other.name or (one.name + ".").endswith(f".{other.name}."))
