"""What a client is told: where the proxy is, what goes round it, and the files of its trust.

In this room: plain data, and the reading of what people type (`proxy_from_url`, `no_proxy_from`). Not here: which
variables come of it (`variables`), the files themselves (`netfw.cli.env` writes them).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from netfw.names.host import HostError, host_from_text

DEFAULT_PORT = 3128
DEFAULT_NO_PROXY = ("localhost", "127.0.0.1", "::1")
STORE_PASSWORD = "changeit"
"""The trust stores hold nothing secret: Java wants a password, and this is the one that its own store has."""

_URL = re.compile(
    r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://)?(?P<host>\[[^\]]*\]|[^:/@\[\]]+)(?::(?P<port>[0-9]{1,5}))?/?"
)


class SettingError(ValueError):
    """What was typed cannot be given to clients; the message says why, in words for whoever typed it."""


@dataclass(frozen=True, slots=True)
class ProxyAddress:
    """A listener as clients call it. `host` is canonical, an IPv6 address without brackets."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """host:port."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """As proxy variables have it, without a slash at the end: some clients take that for a path."""
        return f"{self.scheme}://{self.authority}"


@dataclass(frozen=True, slots=True)
class TrustFiles:
    """Where the files of trust are, as the client that reads them sees their directory."""

    directory: str

    def __post_init__(self) -> None:
        # Every format of ours is made of lines, and Unicode has line ends that only some readers know.
        if not self.directory.isprintable():
            raise SettingError("the directory's name has characters in it that cannot be printed: choose another one")

    @property
    def authority(self) -> str:
        """The proxy's CA alone (PEM): for what adds to the roots it has."""
        return f"{self.directory}/netfw-ca.pem"

    @property
    def bundle(self) -> str:
        """The system's roots and the proxy's CA (PEM): for what replaces its roots."""
        return f"{self.directory}/netfw-bundle.pem"

    @property
    def store(self) -> str:
        """The bundle again, as PKCS#12 for Java."""
        return f"{self.directory}/netfw-trust.p12"

    @property
    def wgetrc(self) -> str:
        """A start-up file for wget, which has no variable for its roots."""
        return f"{self.directory}/netfw-wgetrc"


@dataclass(frozen=True, slots=True)
class Setting:
    """All that a client is told. `trust` is None where the proxy intercepts nothing, or its CA is not known."""

    proxy: ProxyAddress
    no_proxy: tuple[str, ...] = DEFAULT_NO_PROXY
    trust: TrustFiles | None = None


def proxy_from_url(text: str) -> ProxyAddress:
    """`http://host:port`, `https://host:port` or `host:port`. Raises SettingError."""
    if "@" in text:
        raise SettingError("leave user and password out: every program that is started could read them")
    found = _URL.fullmatch(text.strip())
    if found is None:
        raise SettingError("write it as http://HOST:PORT or https://HOST:PORT")
    scheme = (found["scheme"] or "http").lower()
    if scheme not in ("http", "https"):
        raise SettingError(f"{scheme}:// is no scheme of this proxy: http:// and https:// are")
    port = int(found["port"] or DEFAULT_PORT)
    if not 0 < port < 65536:
        raise SettingError(f"{port} is no port")
    try:
        host = host_from_text(found["host"].strip("[]"))
    except HostError as error:
        raise SettingError(str(error)) from None
    return ProxyAddress(scheme, host.text, port)


def no_proxy_from(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Names and addresses that all clients read alike, from lists with commas or spaces. Raises SettingError.

    A name stands for itself and, with most clients, for what is below it; a dot before it is dropped, since some then
    leave the name itself out. Ranges, stars and ports are refused: half of the clients would silently not heed them.
    """
    entries: dict[str, None] = {}
    for entry in (part for text in texts for part in re.split(r"[,\s]+", text) if part):
        if "/" in entry:
            raise SettingError(
                f"{entry}: ranges are read by few clients; name the addresses, or let the proxy allow them"
            )
        if "*" in entry:
            raise SettingError(f"{entry}: stars mean something else to every client; write the name without the star")
        try:
            entries[host_from_text(entry.lstrip(".").strip("[]")).text] = None
        except HostError as error:
            raise SettingError(f"{entry}: {error}") from None
    return tuple(entries)
