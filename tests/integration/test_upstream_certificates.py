"""Origins whose certificates are wrong in every way there is a word for.

Each is a real TLS server on loopback, asked through the real proxy. The verdict is right, the page and the record say
what is wrong, and no octet of a request was sent.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp
from OpenSSL import SSL

from netfw.testing.dns_server import DnsServer
from netfw.testing.pki import CLIENT_AUTH, DAY, TestAuthority, make_key, pem_of
from netfw.testing.proxy_process import ProxyProcess, policy
from netfw.testing.revocation import make_crl, make_responder, make_staple, try_later
from netfw.testing.stapling import StaplingOrigin
from netfw.testing.wire_client import RoutedClient
from netfw.x509.reading import certificates_from_pem, fingerprint, key_digest

Pem = tuple[bytes, bytes]


@dataclass
class World:
    """The authorities of this module, and a proxy that trusts some of them."""

    directory: Path
    roots: dict[str, TestAuthority] = field(default_factory=dict)

    def write(self, name: str, content: bytes) -> Path:
        path = self.directory / name
        path.write_bytes(content)
        return path

    def files(self, pem: Pem) -> tuple[Path, Path]:
        return self.write("origin.pem", pem[0]), self.write("origin.key", pem[1])


def first(pem: Pem) -> x509.Certificate:
    return certificates_from_pem(pem[0])[0]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Authorities, made once."""
    made = World(tmp_path_factory.mktemp("origins"))
    for name in ("public", "listed", "out of date", "forged", "private", "stranger"):
        made.roots[name] = TestAuthority(name)
    made.roots["rsa"] = TestAuthority("rsa", key="RSA-2048")
    made.roots["listed sub"] = made.roots["listed"].subordinate("listed sub")
    made.roots["revoked sub"] = made.roots["listed"].subordinate("revoked sub")
    return made


@pytest.fixture(scope="module")
def revoked(world: World) -> Pem:
    """A certificate that stands on a list."""
    return world.roots["listed"].issue("revoked.bad.test")


@pytest.fixture(scope="module")
def pinned(world: World) -> Pem:
    """A self-signed certificate whose key is pinned."""
    return world.roots["stranger"].issue("pinned.test", self_signed=True)


@pytest.fixture(scope="module")
def client_certificate(world: World) -> Pem:
    """What the proxy shows."""
    return world.roots["private"].issue("egress", purpose=CLIENT_AUTH)


@pytest.fixture(scope="module")
def proxy(
    world: World, revoked: Pem, pinned: Pem, client_certificate: Pem, proxy_maker: Callable[..., ProxyProcess],
    dns: DnsServer,
) -> Iterator[ProxyProcess]:  # fmt: skip
    """Interception on; public roots, lists for three of them, and entries for two hosts."""
    roots, now = world.roots, datetime.now(UTC)
    trusted = ("public", "rsa", "listed", "out of date", "forged")
    shown = world.write("client.pem", client_certificate[0]), world.write("client.key", client_certificate[1])
    shown[1].chmod(0o600)
    sections = {
        "trust": str(world.write("roots.pem", b"".join(roots[name].certificate_pem for name in trusted))),
        "crl_files": [
            str(world.write("listed.crl", make_crl(roots["listed"], first(revoked), roots["revoked sub"].certificate))),
            str(world.write("sub.crl", make_crl(roots["listed sub"]))),
            str(world.write("old.crl", make_crl(roots["out of date"], start=now - 9 * DAY, end=now - DAY))),
            str(world.write("forged.crl", make_crl(roots["forged"], signer=make_key()))),
        ],
        "hosts": [
            {"domain": ".pinned.test", "pins": [_pin(pinned)]},
            {"domain": ".private.test", "roots": str(world.write("private.pem", roots["private"].certificate_pem))},
        ],
        "client_certificates": [
            {"domain": "asks.test", "certificate": str(shown[0]), "private_key": str(shown[1])},
        ],
    }  # fmt: skip
    for name in [f"{label}.bad.test" for label in CASES] + [*GOOD, *EXTRA]:
        dns.answers.zone[name] = {"A": ["127.0.0.1"]}
    with proxy_maker("upstream", policy(), intercept=True, upstream=sections) as made:
        yield made


