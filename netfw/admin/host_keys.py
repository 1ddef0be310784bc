"""The keys by which the manhole shows who it is: made once, kept for ever, readable for nobody else.

An Ed25519 key and, for clients that know no better, an RSA key, in OpenSSH's form. Not here: operators' keys
(`operator_keys`).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

NAMES = ("ssh_host_ed25519_key", "ssh_host_rsa_key")
_RSA_BITS = 3072


class HostKeyError(Exception):
    """A host key cannot be used. `str()` says which, why and what to do."""


def host_keys(directory: Path) -> list[bytes]:
    """The private keys (OpenSSH PEM), made first where they are missing. Raises HostKeyError."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return [_read(directory / name) if (directory / name).exists() else _make(directory / name) for name in NAMES]
    except OSError as error:
        raise HostKeyError(f"the manhole's host keys in {directory}: {error.strerror}") from None


def _read(path: Path) -> bytes:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise HostKeyError(f"{path} has mode {mode:04o}, a host key is its owner's alone; run: chmod 0600 {path}")
    return path.read_bytes()


def _make(path: Path) -> bytes:
    private = Ed25519PrivateKey.generate() if "ed25519" in path.name else generate_private_key(65537, _RSA_BITS)
    printed = private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    # Complete before it has its name: a start that is cut off leaves no half of a key.
    unfinished = path.with_suffix(".new")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o600)
        file.write(printed)
        os.fsync(descriptor)
    os.rename(unfinished, path)
    return printed
