"""The variables that tell programs of the proxy and of its CA: one table, and its values for a setting.

In this room: which variable, what kind of value, who reads it. Not here: how a shell writes it down (`formats`), what
each client needs (`clients`).

Variables of trust differ: some add to the roots that a program has, most replace them. The latter get the merged
bundle, so that what is not intercepted stays reachable.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from netfw.kit.setting import STORE_PASSWORD, ProxyAddress, Setting, SettingError, TrustFiles


class Value(Enum):
    """What a variable is given."""

    PROXY = "the proxy's URL"
    AUTHORITY = "the proxy's host:port"
    HOST = "the proxy's host"
    PORT = "the proxy's port"
    HTTP = "`http`"
    YES = "`1`"
    NO_PROXY = "what goes round the proxy"
    OWN_CA = "the CA alone"
    BUNDLE = "the merged bundle"
    WGETRC = "a start-up file for wget"
    JAVA = "options for the JVM"


OF_TRUST = frozenset({Value.OWN_CA, Value.BUNDLE, Value.WGETRC})
"""Left out when no CA is known."""


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable; `readers` in words."""

    name: str
    value: Value
    readers: str


VARIABLES = (
    Variable("http_proxy", Value.PROXY, "nearly everything; curl reads no other spelling"),
    Variable("https_proxy", Value.PROXY, "nearly everything"),
    Variable("all_proxy", Value.PROXY, "curl, httpx, Go programs that ask for it"),
    Variable("no_proxy", Value.NO_PROXY, "nearly everything, each in its own way"),
    Variable("HTTP_PROXY", Value.PROXY, "what reads capitals only"),
    Variable("HTTPS_PROXY", Value.PROXY, "what reads capitals only"),
    Variable("ALL_PROXY", Value.PROXY, "what reads capitals only"),
    Variable("NO_PROXY", Value.NO_PROXY, "what reads capitals only"),
    Variable("grpc_proxy", Value.PROXY, "gRPC (C core)"),
    Variable("GRPC_PROXY", Value.PROXY, "gRPC wrappers"),
    Variable(
        "NODE_USE_ENV_PROXY", Value.YES, "Node 22.21, 24.5 and later: fetch, http, https heed the variables above"
    ),
    Variable("PERL_LWP_ENV_PROXY", Value.YES, "Perl's LWP"),
    Variable("PIP_PROXY", Value.PROXY, "pip"),
    Variable("npm_config_proxy", Value.PROXY, "npm, pnpm, yarn 1"),
    Variable("npm_config_https_proxy", Value.PROXY, "npm, pnpm, yarn 1"),
    Variable("npm_config_noproxy", Value.NO_PROXY, "npm"),
    Variable("RSYNC_PROXY", Value.AUTHORITY, "rsync:// (port 873 has to be allowed)"),
    Variable("CLOUDSDK_PROXY_TYPE", Value.HTTP, "gcloud"),
    Variable("CLOUDSDK_PROXY_ADDRESS", Value.HOST, "gcloud"),
    Variable("CLOUDSDK_PROXY_PORT", Value.PORT, "gcloud"),
    Variable(
        "SSL_CERT_FILE", Value.BUNDLE, "OpenSSL's defaults: Python's ssl, httpx, aiohttp, Go, Ruby, uv, cargo, .NET"
    ),
    Variable("REQUESTS_CA_BUNDLE", Value.BUNDLE, "requests, boto3, az, conda"),
    Variable("CURL_CA_BUNDLE", Value.BUNDLE, "curl, requests"),
    Variable("PIP_CERT", Value.BUNDLE, "pip"),
    Variable("GIT_SSL_CAINFO", Value.BUNDLE, "git, for origins"),
    Variable("GIT_PROXY_SSL_CAINFO", Value.BUNDLE, "git, for an https:// proxy"),
    Variable("AWS_CA_BUNDLE", Value.BUNDLE, "aws, boto3"),
    Variable("CARGO_HTTP_CAINFO", Value.BUNDLE, "cargo"),
    Variable("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", Value.BUNDLE, "gRPC (C core)"),
    Variable("npm_config_cafile", Value.BUNDLE, "npm"),
    Variable("PERL_LWP_SSL_CA_FILE", Value.BUNDLE, "Perl's LWP"),
    Variable("HTTPLIB2_CA_CERTS", Value.BUNDLE, "httplib2"),
    Variable("CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE", Value.BUNDLE, "gcloud"),
    Variable("NIX_SSL_CERT_FILE", Value.BUNDLE, "Nix"),
    Variable("NODE_EXTRA_CA_CERTS", Value.OWN_CA, "Node, and what is made of it: npm, yarn, pnpm, VS Code's server"),
    Variable("DENO_CERT", Value.OWN_CA, "Deno"),
    Variable("WGETRC", Value.WGETRC, "wget: it has no variable for its roots"),
    Variable("JAVA_TOOL_OPTIONS", Value.JAVA, "every JVM: Maven, Gradle, sbt; Java reads none of the variables above"),
)


