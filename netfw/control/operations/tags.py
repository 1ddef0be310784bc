"""Tags of proxies, configurations and rule groups: set, remove, list. They are no part of the policy."""

from __future__ import annotations

from typing import Any

from netfw.control.operations.call import Call, Input, Output
from netfw.control.pages import PAGE, page, read_token
from netfw.control.service_model import Resource
from netfw.control.translation import check_tags, read_tags, shown_tags


def tag(transaction: Any, given: Input, call: Call) -> Output:
    """TagResource."""
    collection, resource = _find(transaction, given, call)
    tags = {**resource.tags, **read_tags(given["Tags"], call.site.quotas)}
    check_tags(tags, call.site.quotas)
    call.retag(collection, resource, tags)
    return {}


def untag(transaction: Any, given: Input, call: Call) -> Output:
    """UntagResource."""
    collection, resource = _find(transaction, given, call)
    doomed = set(given["TagKeys"])
    call.retag(collection, resource, {key: value for key, value in resource.tags.items() if key not in doomed})
    return {}


def list_all(transaction: Any, given: Input, call: Call) -> Output:
    """ListTagsForResource. A MaxResults of 0 is as good as none."""
    _, resource = _find(transaction, given, call)
    limit = given.get("MaxResults") or PAGE
    what = f"Tags:{resource.arn}"
    after = read_token(what, given.get("NextToken"))
    tags = [tag for tag in shown_tags(resource.tags) if after is None or tag["Key"] > after]
    found, token = page(what, tags[: limit + 1], limit, lambda tag: tag["Key"])
    return {"Tags": list(found) or None, "NextToken": token}


def _find(transaction: Any, given: Input, call: Call) -> tuple[Any, Any]:
    kind, name = call.site.arns.read(given["ResourceArn"])
    collection = {
        Resource.PROXY: transaction.proxies,
        Resource.CONFIGURATION: transaction.configurations,
        Resource.RULE_GROUP: transaction.groups,
    }[kind]
    return collection, collection.get(name)
