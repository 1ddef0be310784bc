"""The file of access keys, read again whenever it has changed.

Not here: what is in it (`access_keys`), and who writes it (`netfw key`). A file that is not there holds no key; one
that cannot be used, or that others can read, lets nobody in until it is mended.
"""

from __future__ import annotations

import os
from pathlib import Path

from netfw.config.files import exposed
from netfw.control.access_keys import AccessKeys, KeyProblem, keys_from_text


def read_keys(path: Path) -> AccessKeys:
    """The keys in a file. Raises KeyProblem."""
    if not path.exists():
        return AccessKeys()
    problem = exposed(path, what="a file of access keys")
    if problem is not None:
        raise KeyProblem(problem)
    try:
        return keys_from_text(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise KeyProblem(f"{path} cannot be read: {error}") from None
    except KeyProblem as found:
        raise KeyProblem(f"{path}: {found}") from None


class KeyFile:
    """The keys of a file as it is now."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._identity: tuple[int, ...] | None = None
        self._keys: AccessKeys = AccessKeys()

    def keys(self) -> AccessKeys:
        """What the file holds. Raises KeyProblem; the keys of before do not count then."""
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            self._identity = None
            return AccessKeys()
        except OSError as error:
            raise KeyProblem(f"{self._path} cannot be read: {error.strerror}") from None
        identity = (found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode)
        if identity != self._identity:
            # Forgotten first: a file that cannot be used must not leave the keys of before in force.
            self._identity = None
            self._keys = read_keys(self._path)
            self._identity = identity
        return self._keys
