"""What outputs prove themselves to servers with: fields of requests, certificates, keys of AWS.

In this room: files and environment variables in, values out; they are read at the start and by every reload. Nothing of
them is printed: not by `repr`, and not by an error. Not here: when that happens (`service.reading_anew`), and who uses
them (`http_carrier`, `aws_carriers`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from configparser import ConfigParser
from configparser import Error as NotIni
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from OpenSSL import SSL, crypto
from twisted.internet.error import VerifyError
from twisted.internet.ssl import Certificate, PrivateCertificate, optionsForClientTLS, trustRootFromCertificates
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from netfw.config.delivery_model import AwsSection, DeliverySection, HttpSection, SecretSource

_END = b"-----END CERTIFICATE-----"
_BEGIN = b"-----BEGIN CERTIFICATE-----"
_PROFILE = "default"

Place = Callable[[Path], Path]


class DeliverySecretProblem(Exception):
    """Why one cannot be used; the text begins with the file, or the variable."""


@dataclass(frozen=True, slots=True)
class HttpCredentials:
    """What is told to the server, and what it is verified by: PEM texts, None for the system's roots, or for none."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca: bytes | None = None
    certificate: bytes | None = field(default=None, repr=False)
    """The client's certificate, its chain, and its private key."""


@dataclass(frozen=True, slots=True)
class AwsKeys:
    """A pair of keys; `token` comes with those that expire."""

    identifier: str
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


@implementer(IPolicyForHTTPS)
class ServerVerification:
    """TLS towards servers by these credentials. Raises ValueError where they cannot be used."""

    def __init__(self, credentials: HttpCredentials) -> None:
        self._options: dict[str, Any] = {}
        try:
            if credentials.ca is not None:
                self._options["trustRoot"] = trustRootFromCertificates(_certificates(credentials.ca))
            if credentials.certificate is not None:
                self._options["clientCertificate"] = PrivateCertificate.loadPEM(credentials.certificate)
                chain = [found.original for found in _certificates(credentials.certificate)[1:]]
                if chain:
                    self._options["extraCertificateOptions"] = {"extraCertChain": chain}
            self.creatorForNetloc(b"check.invalid", 443)
        except (SSL.Error, crypto.Error, VerifyError, ValueError) as error:
            raise ValueError(f"cannot be used for TLS: {tls_words(error)}") from None

    def creatorForNetloc(self, hostname: bytes, port: int) -> Any:
        """See `IPolicyForHTTPS`."""
        return optionsForClientTLS(hostname.decode("ascii"), **self._options)


def read_delivery_secrets(
    section: DeliverySection, place: Place, environment: Mapping[str, str]
) -> HttpCredentials | AwsKeys | None:
    """Read them; `place` says where a file is. None where boto3 finds them itself. Raises DeliverySecretProblem."""
    if section.aws is not None:
        return None if section.aws.credentials is None else _aws_keys(section.aws, place)
    assert section.posts is not None
    return _http_credentials(section.posts, place, environment)


def tls_words(error: BaseException) -> str:
    """What OpenSSL says, without its codes."""
    said = error.args[0] if error.args else ""
    if isinstance(said, list):
        return ", ".join(str(part[-1]) for part in said) or "the connection was closed"
    return str(said)


def _http_credentials(section: HttpSection, place: Place, environment: Mapping[str, str]) -> HttpCredentials:
    headers = dict(section.headers)
    for name, source in section.secrets.items():
        headers[name] = _secret(source, place, environment)
    certificate = None
    if section.certificate is not None and section.private_key is not None:
        certificate = _content(section.certificate, place) + b"\n" + _content(section.private_key, place)
    credentials = HttpCredentials(headers, None if section.ca is None else _content(section.ca, place), certificate)
    try:
        ServerVerification(credentials)
    except ValueError as error:
        named = " and ".join(str(path) for path in (section.certificate, section.ca) if path is not None)
        raise DeliverySecretProblem(f"{named or section.url}: {error}") from None
    return credentials


def _secret(source: SecretSource, place: Place, environment: Mapping[str, str]) -> str:
    if source.file is not None:
        where = str(source.file)
        try:
            found = _content(source.file, place).decode("ascii").split("\n", 1)[0].strip()
        except UnicodeDecodeError:
            raise DeliverySecretProblem(f"{where}: is not ASCII, as a field's value has to be") from None
    else:
        where = f"${source.variable}"
        found = environment.get(source.variable or "", "").strip()
    if not found:
        raise DeliverySecretProblem(f"{where}: {'its first line is empty' if source.file else 'is not set'}")
    if not (found.isascii() and found.isprintable()):
        raise DeliverySecretProblem(f"{where}: holds what no field's value may have")
    return found


def _aws_keys(section: AwsSection, place: Place) -> AwsKeys:
    assert section.credentials is not None
    where, profile = section.credentials, section.profile or _PROFILE
    parser = ConfigParser(interpolation=None)
    try:
        parser.read_string(_content(where, place).decode())
    except (NotIni, UnicodeDecodeError):
        # Their texts would quote the file.
        raise DeliverySecretProblem(f"{where}: is no file of credentials as the AWS CLI has it") from None
    found = dict(parser[profile]) if parser.has_section(profile) else {}
    identifier, secret = found.get("aws_access_key_id"), found.get("aws_secret_access_key")
    if not identifier or not secret:
        raise DeliverySecretProblem(
            f"{where}: has no aws_access_key_id and aws_secret_access_key in its section [{profile}]"
        )
    return AwsKeys(identifier, secret, found.get("aws_session_token"))


def _content(path: Path, place: Place) -> bytes:
    try:
        return place(path).read_bytes()
    except OSError as error:
        raise DeliverySecretProblem(f"{path}: cannot be read: {error.strerror}") from None


def _certificates(pem: bytes) -> list[Any]:
    parts = [part[part.index(_BEGIN) :] + _END for part in pem.split(_END) if _BEGIN in part]
    if not parts:
        raise ValueError("there is no certificate in it")
    return [Certificate.loadPEM(part) for part in parts]
