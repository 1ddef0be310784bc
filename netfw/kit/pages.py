"""What the listener serves to who asks the proxy itself: contents and content types, and no HTTP.

In this room: `pages`, all of them for a set of listeners and a CA; `/setup.sh` has a module of its own. Nothing of a
request goes into them: what a client says its proxy is called could be anybody's.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from html import escape

from netfw.kit.setting import STORE_PASSWORD, ProxyAddress
from netfw.kit.setup_script import setup_script
from netfw.kit.trust_store import certificates_only, der_certificates, pkcs12_store

NO_CA = "This proxy does not intercept TLS: there is no certificate to trust.\n"
NO_CRL = "There is no list of revoked certificates here: `netfw ca crl` makes one.\n"
NO_ADDRESS = "This proxy does not know how clients call it: its configuration has to say so (proxy.hostname).\n"
TEXT = "text/plain; charset=utf-8"

_ABOUT = {
    "/ca.pem": "its CA, as PEM",
    "/ca.der": "its CA, as DER: for Windows, macOS, Android",
    "/ca.p12": f'its CA as a PKCS#12 trust store without keys, for Java; the password is "{STORE_PASSWORD}"',
    "/ca.crl": "what its CA has revoked (DER)",
    "/setup.sh": "a script that sets up a shell: read it, then run it",
    "/proxy.pac": "automatic configuration for browsers",
}


@dataclass(frozen=True, slots=True)
class Page:
    """One page. `problem` 404: there is none, and `content` says why."""

    content_type: str
    content: bytes
    problem: int | None = None


def pages(
    name: str,
    listeners: tuple[ProxyAddress, ...],
    authority_pem: bytes | None,
    crl: bytes | None = None,
    *,
    pac_direct: bool = False,
) -> dict[str, Page]:
    """Every page by its path. `listeners` is how clients may call the proxy, the preferred one first; `crl`: in DER."""
    certificates = certificates_only(authority_pem) if authority_pem is not None else b""
    found: dict[str, Page] = {}
    if certificates:
        ders = der_certificates(certificates)
        found["/ca.pem"] = Page("application/x-pem-file", certificates)
        # One certificate has room in it: the last is nearest to the root, which is what has to be trusted.
        found["/ca.der"] = Page("application/x-x509-ca-cert", ders[-1])
        found["/ca.p12"] = Page("application/x-pkcs12", pkcs12_store(ders))
    else:
        for path in ("/ca.pem", "/ca.der", "/ca.p12"):
            found[path] = Page(TEXT, NO_CA.encode(), 404)
    found["/ca.crl"] = Page(TEXT, NO_CRL.encode(), 404)
    if certificates and crl is not None:
        found["/ca.crl"] = Page("application/pkix-crl", crl)
    if listeners:
        script = setup_script(listeners[0], certificates or None)
        found["/setup.sh"] = Page("text/x-shellscript; charset=utf-8", script.encode())
        script = proxy_pac(listeners, direct=pac_direct)
        found["/proxy.pac"] = Page("application/x-ns-proxy-autoconfig", script.encode())
    else:
        for path in ("/setup.sh", "/proxy.pac"):
            found[path] = Page(TEXT, NO_ADDRESS.encode(), 404)
    links = [path for path, page in found.items() if page.problem is None]
    found["/"] = Page("text/html; charset=utf-8", _front_page(name, listeners, certificates, links).encode())
    return found


def proxy_pac(listeners: tuple[ProxyAddress, ...], *, direct: bool = False) -> str:
    """Automatic configuration: the listeners in their order. `direct` lets browsers go round a proxy that is down."""
    ways = [f"{'HTTPS' if listener.scheme == 'https' else 'PROXY'} {listener.authority}" for listener in listeners]
    result = "; ".join([*ways, *(["DIRECT"] if direct else [])])
    # A host is letters, digits, dots, hyphens and colons: nothing of it could end the string.
    return f'function FindProxyForURL(url, host) {{\n  return "{result}";\n}}\n'


def _front_page(name: str, listeners: tuple[ProxyAddress, ...], certificates: bytes, links: list[str]) -> str:
    url = listeners[0].url if listeners else "http://THIS-HOST:PORT"
    lines = [
        "<!DOCTYPE html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{escape(name)}</title></head><body>',
        f"<p>This is {escape(name)}, a forward proxy (netfw). It does not serve web pages itself.</p>",
        "<p>Tell your program to use it:</p>",
        f"<pre>export http_proxy={url} https_proxy={url}</pre>",
    ]
    if certificates:
        prints = "\n".join(hashlib.sha256(found).hexdigest() for found in der_certificates(certificates))
        lines += [
            "<p>It reads TLS, so your program must trust its CA. Compare the SHA-256 fingerprint with what the proxy's",
            "administrator says before you do:</p>",
            f"<pre>{prints}</pre>",
        ]
    lines += ["<ul>", *(f'<li><a href="{path}">{path}</a>: {escape(_ABOUT[path])}</li>' for path in links), "</ul>"]
    return "\n".join([*lines, "</body></html>", ""])
