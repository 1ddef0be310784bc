"""Whose keys are let in, and for what: files in the form of OpenSSH's authorized_keys.

They are read at every login: a key that is taken out is out at once. A line that cannot be read, or that has options
(`from=`, `command=` ...), lets nobody in: what it restricts would not be kept. A key in both files is for reading. A
third file lets nobody in: it has those of these keys whose holders may see what only decryption shows.
Not here: the proxy's own keys (`host_keys`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.conch.checkers import IAuthorizedKeysDB, SSHPublicKeyChecker
from twisted.conch.error import ValidPublicKey
from twisted.conch.ssh.keys import BadKeyError, EncryptedKeyError, FingerprintFormats, Key
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from netfw.admin.manhole_commands import Access

_log = Logger()


@dataclass(frozen=True, slots=True)
class Operator:
    """Who has logged in. The name is what the client called itself, the fingerprint is what was proved.

    `decrypted`: may see what only decryption shows.
    """

    name: str
    fingerprint: str
    access: Access
    decrypted: bool = False


def fingerprint(blob: bytes) -> str:
    """As `ssh-keygen -l` shows it."""
    try:
        return "SHA256:" + str(Key.fromString(blob).fingerprint(FingerprintFormats.SHA256_BASE64)).rstrip("=")
    except (BadKeyError, EncryptedKeyError):
        return "unreadable"


def read_keys(path: Path | None) -> list[Any]:
    """The keys in this file; none when it cannot be read."""
    if path is None:
        return []
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        _log.error("{path} cannot be read: {error}", path=str(path), error=error.strerror)
        return []
    keys = []
    for number, line in enumerate(lines, 1):
        line = line.strip()
        if not line or line.startswith(b"#"):
            continue
        try:
            keys.append(Key.fromString(line, type="public_openssh"))
        except Exception as error:  # conch raises whatever base64 and cryptography do
            _log.error("{path}:{number} is no key: {error}", path=str(path), number=number, error=str(error))
    return keys


@implementer(IAuthorizedKeysDB)
class OperatorKeys(SSHPublicKeyChecker):
    """Checks a key and its signature; an `Operator` for one that is let in. `refused` hears of every other."""

    def __init__(
        self, authorized: Path | None, read_only: Path | None, refused: Any, decrypted: Path | None = None
    ) -> None:
        super().__init__(self)
        self._decrypted = decrypted
        self._files = {Access.READ: read_only, Access.OPERATE: authorized}
        self._refused = refused

    def getAuthorizedKeys(self, _username: bytes) -> list[Any]:
        """All keys, whatever they are for: everybody may call themselves anything."""
        return [key for path in self._files.values() for key in read_keys(path)]

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        """See `ICredentialsChecker`."""
        shown = fingerprint(credentials.blob)
        name = credentials.username.decode("utf-8", "replace")

        def let_in(_: Any) -> Operator:
            key = Key.fromString(credentials.blob)
            for access, path in self._files.items():
                if any(known == key for known in read_keys(path)):
                    sees = any(known == key for known in read_keys(self._decrypted))
                    return Operator(name, shown, access, sees)
            raise UnauthorizedLogin("the key was taken out meanwhile")

        def told(failure: Failure) -> Failure:
            if not failure.check(ValidPublicKey):  # only a question whether the key would do
                self._refused(name, shown, "this key is not let in")
            return failure

        found: Deferred[Any] = super().requestAvatarId(credentials)
        return found.addCallback(let_in).addErrback(told)
