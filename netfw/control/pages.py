"""Lists in pages: a NextToken says after which name the next page begins. PURE.

It holds a name and no position, so resources that come and go between two pages move nothing. It is no secret and no
promise: whoever may list may make one up.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from typing import TypeVar

from netfw.control.refusals import InvalidRequest
from netfw.control.shapes import shown

Item = TypeVar("Item")
PAGE = 100


def next_token(what: str, last: str) -> str:
    """The token for what comes after `last`."""
    return b64encode(f"{what}:{last}".encode()).decode("ascii")


def read_token(what: str, token: str | None) -> str | None:
    """The name that a page begins after; None is the first page. Raises `InvalidRequest`."""
    if token is None:
        return None
    problem = InvalidRequest(f"NextToken: {shown(token)} is not one of this list; take it from the page before")
    try:
        text = b64decode(token, validate=True).decode("utf-8")
    except ValueError:
        raise problem from None
    if not text.startswith(f"{what}:"):
        raise problem
    return text[len(what) + 1 :]


def page(
    what: str, items: Sequence[Item], limit: int, name: Callable[[Item], str]
) -> tuple[Sequence[Item], str | None]:
    """The page and the next token, from up to `limit` + 1 items; the one too many says that there is another page."""
    if len(items) <= limit:
        return items, None
    return items[:limit], next_token(what, name(items[limit - 1]))