def _pin(pem: Pem) -> str:
    return "sha256/" + base64.b64encode(key_digest(first(pem))).decode("ascii")


@dataclass(frozen=True)
class Case:
    """`make` gives certificate and key for a host; `staple` what goes with them."""

    problem: str
    text: str
    make: Callable[[World, str], Pem]
    staple: Callable[[World, x509.Certificate], bytes] | None = None
    host: str | None = None


def _old(world: World, host: str) -> Pem:
    lower = world.roots["public"].subordinate("old", not_before=datetime.now(UTC) - 9 * DAY,
                                              not_after=datetime.now(UTC) - DAY)  # fmt: skip
    return lower.issue(host)


def _with_root(world: World, host: str) -> Pem:
    pem, key = world.roots["stranger"].issue(host)
    return pem + world.roots["stranger"].certificate_pem, key


def _too_deep(world: World, host: str) -> Pem:
    return world.roots["public"].subordinate("flat", path_length=0).subordinate("deeper").issue(host)


def public(**how: Any) -> Callable[[World, str], Pem]:
    return lambda world, host: world.roots["public"].issue(host, **how)


def stapled(name: str = "public", **how: Any) -> Callable[[World, x509.Certificate], bytes]:
    return lambda world, certificate: make_staple(certificate, world.roots[name], **how)


NOW = datetime.now(UTC)
# The outside of an OCSP response with nothing that is one inside: what is no response at all no server sends.
NOISE = bytes.fromhex("30190a0100a014301206092b060105050730010104056e6f697365")
CASES: dict[str, Case] = {
    "expired": Case("expired", "has expired", public(expired=True)),
    "early": Case("not_yet_valid", "is not valid yet", public(not_yet_valid=True)),
    "selfsigned": Case("self_signed", "is self-signed", public(self_signed=True)),
    "strangeroot": Case("untrusted_root", "root that is not trusted", _with_root),
    "strangechain": Case("untrusted_root", "root that is not trusted",
                         lambda world, host: world.roots["stranger"].subordinate().issue(host)),
    "wronghost": Case("wrong_host", "is not for this host", lambda world, _: world.roots["public"].issue("x.test")),
    "deep": Case("wrong_host", "is not for this host", lambda world, _: world.roots["public"].issue("*.test")),
    "cnonly": Case("no_names", "no subject alternative name",
                   lambda world, host: world.roots["public"].issue(common_name=host)),
    "weakkey": Case("weak_key", "too short", public(key="RSA-1024")),
    "weakissuer": Case("weak_key", "too short",
                       lambda world, host: world.roots["public"].subordinate("weak", key="RSA-1024").issue(host)),
    "sha1": Case("weak_signature", "signature that is too weak",
                 lambda world, host: world.roots["rsa"].issue(host, sha1=True)),
    "incomplete": Case("missing_intermediate", "came without that of its issuer",
                       lambda world, host: world.roots["public"].subordinate().issue(host, with_chain=False)),
    "oldissuer": Case("expired", "has expired", _old),
    "purpose": Case("wrong_purpose", "not meant for servers", public(purpose=CLIENT_AUTH)),
    "noca": Case("invalid_authority", "not a certificate authority",
                 lambda world, host: world.roots["public"].subordinate("no CA", ca=False).issue(host)),
    "pathlength": Case("invalid_authority", "not a certificate authority", _too_deep),
    "revokedissuer": Case("revoked", "is revoked", lambda world, host: world.roots["revoked sub"].issue(host)),
    "oldlist": Case("crl_expired", "out of date", lambda world, host: world.roots["out of date"].issue(host)),
    "forgedlist": Case("crl_unusable", "cannot be used", lambda world, host: world.roots["forged"].issue(host)),
    "ocsprevoked": Case("revoked", "is revoked", public(), stapled(status=ocsp.OCSPCertStatus.REVOKED)),
    "ocspforged": Case("bad_staple", "cannot be believed", public(), stapled(forged=True)),
    "ocspunknown": Case("bad_staple", "cannot be believed", public(), stapled(status=ocsp.OCSPCertStatus.UNKNOWN)),
    "ocspstranger": Case("bad_staple", "cannot be believed", public(), stapled("stranger")),
    "ocspnoise": Case("bad_staple", "cannot be believed", public(), lambda *_: NOISE),
    "ocspold": Case("stale_staple", "not of now", public(), stapled(start=NOW - 9 * DAY, end=NOW - DAY)),
    "ocspearly": Case("stale_staple", "not of now", public(), stapled(start=NOW + DAY, end=NOW + 2 * DAY)),
    "nostaple": Case("missing_staple", "without the statement", public(must_staple=True)),
    "laterstaple": Case("missing_staple", "without the statement", public(must_staple=True), lambda *_: try_later()),
    "otherkey": Case("pin_mismatch", "another key", public(), host="other.pinned.test"),
    "oldprivate": Case("expired", "has expired", lambda world, host: world.roots["private"].issue(host, expired=True),
                       host="old.private.test"),
    "private": Case("missing_intermediate", "its root is not trusted",
                    lambda world, host: world.roots["private"].issue(host)),
}  # fmt: skip
GOOD = ("good.test", "wild.good.test", "sub.test", "listed.test", "stapled.test", "delegated.test", "later.test",
        "promised.test", "pinned.test", "own.private.test", "asks.test")  # fmt: skip
