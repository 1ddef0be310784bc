"""Tags of proxies, configurations and rule groups: set, remove, list. They are no part of the policy."""

from __future__ import annotations

from typing import Any

from netfw.control.arns import read_arn
from netfw.control.operations.call import Call, Input, Output
from netfw.control.operations.finding import collection_of, find_by
from netfw.control.pages import PAGE, page, read_token
from netfw.control.translation import check_tags, read_tags, shown_tags


def tag(transaction: Any, given: Input, call: Call) -> Output:
    """TagResource."""
    collection, resource = _find(transaction, given)
    tags = {**resource.tags, **read_tags(given["Tags"], call.site.quotas)}
    check_tags(tags, call.site.quotas)
    call.retag(collection, resource, tags)
    return {}


def untag(transaction: Any, given: Input, call: Call) -> Output:
    """UntagResource."""
    collection, resource = _find(transaction, given)
    doomed = set(given["TagKeys"])
    call.retag(collection, resource, {key: value for key, value in resource.tags.items() if key not in doomed})
    return {}


def list_all(transaction: Any, given: Input, _call: Call) -> Output:
    """ListTagsForResource. A MaxResults of 0 is as good as none."""
    _, resource = _find(transaction, given)
    limit = given.get("MaxResults") or PAGE
    what = f"Tags:{resource.arn}"
    after = read_token(what, given.get("NextToken"))
    tags = [tag for tag in shown_tags(resource.tags) if after is None or tag["Key"] > after]
    found, token = page(what, tags[: limit + 1], limit, lambda tag: tag["Key"])
    return {"Tags": list(found) or None, "NextToken": token}


def _find(transaction: Any, given: Input) -> tuple[Any, Any]:
    kind, name = read_arn(given["ResourceArn"])
    return collection_of(transaction, kind), find_by(transaction, kind, name, given["ResourceArn"])
