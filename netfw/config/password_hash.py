"""Hashes of passwords as they stand in a users file: scrypt, which Python has, and bcrypt, which `htpasswd -B` writes.

Both are slow on purpose: a tenth of a second of a processor, or more. Not here: the file (`users_file`), and when a
password is checked at all (`proxy.passwords`).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
from dataclasses import dataclass

_SCRYPT = re.compile(
    r"\$scrypt\$ln=([0-9]{1,2}),r=([0-9]{1,2}),p=([0-9]{1,2})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})", re.ASCII
)
_BCRYPT = re.compile(r"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}", re.ASCII)
# OWASP's least for scrypt: 16 MiB, five times.
_LOG_N, _R, _P = 14, 8, 5
MOST_MEMORY = 128 * 1024 * 1024
MOST_BCRYPT_COST = 14
LONGEST_BCRYPT = 72
"""Octets: bcrypt looks at no more, so longer passwords would be equal to others."""


class HashRefused(ValueError):
    """Why a hash is not taken."""


@dataclass(frozen=True, slots=True)
class PasswordHash:
    """One hash. `matches` takes its time: call it in a thread."""

    text: str

    def matches(self, password: bytes) -> bool:
        """Whether this is the password."""
        found = _SCRYPT.fullmatch(self.text)
        if found is not None:
            salt, wanted = _unpadded(found[4]), _unpadded(found[5])
            made = _scrypt(password, salt, int(found[1]), int(found[2]), int(found[3]), len(wanted))
            return hmac.compare_digest(made, wanted)
        import bcrypt

        if len(password) > LONGEST_BCRYPT or b"\x00" in password:
            return False
        return bool(bcrypt.checkpw(password, self.text.encode("ascii")))


def read_hash(text: str) -> PasswordHash:
    """The hash that is written so. Raises HashRefused."""
    found = _SCRYPT.fullmatch(text)
    if found is not None:
        log_n, r, p = int(found[1]), int(found[2]), int(found[3])
        if not (1 <= log_n <= 24 and r >= 1 and 1 <= p <= 16) or 128 * r << log_n > MOST_MEMORY:
            raise HashRefused("asks for more memory or time than a proxy can give to a password")
        return PasswordHash(text)
    found = _BCRYPT.fullmatch(text)
    if found is not None:
        if not 4 <= int(found[1]) <= MOST_BCRYPT_COST:
            raise HashRefused(f"has a cost of {found[1]}; write one with 10 to {MOST_BCRYPT_COST}")
        try:
            import bcrypt
        except ImportError:
            raise HashRefused("is a bcrypt hash, which needs the package python3-bcrypt") from None
        assert bcrypt is not None
        return PasswordHash(text)
    if text.startswith(("$apr1$", "{SHA}", "$1$")):
        raise HashRefused("is made with MD5 or SHA-1, which are quick to try out; make one with `netfw user add`")
    raise HashRefused("is neither a scrypt nor a bcrypt hash; make one with `netfw user add`, or with htpasswd -B")


def make_hash(password: bytes) -> PasswordHash:
    """A new scrypt hash, with a salt of its own."""
    salt = os.urandom(16)
    made = _scrypt(password, salt, _LOG_N, _R, _P, 32)
    return PasswordHash(f"$scrypt$ln={_LOG_N},r={_R},p={_P}${_shown(salt)}${_shown(made)}")


def _scrypt(password: bytes, salt: bytes, log_n: int, r: int, p: int, size: int) -> bytes:
    room = 2 * MOST_MEMORY
    return hashlib.scrypt(password, salt=salt, n=1 << log_n, r=r, p=p, maxmem=room, dklen=size)


def _shown(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii").rstrip("=")


def _unpadded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4))