EXTRA = ("other.pinned.test", "old.private.test", "weak.pinned.test", "revoked.bad.test", "tls11.test", "cbc.test")


def ask(proxy: ProxyProcess, host: str, port: int, trust: Path, accept: str = "*/*") -> Any:
    """One request through a tunnel that is intercepted; the answer."""
    with RoutedClient(proxy.port(), "tls", host, port, trust=trust) as client:
        return client.fetch("/secret-path", f"Accept: {accept}", "Authorization: Basic c2VjcmV0")


def is_refused(
    proxy: ProxyProcess, world: World, trust: Path, host: str, problem: str, text: str, pem: Pem, staple: bytes = b""
) -> None:
    """As the page, the fields and the record say, and the origin has got nothing."""
    since = len(proxy.records())
    with StaplingOrigin(world.files(pem), staple) as origin:
        answer = ask(proxy, host, origin.port, trust)
        as_json = json.loads(ask(proxy, host, origin.port, trust, "application/problem+json").body)
        assert origin.received == b""
    page = answer.body.decode()
    assert answer.status == 502 and answer.reason.startswith("Bad Gateway (tls_certificate_error)")
    assert "error=tls_certificate_error" in (answer.single("Proxy-Status") or "")
    assert f"The certificate of {host} " in page and text in page
    assert re.search(rf"^problem {problem}\b", page, re.MULTILINE)
    assert as_json["certificate"]["problem"] == problem and as_json["error"] == "tls_certificate_error"
    facts = proxy.wait_for_records(
        lambda record: record.get("dest_domain") == f"{host}." and record.get("error"), 2, since=since
    )
    for record in facts:
        assert record["error"]["token"] == "tls_certificate_error" and record["http_status_code"] == 502
        told = record["tls"]["origin_certificate"]
        assert told["problem"] == problem
        assert told["sha256"] in page and told["not_after"] in page and told["not_before"] in page
        shown = [fingerprint(certificate) for certificate in certificates_from_pem(pem[0])]
        assert told["sha256"] in shown + [fingerprint(root.certificate) for root in world.roots.values()]


@pytest.mark.parametrize("label", list(CASES))
def test_each_defect_has_its_verdict(label: str, world: World, proxy: ProxyProcess, certificates: Any) -> None:
    """One word, one sentence, all facts; nothing sent."""
    case = CASES[label]
    host = case.host or f"{label}.bad.test"
    pem = case.make(world, host)
    staple = case.staple(world, first(pem)) if case.staple is not None else b""
    is_refused(proxy, world, certificates.intercept[0], host, case.problem, case.text, pem, staple)


