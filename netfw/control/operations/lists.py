"""The one way in which resources are listed."""

from __future__ import annotations

from typing import Any

from netfw.control.operations.call import Input, Output
from netfw.control.pages import PAGE, page, read_token
from netfw.store.resources import ResourceName


def listed(collection: Any, given: Input, member: str) -> Output:
    """A page of names and ARNs."""
    limit = given.get("MaxResults", PAGE)
    found: tuple[ResourceName, ...] = collection.list(read_token(member, given.get("NextToken")), limit + 1)
    names, token = page(member, found, limit, lambda one: one.name)
    return {member: [{"Name": one.name, "Arn": one.arn} for one in names], "NextToken": token}
