"""`netfw env`: the variables that send a client's programs through the proxy and make them trust its CA.

In this room: what the client is told, found from options, configuration or environment; the files of trust; printing.
`run` and `doctor` find it the same way. Not here: the variables and the formats (`netfw.kit`).
"""

from __future__ import annotations

import http.client
import os
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from netfw.cli.config_option import config_option
from netfw.config.load import load_config
from netfw.config.model import Configuration, ListenerType
from netfw.config.places import PLACES
from netfw.kit.clients import CLIENTS, Support
from netfw.kit.formats import CONTAINER_DIRECTORY, FORMATS
from netfw.kit.setting import (
    DEFAULT_NO_PROXY,
    ProxyAddress,
    Setting,
    SettingError,
    TrustFiles,
    no_proxy_from,
    proxy_from_url,
)
from netfw.kit.trust_store import SYSTEM_ROOTS, certificates_only, der_certificates, pkcs12_store
from netfw.x509.export import pem_bundle
from netfw.x509.reading import certificates_from_pem, fingerprint

FETCH_SECONDS = 10.0
PEM_LIMIT = 1 << 20
Function = TypeVar("Function", bound=Callable[..., Any])


def kit_options(function: Function) -> Function:
    """Add the options that say where the proxy is and whom to trust; the function gets them as `**kit`."""
    for option in (
        click.option(
            "--no-proxy", multiple=True, metavar="NAMES", help="What goes round the proxy. Default: localhost."
        ),
        click.option("--bundle-dir", metavar="DIR", help="Where the files of trust go. Default: ~/.local/share/netfw."),
        click.option("--system-roots", metavar="FILE", help="The roots to add the CA to. Default: the system's."),
        click.option(
            "--ca-fingerprint", metavar="SHA256", help="Take the CA from the proxy, if it has this fingerprint."
        ),
        click.option("--ca", metavar="FILE", help="The proxy's CA (PEM). Default: the configured one."),
        click.option("--proxy", metavar="URL", help="http://HOST:PORT. Default: as configured, else $https_proxy."),
        config_option,
    ):
        function = option(function)
    return function


@click.command("env")
@click.option(
    "--format", "-f", "form", type=click.Choice(list(FORMATS)), default="sh", show_default=True, help="For whom."
)
@click.option("--unset", is_flag=True, help="Print the way back: the same variables are removed.")
@kit_options
def env_command(form: str, unset: bool, **kit: Any) -> None:
    """Print what sends a client's programs through the proxy, and makes them trust its CA.

    \b
    This shell, until it ends:      eval "$(netfw env --proxy http://egress:3128 --ca ca.pem)"
    The way back:                   eval "$(netfw env --unset)"
    A job on GitHub:                netfw env --format github >> "$GITHUB_ENV"
    An image:                       netfw env --format dockerfile --bundle-dir . >> Dockerfile

    Programs that replace their roots get a bundle of the system's and the CA; it is written to --bundle-dir. Without a
    CA only the proxy is told of. Old values, JAVA_TOOL_OPTIONS too, are replaced. docs/clients.md says who reads what.
    """
    chosen = FORMATS[form]
    if unset:
        if chosen.unset is None:
            raise click.UsageError(f"{form} has no way back of its own: {chosen.way_back}")
        click.echo(chosen.unset(), nl=False)
        return
    setting = find_setting(**kit, seen_as=CONTAINER_DIRECTORY if chosen.in_container else None)
    if setting.proxy.scheme == "https":
        cannot = ", ".join(client.name for client in CLIENTS if client.tls_proxy is Support.NO)
        click.echo(f"An https:// proxy is not for these, which need an http:// listener: {cannot}", err=True)
    try:
        click.echo(chosen.write(setting), nl=False)
    except SettingError as error:
        raise click.ClickException(str(error)) from None


def find_setting(
    *,
    config: Path | None,
    proxy: str | None,
    ca: str | None,
    ca_fingerprint: str | None,
    system_roots: str | None,
    bundle_dir: str | None,
    no_proxy: tuple[str, ...],
    seen_as: str | None = None,
) -> Setting:
    """What the client is told; writes the files of trust. Raises click's exceptions and ConfigErrors.

    `seen_as` is what the files' directory is called where the client runs, if that is another place.
    """
    # Whoever names a proxy means that one: a configuration that happens to lie here may be another one's.
    configuration = find_configuration(config) if config is not None or proxy is None else None
    try:
        address = find_proxy(configuration, proxy)
        around = no_proxy_from(no_proxy) if no_proxy else DEFAULT_NO_PROXY
        authority = find_authority(configuration, address, ca, ca_fingerprint)
        if authority is None:
            return Setting(address, around)
        directory = Path(bundle_dir).absolute() if bundle_dir is not None else _data_directory()
        trust = TrustFiles(seen_as or str(directory))
        own_wgetrc = b"" if seen_as is not None else _own_wgetrc()
        _write_trust(TrustFiles(str(directory)), trust, authority, _system_roots(system_roots), own_wgetrc)
    except SettingError as error:
        raise click.ClickException(str(error)) from None
    return Setting(address, around, trust)


def find_configuration(config: Path | None) -> Configuration | None:
    """The proxy's own configuration, where this is its machine."""
    place = config or next((place for place in PLACES if place.is_file() and os.access(place, os.R_OK)), None)
    return load_config(place, with_files=False) if place is not None else None