def java_options(proxy: ProxyAddress, no_proxy: tuple[str, ...], store: str | None) -> tuple[str, ...]:
    """The JVM's options, not quoted. Java knows no https:// proxies: it is told of none then."""
    options: list[str] = []
    if proxy.scheme == "http":
        for scheme in ("http", "https"):
            options += [f"-D{scheme}.proxyHost={proxy.host}", f"-D{scheme}.proxyPort={proxy.port}"]
        # One property for both schemes. Java heeds a star, and takes a name for itself alone.
        hosts = [
            entry for name in no_proxy for entry in ((name, f"*.{name}") if _is_name(name) else (_bracketed(name),))
        ]
        options.append(f"-Dhttp.nonProxyHosts={'|'.join(hosts)}")
    if store is not None:
        options += [
            f"-Djavax.net.ssl.trustStore={store}",
            "-Djavax.net.ssl.trustStoreType=PKCS12",
            f"-Djavax.net.ssl.trustStorePassword={STORE_PASSWORD}",
        ]
    return tuple(options)


def java_tool_options(options: tuple[str, ...]) -> str:
    """One line as the JVM splits it again: at white space, with quotes of both kinds and no way to escape one."""
    return " ".join(_java_quoted(option) for option in options)


def _java_quoted(option: str) -> str:
    if not any(character in option for character in " \"'"):
        return option
    for quote in ('"', "'"):
        if quote not in option:
            return f"{quote}{option}{quote}"
    raise SettingError("Java cannot be told of a directory with both kinds of quotes in its name: choose another one")


def _is_name(text: str) -> bool:
    return ":" not in text and not text.rsplit(".", 1)[-1].isdigit() and text != "localhost"


def _bracketed(text: str) -> str:
    return f"[{text}]" if ":" in text else text


def assignments(setting: Setting) -> tuple[tuple[str, str], ...]:
    """Every variable with its value, in the order of the table; those of trust only where there is trust."""
    return tuple(
        (variable.name, value)
        for variable in VARIABLES
        if (value := value_of(variable.value, setting, setting.trust)) is not None
    )


def value_of(kind: Value, setting: Setting, trust: TrustFiles | None) -> str | None:
    """A value, or None when the setting has none of this kind."""
    proxy = setting.proxy
    match kind:
        case Value.PROXY:
            return proxy.url
        case Value.AUTHORITY:
            return proxy.authority
        case Value.HOST:
            return proxy.host
        case Value.PORT:
            return str(proxy.port)
        case Value.HTTP:
            return "http"
        case Value.YES:
            return "1"
        case Value.NO_PROXY:
            return ",".join(setting.no_proxy)
        case Value.JAVA:
            store = trust.store if trust is not None else None
            return java_tool_options(java_options(proxy, setting.no_proxy, store)) or None
    if trust is None:
        return None
    return {Value.OWN_CA: trust.authority, Value.BUNDLE: trust.bundle, Value.WGETRC: trust.wgetrc}[kind]
