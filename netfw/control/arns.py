"""Amazon Resource Names of proxies, configurations and rule groups. PURE.

`arn:aws:network-firewall:<region>:<account>:<resource>/<name>`. Region and account are configured: they say nothing
here, but clients expect them. A resource keeps the ARN that it was made with, whatever is configured later: automation
has written it down. So an ARN is read for its kind and name, and `operations.finding` compares it with the resource's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from netfw.control.refusals import InvalidRequest
from netfw.control.service_model import Resource
from netfw.control.shapes import shown

_ARN = re.compile(r"arn:aws[a-z-]*:network-firewall:[a-z0-9-]+:[0-9]+:([a-z-]+)/([a-zA-Z0-9-]{1,128})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Arns:
    """Makes the ARNs of new resources, in one account and one region."""

    region: str
    account: str

    def of(self, resource: Resource, name: str) -> str:
        """The ARN of a resource."""
        return f"arn:aws:network-firewall:{self.region}:{self.account}:{resource.value}/{name}"


def read_arn(arn: str) -> tuple[Resource, str]:
    """What an ARN names. Raises `InvalidRequest` for what is none of this service."""
    parts = _ARN.fullmatch(arn)
    kinds = [
        one for one in (Resource.PROXY, Resource.CONFIGURATION, Resource.RULE_GROUP) if parts and one.value == parts[1]
    ]
    if parts is None or not kinds:
        raise InvalidRequest(f"{shown(arn)} is not the ARN of a proxy, a configuration or a rule group")
    return kinds[0], parts[2]


def name_of(resource: Resource, arn: str) -> str:
    """The name in an ARN that must be of this kind."""
    found, name = read_arn(arn)
    if found is not resource:
        raise InvalidRequest(f"{shown(arn)} is the ARN of a {found.value}, a {resource.value} is wanted")
    return name


def named(resource: Resource, name: str | None, arn: str | None, members: str) -> str:
    """The name that a request means by a name, an ARN or both. `members` is the beginning of the two members' names."""
    if arn is None:
        if name is None:
            raise InvalidRequest(f"{members}Name or {members}Arn is wanted")
        return name
    of_arn = name_of(resource, arn)
    if name is not None and name != of_arn:
        raise InvalidRequest(f"{members}Name and {members}Arn name different resources: {shown(name)}, {shown(of_arn)}")
    return of_arn
