"""netfw.tls.origin_profiles"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfw.config.model import ClientCertificateEntry, OriginEntry, UpstreamSection
from netfw.names.domain_form import parse_domain_form
from netfw.names.host import host_from_text
from netfw.testing.pki import TestAuthority
from netfw.tls.context_files import ContextProblem
from netfw.tls.origin_profiles import OriginProfiles, _overlap

PIN = "ab" * 32


def origin(domain: str, *, roots: tuple[Path, ...] = (), pins: tuple[str, ...] = (PIN,)) -> OriginEntry:
    return OriginEntry(domain, roots, pins)


def test_a_host_without_an_entry_has_the_one_profile(bed: Any) -> None:
    """Always the same object: sessions are kept under it."""
    profiles = OriginProfiles(UpstreamSection((bed.root_file,)))
    assert profiles.of(host_from_text("a.example")) is profiles.of(host_from_text("b.example"))
    assert profiles.of(host_from_text("a.example")).pins == frozenset()


def test_the_first_entry_that_fits_counts(bed: Any) -> None:
    """By the forms that domains have everywhere."""
    other = "cd" * 32
    section = UpstreamSection(
        (bed.root_file,), hosts=(origin("a.example"), origin(".example", pins=(other,)), origin("b.example"))
    )
    profiles = OriginProfiles(section)

    def pins(host: str) -> list[str]:
        return [pin.hex() for pin in profiles.of(host_from_text(host)).pins]

    assert pins("a.example") == [PIN]
    assert pins("b.example") == pins("example") == [other]
    assert pins("a.test") == []


def test_an_entry_and_a_client_certificate_go_together(bed: Any) -> None:
    """The profile of a host that has both is another one than those of hosts with one of them."""
    certificate, key = bed.listener("client.example")
    section = UpstreamSection(
        (bed.root_file,),
        hosts=(origin(".a.example"), origin(".b.example")),
        client_certificates=(ClientCertificateEntry("*.a.example", certificate, key),),
    )
    profiles = OriginProfiles(section)
    hosts = ("a.example", "x.a.example", "b.example", "other.test")
    assert len({profiles.of(host_from_text(host)) for host in hosts}) == 4


@pytest.mark.parametrize("what", ["trust", "roots", "crl", "certificate"])
def test_a_file_that_cannot_be_used_is_named(bed: Any, what: str) -> None:
    """Whatever it was for."""
    bad = bed.write("bad.pem", b"nothing")
    certificate, _key = bed.listener("client.example")
    section = {
        "trust": UpstreamSection((bad,)),
        "roots": UpstreamSection((bed.root_file,), hosts=(origin("a.example", roots=(bad,), pins=()),)),
        "crl": UpstreamSection((bed.root_file,), crl_files=(bad,)),
        "certificate": UpstreamSection(
            (bed.root_file,), client_certificates=(ClientCertificateEntry("a.example", certificate, bad),)
        ),
    }[what]
    with pytest.raises(ContextProblem, match="bad.pem"):
        OriginProfiles(section)


def test_files_are_read_where_they_are_said_to_be(bed: Any) -> None:
    """Once, when the profiles are made."""
    asked = []

    def place(path: Path) -> Path:
        asked.append(path)
        return bed.write("elsewhere.pem", TestAuthority().certificate_pem)

    OriginProfiles(UpstreamSection((Path("/nowhere/roots.pem"),)), place)
    assert asked == [Path("/nowhere/roots.pem")]


FORMS = st.tuples(st.sampled_from(["", ".", "*."]), st.sampled_from(["x", "a.x", "b.a.x", "ax", "y"])).map("".join)
HOSTS = ["x", "a.x", "b.a.x", "c.b.a.x", "z.a.x", "z.x", "ax", "z.ax", "y", "a.y"]


@given(FORMS, FORMS)
def test_forms_that_share_a_host_overlap(one: str, other: str) -> None:
    """Otherwise a host would have no profile."""
    forms = parse_domain_form(one), parse_domain_form(other)
    if any(forms[0].matches(host) and forms[1].matches(host) for host in HOSTS):
        assert _overlap(*forms)