def find_proxy(configuration: Configuration | None, named: str | None) -> ProxyAddress:
    """The listener that clients use: as named, as configured, or as the environment has it. Raises SettingError."""
    if named is not None:
        return proxy_from_url(named)
    if configuration is not None:
        listeners = [listener for listener in configuration.listeners if listener.port]
        # Clients that can do only plain HTTP to a proxy are many: the plain listeners come first.
        # And of these the ones whose port no store chooses.
        for listener in sorted(listeners, key=lambda one: (bool(one.from_store), one.type is ListenerType.HTTPS)):
            scheme = "https" if listener.type is ListenerType.HTTPS else "http"
            address = "127.0.0.1" if listener.address.is_unspecified else str(listener.address)
            return ProxyAddress(scheme, configuration.proxy.hostname or address, listener.port)
    for name in ("https_proxy", "HTTPS_PROXY", "http_proxy"):
        if os.environ.get(name):
            return proxy_from_url(os.environ[name])
    raise SettingError("which proxy? Name it with --proxy http://HOST:PORT")


def find_authority(
    configuration: Configuration | None, proxy: ProxyAddress, file: str | None, wanted: str | None
) -> bytes | None:
    """The CA's certificates, and nothing else of its file; None when there is none to trust."""
    if file is not None:
        return _read_authority(Path(file))
    if wanted is not None:
        return _fetch_authority(proxy, wanted)
    if configuration is not None:
        intercept = configuration.tls_intercept
        if not intercept.enabled or intercept.ca_certificate is None:
            return None
        return _read_authority(intercept.ca_certificate)
    click.echo(
        "No CA is set up: if the proxy intercepts, name its certificate with --ca FILE, or its fingerprint with "
        f"--ca-fingerprint SHA256 ({proxy.url}/ca.pem has the certificate)",
        err=True,
    )
    return None


def _read_authority(path: Path) -> bytes:
    try:
        content = certificates_only(path.read_bytes())
    except OSError as error:
        raise click.ClickException(f"{path} cannot be read: {error.strerror}") from None
    if not content:
        raise click.ClickException(f"{path} holds no PEM certificate")
    return content


def fetch_page(proxy: ProxyAddress, path: str, context: ssl.SSLContext | None = None) -> tuple[int, bytes]:
    """One of the listener's own pages. Raises OSError and HTTPException."""
    connection: http.client.HTTPConnection
    if proxy.scheme == "https":
        connection = http.client.HTTPSConnection(proxy.host, proxy.port, timeout=FETCH_SECONDS, context=context)
    else:
        connection = http.client.HTTPConnection(proxy.host, proxy.port, timeout=FETCH_SECONDS)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read(PEM_LIMIT)
    finally:
        connection.close()


def _fetch_authority(proxy: ProxyAddress, wanted: str) -> bytes:
    """Only with the fingerprint from elsewhere: on the way here anybody could put in a CA of his own."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # what comes is compared with the fingerprint
    try:
        status, content = fetch_page(proxy, "/ca.pem", context)
    except (OSError, http.client.HTTPException) as error:
        raise click.ClickException(f"{proxy.url}/ca.pem cannot be had: {error or type(error).__name__}") from None
    content = certificates_only(content)
    if status != 200 or not content:
        raise click.ClickException(f"{proxy.url}/ca.pem has no certificate (status {status})")
    found = certificates_from_pem(content)
    digits = wanted.replace(":", "").replace(" ", "").lower()
    for certificate, der in zip(found, der_certificates(content), strict=True):
        if fingerprint(certificate) == digits:
            return ssl.DER_cert_to_PEM_cert(der).encode()
    raise click.ClickException(
        f"{proxy.url}/ca.pem has another fingerprint, so it is not trusted: {', '.join(map(fingerprint, found))}"
    )


def _system_roots(named: str | None) -> bytes:
    for place in [named] if named is not None else SYSTEM_ROOTS:
        try:
            return Path(place).read_bytes()
        except OSError as error:
            if named is not None:
                raise click.ClickException(f"{named} cannot be read: {error.strerror}") from None
    click.echo("No system roots were found: only what the proxy intercepts will be trusted", err=True)
    return b""


def _data_directory() -> Path:
    data = os.environ.get("XDG_DATA_HOME")
    if data and data.startswith("/"):
        return Path(data) / "netfw"
    try:
        return Path.home() / ".local" / "share" / "netfw"
    except RuntimeError:
        raise click.ClickException("there is no home directory: name one with --bundle-dir") from None


def _own_wgetrc() -> bytes:
    try:
        return (Path.home() / ".wgetrc").read_bytes().rstrip(b"\n") + b"\n"
    except (OSError, RuntimeError):
        return b""


def _write_trust(here: TrustFiles, there: TrustFiles, authority: bytes, system: bytes, own_wgetrc: bytes) -> None:
    """`here` is where the files are written, `there` where clients find them."""
    bundle = pem_bundle(certificates_from_pem(authority), system)
    files = {
        here.authority: authority,
        here.bundle: bundle,
        here.store: pkcs12_store(der_certificates(bundle)),
        here.wgetrc: own_wgetrc + f"ca_certificate = {there.bundle}\n".encode(),
    }
    directory = Path(here.directory)
    try:
        # For others to read and not to write, whatever the umask: who writes here says whom to trust.
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        for path, content in files.items():
            _replace(Path(path), content)
    except OSError as error:
        raise click.ClickException(f"{error.filename} cannot be written: {error.strerror}") from None


def _replace(path: Path, content: bytes) -> None:
    """The whole file or the old one: programs that run read it at any moment."""
    if path.is_file() and path.read_bytes() == content:
        return
    descriptor, temporary = tempfile.mkstemp(prefix=path.name, dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
