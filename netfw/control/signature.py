"""AWS Signature Version 4: is this request signed with the secret of the key that it names? PURE.

The signature covers the signed fields and the body's hash (and POST, and the path /, the only ones that are served), so
nothing of these can be changed on the way; a date within five minutes of ours bounds how long a copy is worth
anything. No signature is remembered: real clients send the same one twice within a second. Not here: which keys there
are (`access_keys`).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from netfw.control.refusals import IncompleteSignature, InvalidSignature, MissingAuthenticationToken
from netfw.control.shapes import shown

ALGORITHM = "AWS4-HMAC-SHA256"
SKEW = 300.0
_CREDENTIAL = re.compile(r"([A-Za-z0-9_-]{1,128})/(\d{8})/([a-z0-9-]{1,64})/([a-z0-9-]{1,64})/aws4_request", re.ASCII)
_DATE = re.compile(r"[0-9]{8}T[0-9]{6}Z", re.ASCII)
_SIGNATURE = re.compile(r"[0-9a-f]{64}", re.ASCII)
_NEEDED = ("host", "x-amz-date", "x-amz-target")

Fields = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A POST of /. `fields` are names in lower case and values, in the order in which they came."""

    fields: Fields
    body: bytes

    def values(self, name: str) -> list[str]:
        """All values of a field."""
        return [value for known, value in self.fields if known == name]


@dataclass(frozen=True, slots=True)
class Claim:
    """What the Authorization field says."""

    key: str
    day: str
    region: str
    service: str
    signed: tuple[str, ...]
    signature: str
    date: str


def read_claim(request: SignedRequest, service: str, now: float) -> Claim:
    """Who the request says it is from. Raises a `Refusal` unless it can be checked, is for us, and is of today."""
    given = request.values("authorization")
    if not given:
        raise MissingAuthenticationToken(
            "the request is not signed: give the client an access key, made with `netfw key create`"
        )
    if len(given) > 1:
        raise IncompleteSignature("there is more than one Authorization field")
    algorithm, _, rest = given[0].strip().partition(" ")
    if algorithm != ALGORITHM:
        raise IncompleteSignature(f"Authorization: {shown(algorithm)} is not {ALGORITHM}")
    parts: dict[str, str] = {}
    for part in rest.split(","):
        name, _, value = part.strip().partition("=")
        if name in parts:
            raise IncompleteSignature(f"Authorization: {shown(name)} stands there twice")
        parts[name] = value
    credential = _CREDENTIAL.fullmatch(parts.get("Credential", ""))
    signature = parts.get("Signature", "")
    signed = tuple(parts.get("SignedHeaders", "").split(";"))
    if credential is None or _SIGNATURE.fullmatch(signature) is None:
        raise IncompleteSignature("Authorization: Credential, SignedHeaders and Signature are wanted")
    missing = [name for name in _NEEDED if name not in signed]
    if missing or len(set(signed)) < len(signed):
        raise IncompleteSignature(f"SignedHeaders must cover {', '.join(_NEEDED)}, each once")
    dates = request.values("x-amz-date")
    if len(dates) != 1 or _DATE.fullmatch(dates[0]) is None:
        raise IncompleteSignature("X-Amz-Date is wanted once, as 20260131T160500Z")
    key, day, region, its_service = credential.groups()
    if its_service != service:
        raise InvalidSignature(f"the credential is for service {shown(its_service)}, not {service}")
    _check_date(dates[0], day, now)
    return Claim(key, day, region, its_service, signed, signature, dates[0])


def _check_date(date: str, day: str, now: float) -> None:
    try:
        moment = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise IncompleteSignature("X-Amz-Date is no date") from None
    if date[:8] != day:
        raise InvalidSignature("the credential is for another day than X-Amz-Date")
    if abs(moment - now) > SKEW:
        ours = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
        raise InvalidSignature(
            f"Signature not current: {date} is more than {SKEW / 60:.0f} minutes from {ours}; set the client's clock"
        )


def check_signature(request: SignedRequest, claim: Claim, secret: str) -> None:
    """Raises `InvalidSignature` unless this secret signed the request; takes the same time for any wrong one."""
    expected = hmac.new(
        signing_key(secret, claim.day, claim.region, claim.service), string_to_sign(request, claim), hashlib.sha256
    ).hexdigest()
    if not hmac.compare_digest(expected, claim.signature):
        raise InvalidSignature(
            "the signature is not that of this request with the key's secret: check the secret, and whether something "
            "on the way changed the request"
        )


def signing_key(secret: str, day: str, region: str, service: str) -> bytes:
    """The key of one day, region and service."""
    key = b"AWS4" + secret.encode("utf-8")
    for part in (day, region, service, "aws4_request"):
        key = hmac.new(key, part.encode("ascii"), hashlib.sha256).digest()
    return key


def string_to_sign(request: SignedRequest, claim: Claim) -> bytes:
    """What the signature is taken of."""
    scope = f"{claim.day}/{claim.region}/{claim.service}/aws4_request"
    digest = hashlib.sha256(canonical_request(request, claim.signed)).hexdigest()
    return "\n".join((ALGORITHM, claim.date, scope, digest)).encode("ascii")


def canonical_request(request: SignedRequest, signed: Sequence[str]) -> bytes:
    """The request in the one form that both sides hash."""
    lines = ["POST", "/", ""]
    for name in signed:
        values = ",".join(" ".join(value.split()) for value in request.values(name))
        lines.append(f"{name}:{values}")
    lines += ["", ";".join(signed), hashlib.sha256(request.body).hexdigest()]
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def sign(fields: Fields, body: bytes, *, key: str, secret: str, region: str, service: str, date: str) -> str:
    """The Authorization field of a request: the client's side. `fields` are those to be signed, with `x-amz-date`."""
    names = tuple(sorted(name for name, _ in fields))
    claim = Claim(key, date[:8], region, service, names, "", date)
    to_sign = string_to_sign(SignedRequest(fields, body), claim)
    signature = hmac.new(signing_key(secret, claim.day, region, service), to_sign, hashlib.sha256).hexdigest()
    return (
        f"{ALGORITHM} Credential={key}/{claim.day}/{region}/{service}/aws4_request, "
        f"SignedHeaders={';'.join(names)}, Signature={signature}"
    )
