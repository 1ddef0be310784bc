"""What each client program needs: how it is told of a proxy, what makes it trust a CA, and what it does not do.

In this room: a table, a row a client. What was tried against a proxy is told apart from what a client's documentation
says. Not here: the variables' values (`variables`), the page that is printed from this (`document`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Support(Enum):
    """Whether a client can speak TLS to the proxy itself (an `https://` proxy URL)."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "?"


@dataclass(frozen=True, slots=True)
class Client:
    """`told_by` and `trusts` are variables of the kit; `also` is what it needs besides, or how else it is told.

    `tried` False: the row follows the client's documentation alone.
    """

    name: str
    told_by: tuple[str, ...]
    trusts: tuple[str, ...]
    tls_proxy: Support
    also: str = ""
    tried: bool = True


_ENV = ("http_proxy", "https_proxy", "no_proxy")
_SSL = ("SSL_CERT_FILE",)
_NODE = ("NODE_EXTRA_CA_CERTS",)
_JVM = ("JAVA_TOOL_OPTIONS",)
_YES, _NO, _UNKNOWN = Support.YES, Support.NO, Support.UNKNOWN

CLIENTS = (
    Client("curl", _ENV, ("CURL_CA_BUNDLE", "SSL_CERT_FILE"), _YES,
           "reads `http_proxy` in small letters only; an https:// proxy's certificate is verified with the system's "
           "roots or `--proxy-cacert`"),
    Client("wget", _ENV, ("WGETRC",), _NO, "has no variable for its roots: the kit names a start-up file"),
    Client("git", _ENV, ("GIT_SSL_CAINFO",), _YES, "an https:// proxy's CA: `GIT_PROXY_SSL_CAINFO`"),
    Client("pip", (*_ENV, "PIP_PROXY"), ("PIP_CERT", "REQUESTS_CA_BUNDLE"), _YES,
           "calls a denial \"no matching distribution\"; `-v` shows more"),
    Client("uv", _ENV, _SSL, _YES, "tries a refused CONNECT four times"),
    Client("Python requests", _ENV, ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"), _YES, "does not read `SSL_CERT_FILE`"),
    Client("Python httpx", (*_ENV, "all_proxy"), _SSL, _YES, "does not read `REQUESTS_CA_BUNDLE`"),
    Client("Python aiohttp", _ENV, _SSL, _NO,
           "only with `trust_env=True` in the code; goes direct when an https:// proxy stands in the environment"),
    Client("Python urllib", _ENV, _SSL, _NO),
    Client("Python urllib3", (), _SSL, _YES, "`ProxyManager` in the code"),
    Client("aws, boto3", _ENV, ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"), _YES),
    Client("gRPC (C core: Python, Ruby, PHP)", ("https_proxy", "grpc_proxy"), ("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",),
           _NO, "offers HTTP/2 only: its hosts have to be bypassed by interception"),
    Client("Node: fetch, http, https", ("NODE_USE_ENV_PROXY", *_ENV), _NODE, _YES,
           "from 22.21 and 24.5 on; older ones go direct, and need an agent in the code"),
    Client("Node: undici EnvHttpProxyAgent", _ENV, _NODE, _YES, "an agent in the code; sends CONNECT for http:// too"),
    Client("Node: axios, https-proxy-agent", _ENV, _NODE, _YES),
    Client("npm", (*_ENV, "npm_config_proxy", "npm_config_https_proxy", "npm_config_noproxy"),
           ("npm_config_cafile", "NODE_EXTRA_CA_CERTS"), _YES),
    Client("Deno", _ENV, ("DENO_CERT",), _UNKNOWN, tried=False),
    Client("Go programs", _ENV, _SSL, _YES, "never for localhost; `SSL_CERT_FILE` on Linux only"),
    Client("Java: HttpClient, HttpURLConnection", _JVM, _JVM, _NO,
           "reads no proxy variables; a proxy set in the code comes first"),
    Client("Maven", _JVM, _JVM, _NO, "or `--format maven` for settings.xml", tried=False),
    Client("Gradle", _JVM, _JVM, _NO, "or `systemProp.https.proxyHost` in gradle.properties", tried=False),
    Client("cargo", _ENV, ("CARGO_HTTP_CAINFO", "SSL_CERT_FILE"), _YES, "tries a refused CONNECT four times"),
    Client("apt", _ENV, (), _UNKNOWN, "`--format apt`: sudo drops variables, and trust is a setting of its own"),
    Client("Perl LWP", ("PERL_LWP_ENV_PROXY", *_ENV), ("PERL_LWP_SSL_CA_FILE",), _NO),
    Client("Ruby Net::HTTP", _ENV, _SSL, _NO),
    Client("aria2c", _ENV, (), _NO, "`--ca-certificate` on its command line"),
    Client("rsync", ("RSYNC_PROXY",), (), _NO, "rsync:// only, over CONNECT to port 873", tried=False),
    Client("gcloud", ("CLOUDSDK_PROXY_TYPE", "CLOUDSDK_PROXY_ADDRESS", "CLOUDSDK_PROXY_PORT"),
           ("CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",), _UNKNOWN, tried=False),
    Client("az", _ENV, ("REQUESTS_CA_BUNDLE",), _UNKNOWN, tried=False),
    Client("Nix", _ENV, ("NIX_SSL_CERT_FILE",), _UNKNOWN,
           "builds run in a daemon with an environment of its own", tried=False),
    Client(".NET", _ENV, _SSL, _UNKNOWN, tried=False),
    Client("Docker daemon, containerd", _ENV, _SSL, _UNKNOWN,
           "their service needs the variables (a drop-in for systemd); builds and containers do not inherit them",
           tried=False),
    Client("ssh, git over ssh", (), (), _NO,
           "`ProxyCommand nc -X connect -x HOST:PORT %h %p`, where port 22 is allowed", tried=False),
    Client("Chromium, Chrome", (), (), _YES,
           "`/proxy.pac` or `--proxy-server`; the CA goes into its certificate store"),
    Client("Firefox", (), (), _YES, "`/proxy.pac`; its own store, or `security.enterprise_roots.enabled`", tried=False),
)  # fmt: skip
