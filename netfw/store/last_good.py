"""The policy that this node had last, in a file: with it the node starts and serves while the store is away.

Written whole beside the old one and then put in its place, so that there is always a complete one. The first line is
the digest of the rest: what was damaged is not used.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from netfw.store.reading import ReadPolicy
from netfw.store.wire import ChangeLines

_FORM = "netfw policy 1"


class LastGoodUnusable(Exception):
    """The file is there and cannot be used."""


def write_last_good(path: Path, proxy: str, lines: Iterable[bytes]) -> None:
    """Keep the lines that `wire.print_change` printed for somebody who has nothing yet. Raises OSError."""
    body = json.dumps({"form": _FORM, "proxy": proxy}).encode("ascii") + b"\n" + b"".join(lines)
    content = sha256(body).hexdigest().encode("ascii") + b"\n" + body
    beside = path.with_name(f".{path.name}.new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def read_last_good(path: Path, proxy: str) -> ReadPolicy | None:
    """What was kept; None when nothing was. Raises LastGoodUnusable."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LastGoodUnusable(f"{path} cannot be read: {error.strerror}") from None
    digest, _, body = content.partition(b"\n")
    if sha256(body).hexdigest().encode("ascii") != digest:
        raise LastGoodUnusable(f"{path} is damaged; it is written anew when the store is there: remove it")
    head, first, *rest = body.split(b"\n")[:-1]
    about = json.loads(head)
    if about["form"] != _FORM:
        raise LastGoodUnusable(f"{path} is of another version: remove it")
    if about["proxy"] != proxy:
        raise LastGoodUnusable(f"{path} is of proxy {about['proxy']!r}, this is {proxy!r}: name another file")
    reader = ChangeLines(json.loads(first), {})
    for line in rest:
        reader.take(line)
    if not reader.is_complete:
        raise LastGoodUnusable(f"{path} ends in the middle: remove it")
    return ReadPolicy(reader.generation, reader.policy(reader.groups()), reader.digests, reader.asked)
