"""Amazon Resource Names of proxies, configurations and rule groups. PURE.

`arn:aws:network-firewall:<region>:<account>:<resource>/<name>`. Region and account are configured: they say nothing
here, but clients expect them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from netfw.control.refusals import InvalidRequest, ResourceNotFound
from netfw.control.service_model import Resource
from netfw.control.shapes import shown

_NAME = re.compile(r"[a-zA-Z0-9-]{1,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Arns:
    """Makes and reads the ARNs of one account in one region."""

    region: str
    account: str

    def of(self, resource: Resource, name: str) -> str:
        """The ARN of a resource."""
        return f"arn:aws:network-firewall:{self.region}:{self.account}:{resource.value}/{name}"

    def read(self, arn: str) -> tuple[Resource, str]:
        """What an ARN names. Raises `InvalidRequest` for what is none, `ResourceNotFound` for others' places."""
        parts = arn.split(":", 5)
        if len(parts) < 6 or parts[2] != "network-firewall":
            raise InvalidRequest(f"{shown(arn)} is not the ARN of a proxy, a configuration or a rule group")
        kind, slash, name = parts[5].partition("/")
        kinds = [one for one in (Resource.PROXY, Resource.CONFIGURATION, Resource.RULE_GROUP) if one.value == kind]
        if not slash or not kinds or _NAME.fullmatch(name) is None:
            raise InvalidRequest(f"{shown(arn)} is not the ARN of a proxy, a configuration or a rule group")
        if parts[1] != "aws" or (parts[3], parts[4]) != (self.region, self.account):
            ours = self.of(kinds[0], name)
            raise ResourceNotFound(f"{shown(arn)} is of another partition, region or account than {ours}")
        return kinds[0], name

    def name_of(self, resource: Resource, arn: str) -> str:
        """The name in an ARN that must be of this kind."""
        found, name = self.read(arn)
        if found is not resource:
            raise InvalidRequest(f"{shown(arn)} is the ARN of a {found.value}, a {resource.value} is wanted")
        return name


def named(arns: Arns, resource: Resource, name: str | None, arn: str | None, members: str) -> str:
    """The name that a request means by a name, an ARN or both. `members` is the beginning of the two members' names."""
    if arn is None:
        if name is None:
            raise InvalidRequest(f"{members}Name or {members}Arn is wanted")
        return name
    of_arn = arns.name_of(resource, arn)
    if name is not None and name != of_arn:
        raise InvalidRequest(f"{members}Name and {members}Arn name different resources: {shown(name)}, {shown(of_arn)}")
    return of_arn
