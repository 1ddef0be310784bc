"""Documents under their digests, packed. What is there is never changed; what nobody refers to any more can go."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.engine import Connection

from netfw.store import tables
from netfw.store.resources import canonical

_AT_ONCE = 100


def put_document(connection: Connection, document: Mapping[str, Any]) -> str:
    """Keep the document; return its digest. For writers, of whom there is one at a time."""
    body = canonical(document)
    digest = sha256(body).hexdigest()
    known = connection.execute(select(tables.documents.c.digest).where(tables.documents.c.digest == digest))
    if known.first() is None:
        connection.execute(insert(tables.documents).values(digest=digest, body=zlib.compress(body, 1)))
    return digest


def get_document(connection: Connection, digest: str) -> dict[str, Any]:
    """The document of this digest, which must be there."""
    row = connection.execute(select(tables.documents.c.body).where(tables.documents.c.digest == digest)).one()
    return unpack(row.body)


def get_documents(connection: Connection, digests: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The documents of these digests."""
    wanted = sorted(set(digests))
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(wanted), _AT_ONCE):
        chosen = tables.documents.c.digest.in_(wanted[start : start + _AT_ONCE])
        for row in connection.execute(select(tables.documents).where(chosen)):
            found[row.digest] = unpack(row.body)
    return found


def unpack(body: bytes) -> dict[str, Any]:
    """The document of a packed body."""
    document: dict[str, Any] = json.loads(zlib.decompress(bytes(body)))
    return document
