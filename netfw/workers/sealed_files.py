"""Copies of certificates, keys and lists in memory, for workers.

Workers need no right to read the files, and no message holds what is in them: they get descriptors, when they start and
whenever the files were read anew. Nobody can change a copy. Not here: which files there are (`config.credential_files`)
and what they are for.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def sealed_copy(path: Path) -> int:
    """A descriptor of a file in memory with this file's content, which nobody can change any more. Raises OSError."""
    content = path.read_bytes()
    descriptor = os.memfd_create(path.name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        if os.write(descriptor, content) != len(content):
            raise OSError(f"{path} could not be copied")
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
        return descriptor
    except BaseException:
        os.close(descriptor)
        raise


def sealed_copies(paths: Iterable[Path], former: Mapping[Path, int] | None = None) -> dict[Path, int]:
    """A copy of each; of what this user may not read, that of `former`. Raises OSError, and then there is none."""
    copies: dict[Path, int] = {}
    try:
        for path in paths:
            if former is not None and path in former and not os.access(path, os.R_OK) and os.path.exists(path):
                copies[path] = os.dup(former[path])
            else:
                copies[path] = sealed_copy(path)
    except BaseException:
        close_files(copies)
        raise
    return copies


def close_files(copies: Mapping[Path, int]) -> None:
    """Close them."""
    for descriptor in copies.values():
        os.close(descriptor)


def path_of_descriptor(descriptor: int) -> Path:
    """Where the process that has it finds the file behind this descriptor."""
    return Path(f"/proc/self/fd/{descriptor}")


def places_of(copies: Mapping[Path, int]) -> Callable[[Path], Path]:
    """Where this process reads a file of which it has a copy; KeyError for any other."""
    return lambda path: path_of_descriptor(copies[path])