def test_on_the_list(world: World, proxy: ProxyProcess, certificates: Any, revoked: Pem) -> None:
    """A CRL holds it."""
    is_refused(proxy, world, certificates.intercept[0], "revoked.bad.test", "revoked", "is revoked", revoked)


def test_a_pin_excuses_no_other_defect(world: World, proxy: ProxyProcess, certificates: Any, pinned: Pem) -> None:
    """The pinned key in a certificate for another host is still for another host."""
    trust = certificates.intercept[0]
    is_refused(proxy, world, trust, "weak.pinned.test", "wrong_host", "is not for this host", pinned)


@pytest.mark.parametrize(
    ("host", "how", "token"),
    [
        ("tls11.test", {"maximum": SSL.TLS1_1_VERSION}, "tls_"),
        ("cbc.test", {"ciphers": "AES256-SHA", "maximum": SSL.TLS1_2_VERSION}, "tls_"),
    ],
)
def test_old_protocols_and_ciphers(
    host: str, how: dict[str, Any], token: str, world: World, proxy: ProxyProcess, certificates: Any
) -> None:
    """TLS 1.1, and ciphers without forward secrecy, are no TLS; again nothing is sent."""
    with StaplingOrigin(world.files(world.roots["public"].issue(host)), **how) as origin:
        answer = ask(proxy, host, origin.port, certificates.intercept[0])
        assert origin.received == b"" and origin.handshakes == 0
    assert answer.status == 502 and f"error={token}" in (answer.single("Proxy-Status") or "")


def good_origin(world: World, host: str, pinned: Pem) -> tuple[Pem, bytes]:
    """Certificate and staple of an origin that is in order."""
    roots = world.roots
    if host == "pinned.test":
        return pinned, b""
    if host == "own.private.test":
        return roots["private"].issue(host), b""
    if host == "sub.test":
        return roots["public"].subordinate().issue(host), b""
    if host == "listed.test":
        return roots["listed sub"].issue(host), b""
    if host == "wild.good.test":
        return roots["public"].issue("*.good.test"), b""
    pem = roots["public"].issue(host, must_staple=host == "promised.test")
    staples = {
        "stapled.test": lambda: make_staple(first(pem), roots["public"], algorithm=hashes.SHA256()),
        "delegated.test": lambda: make_staple(first(pem), roots["public"], responder=make_responder(roots["public"])),
        "promised.test": lambda: make_staple(first(pem), roots["public"]),
        "later.test": try_later,
    }
    return pem, staples[host]() if host in staples else b""


@pytest.mark.parametrize("host", [host for host in GOOD if host != "asks.test"])
def test_what_is_in_order_is_reached(
    host: str, world: World, proxy: ProxyProcess, certificates: Any, pinned: Pem
) -> None:
    """Staples are asked for; a list, a pin, a root of its own and a wildcard hold nobody up."""
    pem, staple = good_origin(world, host, pinned)
    with StaplingOrigin(world.files(pem), staple) as origin:
        assert ask(proxy, host, origin.port, certificates.intercept[0]).status == 200
        assert b"GET /secret-path" in origin.received
        assert origin.asked == 1


def test_a_client_certificate_is_shown_to_its_origin_only(
    world: World, proxy: ProxyProcess, certificates: Any, client_certificate: Pem
) -> None:
    """Another origin that asks gets none."""
    seen = {}
    for host in ("asks.test", "good.test"):
        ca = world.write("clients.pem", world.roots["private"].certificate_pem)
        with StaplingOrigin(world.files(world.roots["public"].issue(host)), client_ca=ca) as origin:
            assert ask(proxy, host, origin.port, certificates.intercept[0]).status == 200
            seen[host] = [x509.load_der_x509_certificate(der) for der in origin.clients]
    assert seen == {"asks.test": [first(client_certificate)], "good.test": []}
    assert pem_of(first(client_certificate)) in client_certificate[0]
